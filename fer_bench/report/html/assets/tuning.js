// What tuning gained: each method with its default settings, as tuned, and with the trial that is best on the test set.

if (DATA.tuning) section("tuning", "Tuning", DATA.tuning.about, (body) => {
  const points = (value, from) => (value === null || from === null ? { text: "–", order: null } : { text: `${value < from ? "−" : "+"}${number(Math.abs(value - from))}`, order: value - from });
  const names = new Set(shownRows().map((row) => DATA.rows[row].name));
  const lines = DATA.tuning.lines.filter(({ name }) => names.has(name)).map(({ name, values: [first, tuned, best], chosen }) => {
    const row = DATA.rows.findIndex((each) => each.name === name);
    return [{ text: name, order: name, row }, ...[first, tuned].map((value) => ({ text: number(value), order: value })), points(tuned, first),
      { text: number(best), order: best }, points(best, tuned), { text: chosen[1], order: chosen[1] }];
  });
  lines.sort((a, b) => (b[2].order ?? -1) - (a[2].order ?? -1)); // best first as tuned
  for (const place of [1, 2, 4]) shade(lines.map((line) => line[place]), 1);
  sortable(body, "tuning", "Tuning", [{ title: "Method", text: true }, { title: "Default (%)" }, { title: "Tuned (%)" }, { title: "Tuned − default" },
    { title: "Oracle (%)" }, { title: "Oracle − tuned" }, { title: "Tuned settings", text: true }], lines);
});
