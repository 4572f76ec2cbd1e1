// Where noise and imbalance meet: the best method of each noise rate and imbalance factor, and maps of each method.

// The grids of noise rates and imbalance factors of the sweep
function grids() {
  const found = [];
  for (const base of new Set(DATA.conditions.map((each) => each.base))) {
    const all = DATA.conditions.map((each, place) => ({ ...each, place })).filter((each) => each.base === base);
    for (const kind of new Set(all.map((each) => each.family).filter(Boolean))) {
      const mine = all.filter((each) => !each.family || each.family === kind);
      const rates = [...new Set(mine.map((each) => each.rate))].sort((a, b) => a - b);
      const factors = [...new Set(mine.map((each) => each.factor))].sort((a, b) => a - b);
      if (rates.length < 2 || factors.length < 2 || new Set(mine.filter((each) => each.family).map((each) => each.factor)).size < 2) continue;
      const at = (rate, factor) => mine.find((each) => each.rate === rate && each.factor === factor);
      found.push({ title: `${kind} noise${base ? `, ${base}` : ""}`, rates, factors, at });
    }
  }
  return found;
}

section("winners", "Noise and imbalance together", "The method with the best mean at each noise rate and imbalance factor, its value, and its lead over the second in points. Maps: the difference of each method from the baseline in points; blue is better, orange is worse.", (body) => {
  const metric = metricOf(state.metric);
  for (const { title, rates, factors, at } of grids()) {
    body.append(h("h3", {}, `${titled(metric.key)}: ${title}`));
    const head = h("tr", {}, h("th", { scope: "col", class: "text" }, `${sentence(DATA.wrong)} (%)`), ...factors.map((factor) => h("th", { scope: "col", class: "text" }, `imbalance ${factor}`)));
    const lines = rates.map((rate) => h("tr", {}, h("th", { scope: "row" }, number(rate, 0)), ...factors.map((factor) => winner(at(rate, factor), metric))));
    body.append(h("div", { class: "scroll" }, h("table", { class: "winners pinned" }, h("caption", { class: "hidden-text" }, "Best method of each cell"), h("thead", {}, head), h("tbody", {}, ...lines))));
    maps(body, rates, factors, at, metric);
  }
}, { lacks: () => grids().length ? "" : "this sweep does not combine several noise rates with several imbalance factors" });

// One map for each method: its values less the baseline's
function maps(body, rates, factors, at, metric) {
  const value = (row, rate, factor) => { const there = at(rate, factor); return there ? cell(row, there.place, metric.key)?.[1] ?? null : null; };
  const base = DATA.rows.findIndex((each) => each.baseline);
  if (base < 0 || !metric.better) return;
  const gain = (row) => rates.map((rate) => factors.map((factor) => {
    const [own, other] = [value(row, rate, factor), value(base, rate, factor)];
    return own === null || other === null ? null : metric.better * (own - other);
  }));
  const found = shownRows().filter((row) => row !== base).map((row) => ({ row, gains: gain(row) })).filter(({ gains }) => gains.flat().some((each) => each !== null));
  const limit = Math.max(...found.flatMap(({ gains }) => gains.flat()).map(Math.abs)) || 1;
  const grid = h("div", { class: "panels small" });
  body.append(grid);
  for (const { row, gains } of found)
    heat(grid, rowName(row), gains, factors.map(String), rates.map((rate) => number(rate, 0)), { low: -limit, high: limit, digits: 1, signed: true, unit: " points", angle: 0,
      x: "Imbalance factor", y: `${sentence(DATA.wrong)} (%)`, height: 90 + 32 * rates.length });
}

function winner(condition, metric) {
  const sign = metric.better < 0 ? -1 : 1;
  const found = condition ? shownRows().map((row) => ({ row, value: cell(row, condition.place, metric.key)?.[1] })).filter(({ value }) => value !== undefined)
    .sort((a, b) => sign * (b.value - a.value)) : [];
  if (!found.length || !metric.better) return h("td", {}, "–");
  const [first, second] = found;
  const lead = second ? ` (${sign * (first.value - second.value) < 0 ? "" : "+"}${number(sign * (first.value - second.value), metric.digits)})` : "";
  const drawn = h("td", {}, h("b", {}, DATA.rows[first.row].name), h("small", {}, `${number(first.value, metric.digits)}${lead}`));
  drawn.style.background = `color-mix(in srgb, ${look(first.row).colour} 24%, ${ink("--card")})`;
  return drawn;
}
