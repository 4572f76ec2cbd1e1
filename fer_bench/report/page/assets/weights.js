// Methods that weigh a sample by the probability of its label and of the best other class.

const weighing = section("weights", "How samples are weighed", "For methods that give each face a weight by two numbers: the probability of its label (across) and the highest probability of another class (up). Dots are training faces, crosses those with a wrong label.", (body) => {
  if (!DATA.surfaces.length) return absent(body, "No method of this sweep weighs its samples in this way, or its plugin was not found.");
  const options = DATA.surfaces.map((each, place) => [String(place), `${DATA.rows[each.row].name}, ${DATA.conditions[each.condition].name}, seed ${each.seed}`]);
  const [field, chosen] = pick(weighing, "run", "Run", options, options[options.length - 1][0]);
  const surface = DATA.surfaces[chosen];
  const place = h("div", { class: "panels" });
  const shown = h("output", {});
  const draw = (number) => {
    kept["weights-epoch"] = number;
    const { epoch, weight, samples } = surface.frames[number];
    shown.textContent = `epoch ${epoch}`;
    const axis = weight.map((_, step) => step / (weight.length - 1));
    const traces = [{ type: "heatmap", z: weight, x: axis, y: axis, colorscale: scale(), zsmooth: false, hoverongaps: false,
      zmin: 0, zmax: Math.max(...surface.frames.flatMap((frame) => frame.weight.flat()).filter((value) => value !== null)),
      colorbar: { thickness: 12, title: { text: "weight" }, outlinewidth: 0 }, hovertemplate: "label %{x:.2f}, other %{y:.2f}: weight %{z:.3f}<extra></extra>" }];
    for (const [wrong, name, symbol, colour] of [[0, "right label", "circle", state.theme === "dark" ? "#f2f4f8" : "#1c1e24"], [1, "wrong label", "x", state.theme === "dark" ? "#ff9b6b" : "#d5340a"]]) {
      if (!samples) continue;
      const mine = samples.wrong.map((value, each) => each).filter((each) => samples.wrong[each] === wrong);
      traces.push({ type: "scatter", mode: "markers", name, x: mine.map((each) => samples.label[each]), y: mine.map((each) => samples.other[each]),
        marker: { symbol, size: wrong ? 7 : 5, color: colour, opacity: 0.75 }, hovertemplate: `${name}: %{x:.2f}, %{y:.2f}<extra></extra>` });
    }
    for (const old of place.querySelectorAll(".js-plotly-plot")) Plotly.purge(old);
    place.replaceChildren();
    panel(place, `Weight of a sample: ${options[chosen][1]}`, traces, { xaxis: { range: [-0.01, 1.01], title: { text: "p(label)", standoff: 8 }, constrain: "domain" },
      yaxis: { range: [-0.01, 1.01], title: { text: "p(best other)" }, scaleanchor: "x", constrain: "domain" }, margin: { l: 48, r: 8, t: 8, b: 44 } }, { height: 440 });
    const right = samples ? samples.wrong.length - samples.wrong.reduce((sum, value) => sum + value, 0) : 0;
    place.append(h("p", { class: "note" }, samples ? `${right} faces with a right and ${samples.wrong.length - right} with a wrong label, as the network saw them after this epoch.`
      : "The stored run has no predictions of training faces for this epoch, so no samples are drawn: runs made from now on keep them."));
  };
  const first = Math.min(kept["weights-epoch"] ?? surface.frames.length - 1, surface.frames.length - 1);
  const slider = h("input", { type: "range", min: 0, max: surface.frames.length - 1, step: 1, value: first, "aria-label": "epoch", oninput: (event) => draw(Number(event.target.value)) });
  body.append(h("div", { class: "row" }, field, h("label", { class: "field" }, h("span", {}, "Epoch"), slider, shown)));
  if (!surface.same_code) body.append(h("p", { class: "note" }, "The method's code has changed since this run; the surface is that of its present code with the run's settings."));
  body.append(place);
  draw(first);
});
