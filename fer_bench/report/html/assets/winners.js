// Who wins where noise and imbalance meet: the best method of each noise rate and imbalance factor.

section("winners", "Noise and imbalance together", "The method with the best mean at each noise rate and imbalance factor, its value, and its lead over the second in points.", (body) => {
  const metric = metricOf(state.metric);
  const of = (base) => DATA.conditions.map((each, place) => ({ ...each, place })).filter((each) => each.base === base);
  for (const base of new Set(DATA.conditions.map((each) => each.base))) {
    for (const kind of new Set(of(base).map((each) => each.family).filter(Boolean))) {
      const mine = of(base).filter((each) => !each.family || each.family === kind);
      const rates = [...new Set(mine.map((each) => each.rate))].sort((a, b) => a - b);
      const factors = [...new Set(mine.map((each) => each.factor))].sort((a, b) => a - b);
      if (rates.length < 2 || factors.length < 2 || new Set(mine.filter((each) => each.family).map((each) => each.factor)).size < 2) continue;
      body.append(h("h3", {}, `${titled(metric.key)}: ${kind} noise${base ? `, ${base}` : ""}`));
      const head = h("tr", {}, h("th", { scope: "col", class: "text" }, `${sentence(DATA.wrong)} (%)`), ...factors.map((factor) => h("th", { scope: "col", class: "text" }, `imbalance ${factor}`)));
      const lines = rates.map((rate) => h("tr", {}, h("th", { scope: "row" }, number(rate, 0)), ...factors.map((factor) => {
        const there = mine.find((each) => each.rate === rate && each.factor === factor);
        return winner(there, metric);
      })));
      body.append(h("div", { class: "scroll" }, h("table", { class: "winners" }, h("caption", { class: "hidden-text" }, "Best method of each cell"), h("thead", {}, head), h("tbody", {}, ...lines))));
    }
  }
  if (!body.children.length) absent(body, "This sweep does not combine several noise rates with several imbalance factors.");
});

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
