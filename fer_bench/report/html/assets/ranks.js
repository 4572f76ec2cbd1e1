// The critical-difference diagram, on its side: one line for each method, so that names never overlap.

section("ranks", "Mean ranks", "Mean rank of each method over blocks (condition, draw of the data, training seed); 1 is best. Bars on the right join methods that do not differ significantly.", (body) => {
  const { alpha, least } = DATA.ranks;
  const metric = metricOf(state.metric);
  const found = DATA.ranks[state.selection][state.metric];
  if (!metric.by_epoch || !metric.compared) return absent(body, `Methods are not ranked by “${metric.title}”. Choose a test metric above.`);
  if (!found) return absent(body, `No test was made: it needs three methods and ${least} blocks in which all of them have a run.`);
  body.append(h("p", { class: "note" }, `Friedman's test over ${found.blocks} blocks: p ${found.p < 0.001 ? "< 0.001" : `= ${number(found.p, 3)}`}`
    + `${found.p < alpha ? "" : `, so no difference is significant at ${alpha}`}. Bars: Nemenyi's test at ${alpha}.`));
  const traces = found.ranks.map(([row, rank], place) => line(row, [rank], [place], { mode: "markers+text", text: [number(rank)], textposition: "top center",
    marker: { color: look(row).colour, symbol: look(row).symbol, size: 12, line: { color: ink("--card"), width: 1 } }, hovertemplate: `${plain(rowName(row))}: mean rank %{x:.2f}<extra></extra>` }));
  const worst = found.ranks.length;
  const step = 0.05 * worst;
  const apart = Math.ceil(worst / Math.max(2, body.clientWidth / 60)); // ranks from one tick to the next, so that they do not touch
  found.groups.forEach(([first, last], place) => traces.push({ type: "scatter", mode: "lines", x: [worst + 0.2 + step * (place + 1), worst + 0.2 + step * (place + 1)], y: [first - 0.22, last + 0.22],
    line: { color: ink("--text"), width: 5 }, hovertemplate: `no significant difference: ranks ${first + 1} to ${last + 1}<extra></extra>` }));
  panel(body, `Mean rank by ${titled(state.metric)}`, traces, {
    xaxis: { range: [0.8, worst + 0.4 + step * (found.groups.length + 1)], tickvals: found.ranks.map((_, place) => place + 1).filter((rank) => (rank - 1) % apart === 0), title: { text: "Mean rank (1 is best)", standoff: 8 } },
    yaxis: { tickvals: found.ranks.map((_, place) => place), ticktext: found.ranks.map(([row]) => plain(rowName(row), 22)), range: [worst - 0.4, -0.7], showgrid: true },
  }, { height: 90 + 38 * worst });
}, { notes: ["Blocks that share a draw of the data are not independent.", "All methods are compared, also those that are not shown.",
  "This test uses ranks, and the one at the top of the page differences, so they can disagree."],
lacks: () => DATA.selections.some(({ key }) => Object.keys(DATA.ranks[key]).length) ? "" : `no test was made: it needs three methods and ${DATA.ranks.least} blocks in which all of them have a run` });
