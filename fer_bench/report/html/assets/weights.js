// Methods that weight a sample by the probability of its label and of the best other class.

const weighing = section("weights", "Sample weights", `For methods that weight a sample by two probabilities: of its label (horizontal) and of the best other class (vertical). Dots: training faces. Crosses: with a ${DATA.one_wrong}.`, (body) => {
  const options = DATA.surfaces.map((each, place) => [String(place), `${DATA.rows[each.row].name}, ${DATA.conditions[each.condition].name}, seed ${each.seed}`]);
  const [field, chosen] = pick(weighing, "run", "Run", options, options[options.length - 1][0]);
  const surface = { ...DATA.surfaces[chosen], grids: DATA.surfaces[DATA.surfaces[chosen].same].grids };
  const top = Math.max(...surface.grids.flat(2).filter((value) => value !== null));
  const grid = h("div", { class: "panels" });
  const [start, now] = [h("div"), h("div")];
  grid.append(start, now);
  const shown = h("output", {});
  const draw = (number) => {
    kept["weights-epoch"] = number;
    shown.textContent = String(surface.epochs[number]);
    for (const old of now.querySelectorAll(".js-plotly-plot")) Plotly.purge(old);
    now.replaceChildren();
    weightMap(now, surface, number, top);
  };
  const last = surface.epochs.length - 1;
  const first = Math.min(kept["weights-epoch"] ?? last, last);
  const slider = h("input", { type: "range", min: 0, max: last, step: 1, value: first, "aria-label": "epoch", oninput: (event) => draw(Number(event.target.value)) });
  body.append(h("div", { class: "row" }, field, h("label", { class: "field" }, "Epoch", slider, shown)));
  if (!surface.same_code) body.append(h("p", { class: "note" }, "The code of the method has changed since this run. The surface shows the present code with the settings of the run."));
  if (surface.samples.some((each) => !each)) {
    absent(body, surface.samples.some(Boolean) ? "Predictions on training faces are stored for some epochs only; the others show no samples."
      : `Predictions on training faces are not stored for this run, so no samples are shown.${NO_ARRAYS}`);
  }
  body.append(grid);
  weightMap(start, surface, 0, top);
  draw(first);
}, { lacks: () => DATA.surfaces.length ? "" : "no method of this sweep weights samples in this way, or its plugin was not found" });

function weightMap(parent, surface, number, top) {
  const weight = surface.grids[number];
  const samples = surface.samples[number];
  const known = DATA.conditions[surface.condition].errors_known;
  const axis = weight.map((_, step) => step / (weight.length - 1));
  const traces = [{ type: "heatmap", z: weight, x: axis, y: axis, colorscale: scale(), hoverongaps: false, zmin: 0, zmax: top,
    colorbar: { thickness: 12, outlinewidth: 0 }, hovertemplate: "label %{x:.2f}, other %{y:.2f}: weight %{z:.3f}<extra></extra>" }];
  const dark = state.theme === "dark";
  for (const [wrong, name, symbol, colour] of [[0, known ? DATA.one_correct : "label as given", "circle", dark ? "#f2f4f8" : "#15181d"], [1, DATA.one_wrong, "x", dark ? "#ff9b6b" : "#d5340a"]]) {
    if (!samples) continue;
    const mine = samples.wrong.map((_, each) => each).filter((each) => samples.wrong[each] === wrong);
    traces.push({ type: "scatter", mode: "markers", name, x: mine.map((each) => samples.label[each]), y: mine.map((each) => samples.other[each]),
      marker: { symbol, size: wrong ? 7 : 5, color: colour, opacity: 0.7 }, hovertemplate: `${name}: %{x:.2f}, %{y:.2f}<extra></extra>` });
  }
  const range = [-0.01, 1.01];
  panel(parent, `Weights in epoch ${surface.epochs[number]}`, traces, { xaxis: { range, title: { text: "Probability of the label", standoff: 8 }, constrain: "domain" },
    yaxis: { range, title: { text: "Probability of the best other class", standoff: 8 }, scaleanchor: "x", constrain: "domain" }, margin: { l: 40, r: 8, t: 8, b: 44 } }, { height: Math.min(400, 0.8 * parent.clientWidth + 40) });
  if (samples) {
    const wrong = samples.wrong.reduce((sum, value) => sum + value, 0);
    parent.append(h("p", { class: "note" }, `${known ? `${samples.wrong.length - wrong} training faces with a ${DATA.one_correct} and ${wrong} with a ${DATA.one_wrong}` : `${samples.wrong.length} training faces`}, with the probabilities after this epoch.`));
  }
}
