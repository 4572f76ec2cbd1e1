// How well each method finds the wrong labels.

const scored = (place) => DATA.runs.some((run) => run.condition === place && run.roc);

const detection = section("detection", `Detection of ${DATA.wrong}`, `Every method ranks the training labels by a clean score: its own, or the loss of the trained network. ROC curves, mean over seeds: share of the ${DATA.wrong} found against the share of ${DATA.correct} suspected.`, (body) => {
  const noisy = conditionOptions(scored);
  const [field, chosen] = pick(detection, "condition", "Condition", noisy, noisy[noisy.length - 1][0]);
  body.append(h("div", { class: "row" }, field));
  const found = shownRows().map((row) => ({ row, runs: runsOf(row, Number(chosen)).filter((run) => run.roc) })).filter(({ runs }) => runs.length);
  const traces = found.map(({ row, runs }) => line(row, DATA.false_alarms, DATA.false_alarms.map((_, place) => mean(runs.map((run) => run.roc[place]))), {
    mode: "lines+markers", marker: { color: look(row).colour, symbol: look(row).symbol, size: 7, maxdisplayed: 7 },
    hovertemplate: `${plain(rowName(row))}: %{y:.1f} % found at %{x:.1f} % false alarms<extra></extra>` }));
  traces.unshift({ type: "scatter", mode: "lines", x: [0, 100], y: [0, 100], line: { color: ink("--soft"), dash: "dot", width: 1 }, hoverinfo: "skip" });
  const grid = h("div", { class: "panels" });
  body.append(grid);
  panel(grid, `ROC: ${DATA.conditions[chosen].name}`, traces, {
    xaxis: { title: { text: `${sentence(DATA.correct)} suspected (%)`, standoff: 8 }, range: [0, 100] }, yaxis: { title: { text: `${sentence(DATA.wrong)} found (%)` }, range: [0, 101] } }, { height: 380 });
  const beside = h("div", {});
  grid.append(beside);
  const lines = found.map(({ row, runs }) => [{ text: rowName(row), order: rowName(row), row }, written(cell(row, Number(chosen), "detection_auroc"), 2, mostRuns()),
    written(cell(row, Number(chosen), "detection_ap"), 2, mostRuns()), { text: runs[0].scored_by === "method" ? "own score" : "loss", order: runs[0].scored_by }]);
  for (const place of [1, 2]) shade(lines.map((each) => each[place]), 1);
  sortable(beside, "detection", `Detection of ${DATA.wrong}`, [{ title: "Method", text: true }, { title: "AUROC (%)" }, { title: "Average precision (%)" }, { title: "Ranked by", text: true }], lines, false);
}, { lacks: () => DATA.conditions.some((_, place) => scored(place)) ? "" : `no run has stored scores for both ${DATA.correct} and ${DATA.wrong}.${NO_ARRAYS}` });
