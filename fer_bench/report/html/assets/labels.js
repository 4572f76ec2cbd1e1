// The labels that the methods learned from.

const labelling = section("labels", "The training labels", `Left: noisy label of the images of each clean label (%); rows add up to 100 %. Right: share of ${DATA.correct} among those of each class.`, (body) => {
  const options = DATA.labels.map((each, place) => [String(place), `${DATA.conditions[each.condition].name}${DATA.labels.some((other) => other.condition === each.condition && other !== each) ? `, data seed ${each.data_seed}` : ""}`]);
  const rates = DATA.labels.map((each) => each.rate ?? 0);
  const noisiest = rates.indexOf(Math.max(...rates));
  const [field, chosen] = pick(labelling, "condition", "Condition", options, String(noisiest));
  body.append(h("div", { class: "row" }, field));
  const draw = DATA.labels[chosen];
  const { classes } = draw;
  body.append(h("p", { class: "note" }, `${number(draw.images, 0)} training images; ${draw.rate === null ? "" : `${number(draw.rate)} % ${DATA.wrong}; `}the largest class has ${number(draw.imbalance, 1)} times the labels of the smallest.`));
  const grid = h("div", { class: "panels" });
  body.append(grid);
  if (draw.confusion) {
    const shares = draw.confusion.map((line) => { const whole = line.reduce((sum, value) => sum + value, 0); return line.map((value) => (whole ? (100 * value) / whole : null)); });
    heat(grid, "Training labels (%)", shares, classes, classes, { x: "noisy label", y: "clean label", height: 150 + 34 * classes.length });
  } else if (draw.rate === null) absent(grid, UNKNOWN);
  else absent(grid, "The matrix of the labels is not stored for these runs.");
  if (!draw.purity.length) return;
  panel(grid, `${sentence(DATA.correct)} among those of each class (%)`, [{ type: "bar", orientation: "h", y: classes.map((_, place) => place), x: draw.purity, marker: { color: ink("--accent") },
    text: draw.purity.map((value) => (value === null ? "no label" : value.toFixed(1))), textposition: "auto", cliponaxis: false, customdata: classes.map((name) => plain(name)),
    hovertemplate: "%{customdata}: %{x:.1f} %<extra></extra>" }], {
    xaxis: { range: [0, 105] }, yaxis: { autorange: "reversed", tickvals: classes.map((_, place) => place), ticktext: classes.map((name) => plain(name, 22)), showgrid: false },
    bargap: 0.3 }, { height: 150 + 34 * classes.length });
});
