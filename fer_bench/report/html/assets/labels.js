// The labels that the methods were given.

const labelling = section("labels", "The training labels", "Which true class was given as which label, each row adding to 100 %, and how many of the labels of each class are right.", (body) => {
  const options = DATA.labels.map((each, place) => [String(place), `${DATA.conditions[each.condition].name}${DATA.labels.some((other) => other.condition === each.condition && other !== each) ? `, data seed ${each.data_seed}` : ""}`]);
  const [field, chosen] = pick(labelling, "condition", "Condition", options, options[options.length - 1][0]);
  body.append(h("div", { class: "row" }, field));
  const given = DATA.labels[chosen];
  const { classes } = DATA.conditions[given.condition];
  body.append(h("p", { class: "note" }, `${number(given.images, 0)} training images, ${number(given.rate)} % wrong labels, largest class ${number(given.imbalance, 1)} times the smallest.`));
  const grid = h("div", { class: "panels" });
  body.append(grid);
  if (given.confusion) {
    const shares = given.confusion.map((line) => { const whole = line.reduce((sum, value) => sum + value, 0); return line.map((value) => (whole ? (100 * value) / whole : null)); });
    heat(grid, "Given labels, %", shares, classes, classes, { x: "given", y: "true", height: 150 + 34 * classes.length });
  } else absent(grid, "These runs do not hold the matrix of their labels.");
  if (!given.purity.length) return;
  panel(grid, "Right among the labels of a class, %", [{ type: "bar", orientation: "h", y: classes.map((_, place) => place), x: given.purity, marker: { color: ink("--accent") },
    text: given.purity.map((value) => (value === null ? "no label" : value.toFixed(1))), textposition: "auto", cliponaxis: false, customdata: classes.map((name) => plain(name)),
    hovertemplate: "%{customdata}: %{x:.1f} %<extra></extra>" }], {
    xaxis: { range: [0, 105] }, yaxis: { autorange: "reversed", tickvals: classes.map((_, place) => place), ticktext: classes.map((name) => plain(name, 22)), showgrid: false },
    bargap: 0.3 }, { height: 150 + 34 * classes.length });
});
