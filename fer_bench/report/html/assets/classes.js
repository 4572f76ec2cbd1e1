// By class: recalls of all methods, and the confusion matrices of any two runs.

const recalls = section("recall", "Recall by class", "Mean over seeds (%).", (body) => {
  const [field, chosen] = pick(recalls, "condition", "Condition", conditionOptions(), String(DATA.conditions.length - 1));
  body.append(h("div", { class: "row" }, field));
  const rows = shownRows().filter((row) => runsOf(row, Number(chosen)).some((run) => run.measures[state.selection]?.recall));
  if (!rows.length) return absent(body, "None of the methods shown has a run for this condition and epoch.");
  const values = rows.map((row) => {
    const found = runsOf(row, Number(chosen)).map((run) => run.measures[state.selection]?.recall).filter(Boolean);
    return found[0].map((_, name) => (found.some((each) => each[name] === null) ? null : mean(found.map((each) => each[name]))));
  });
  heat(body, `Recall (%), ${selectionNow().label}: ${DATA.conditions[chosen].name}`, values, DATA.conditions[chosen].classes, rows.map(rowName));
});

const confusion = section("confusion", "Confusion matrices", "Share of the test images of each true class (%); rows add up to 100 %. Choose two runs to compare.", (body) => {
  const grid = h("div", { class: "panels" });
  body.append(grid);
  const last = String(DATA.conditions.length - 1);
  for (const side of ["first", "second"]) {
    const rows = DATA.rows.map((each, row) => [String(row), each.name]);
    const [method, row] = pick(confusion, `${side}-row`, "Method", rows, rows[side === "first" ? 0 : rows.length - 1][0]);
    const [condition, place] = pick(confusion, `${side}-condition`, "Condition", conditionOptions((each) => runsOf(Number(row), each).length), last);
    const runs = runsOf(Number(row), Number(place));
    const seeds = [["all", runs.length === 1 ? "the only run" : `all ${runs.length} runs`], ...runs.map((run) => [run.key, `seed ${run.seed}`])];
    const [seed, key] = pick(confusion, `${side}-seed`, "Run", seeds, "all");
    const cellOf = h("div", {}, h("div", { class: "row" }, method, condition, seed));
    grid.append(cellOf);
    const found = runs.filter((run) => key === "all" || run.key === key).map((run) => run.measures[state.selection]?.confusion).filter(Boolean);
    if (!found.length) { absent(cellOf, "There is no such run for this epoch."); continue; }
    const counts = found[0].map((line, y) => line.map((_, x) => found.reduce((sum, each) => sum + each[y][x], 0)));
    const shares = counts.map((line) => { const whole = line.reduce((sum, value) => sum + value, 0); return line.map((value) => (whole ? (100 * value) / whole : null)); });
    const { classes } = DATA.conditions[place];
    heat(cellOf, `${DATA.rows[row].name}, ${DATA.conditions[place].name}, ${selectionNow().label}`, shares, classes, classes, { x: "predicted", y: "true", height: 150 + 34 * classes.length });
  }
});
