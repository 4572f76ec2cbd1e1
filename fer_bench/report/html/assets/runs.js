// Every run, with its settings and the machine it ran on.

const everyRun = section("runs", "Runs", "Choose a run to see all its settings and the machine it ran on.", (body) => {
  const selection = selectionNow().label;
  const runs = DATA.runs.filter((run) => !state.hidden.has(run.row));
  const place = h("div", { "aria-live": "polite" });
  const show = (run) => {
    kept["runs-key"] = run.key;
    place.replaceChildren(h("h3", {}, `${DATA.rows[run.row].name}, ${DATA.conditions[run.condition].name}, seed ${run.seed}: ${run.key}`),
      h("div", { class: "settings" }, h("div", {}, "Specification", h("pre", { tabindex: 0 }, JSON.stringify(run.spec, null, 2))),
        h("div", {}, "Environment", h("pre", { tabindex: 0 }, JSON.stringify(run.env, null, 2)))));
  };
  const lines = runs.map((run) => {
    const measured = run.measures[state.selection];
    const plainNumber = (value, digits = 2) => ({ text: number(value, digits), order: value });
    return [{ text: rowName(run.row), order: rowName(run.row), row: run.row }, { text: DATA.conditions[run.condition].name, order: DATA.conditions[run.condition].name },
      { text: String(run.seed), order: run.seed }, plainNumber(measured?.overall), plainNumber(measured?.mean), { text: measured ? measured.epoch.join(", ") : "–", order: measured?.epoch[0] },
      plainNumber(run.memorised), plainNumber(run.auroc), plainNumber(run.seconds, 0),
      { text: run.key, order: run.key, node: h("button", { class: "plain", type: "button", onclick: () => { show(run); place.scrollIntoView({ block: "nearest" }); } }, run.key) }];
  });
  const box = h("div", { class: "tall" });
  body.append(box);
  sortable(box, "runs", "Runs", [{ title: "Method", text: true }, { title: "Condition", text: true }, { title: "Seed" }, { title: `Overall (%), ${selection}` },
    { title: `Mean (%), ${selection}` }, { title: "Epoch" }, { title: "Memorised (%)" }, { title: "AUROC (%)" }, { title: "Time (s)" }, { title: "Run", text: true }], lines);
  body.append(place);
  const before = runs.find((run) => run.key === kept["runs-key"]);
  if (before) show(before);
});
