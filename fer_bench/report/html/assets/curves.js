// Of many methods the leading ones are named
const MANY = DATA.rows.length > FEW ? [`Of more than ${FEW} methods, the best ${LEADING} at the right end and the baseline are in colour. The others are grey, and named when you point at them.`] : [];

// Lines of methods: against noise, against imbalance, by epoch, and against cost.

function line(row, x, y, extra = {}) {
  const { colour, symbol, dash } = look(row);
  return {
    type: "scatter", mode: "lines+markers", x, y, name: plain(rowName(row)), line: { color: colour, dash, width: 2 },
    marker: { color: colour, symbol, size: 9, line: { color: ink("--card"), width: 1 } }, cliponaxis: false,
    hovertemplate: `${plain(rowName(row))}: %{y:.2f} at %{x}<extra></extra>`, ...extra,
  };
}

function spread(row, found) {
  return { type: "data", array: found.map(([, , sd]) => sd ?? 0), visible: found.some(([, , sd]) => sd), color: look(row).colour, thickness: 1, width: 3 };
}

// A line of a method that is not one of the leading ones: grey, and named when it is pointed at
function pale(trace) {
  const color = ink("--pale");
  return { ...trace, mode: trace.x.length > 1 ? "lines" : "markers", line: { color, width: 1.2 }, marker: { color, size: 6 }, text: undefined, error_y: undefined };
}

// Letters of a name at the end of a line
const LONGEST = 24;

// Names at the right ends of lines, moved apart so that they do not cover each other
function named(ends, height, range) {
  const room = 15 * (range[1] - range[0]) / height;
  const sorted = [...ends].sort((a, b) => a.y - b.y);
  const places = [];
  sorted.forEach(({ y }, place) => places.push(place ? Math.max(y, places[place - 1] + room) : y));
  const over = (places[places.length - 1] ?? 0) - Math.max(range[1], (sorted[sorted.length - 1]?.y ?? 0));
  if (over > 0) for (let place = places.length - 1; place >= 0; place -= 1) places[place] = Math.min(places[place] - over, place < places.length - 1 ? places[place + 1] - room : Infinity);
  return sorted.map(({ row }, place) => ({ xref: "paper", x: 1, xanchor: "left", y: places[place], yanchor: "middle", showarrow: false, xshift: 6,
    text: `<span style="color:${look(row).colour}">●</span> ${plain(rowName(row), LONGEST)}`, font: { size: 11, color: ink("--text") } }));
}

// A panel of lines: those of the leading rows in colour above the others, with their names
function lined(parent, title, lines, layout, better = 1, height = 320) {
  if (!lines.length) return;
  const ends = lines.map(({ row, trace }) => ({ row, y: trace.y[trace.y.length - 1] }));
  const value = (row) => ends.find((each) => each.row === row)?.y;
  const first = leading(lines.map(({ row }) => row), value, better);
  const traces = [...lines.filter(({ row }) => !first.has(row)).map(({ trace }) => pale(trace)),
    ...lines.filter(({ row }) => first.has(row)).flatMap(({ trace, before = [], after = [] }) => [...before, trace, ...after])];
  const all = traces.flatMap(({ y, error_y: bars }) => (bars?.visible ? y.flatMap((value, place) => [value - bars.array[place], value + bars.array[place]]) : y)).filter((y) => y !== null);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const room = 0.06 * (high - low || 1);
  const range = [low - room, high + room];
  const names = Math.max(...[...first].map((row) => Math.min(LONGEST, 2 + rowName(row).length)));
  panel(parent, title, traces, { ...layout, yaxis: { range, ...layout.yaxis }, margin: { l: 48, r: 16 + 7 * names, t: 8, b: 44 },
    annotations: named(ends.filter(({ row }) => first.has(row)), height - 52, range) }, { height });
}

// One line for each method over the conditions; x(condition) is the position of a condition
function against(parent, title, conditions, metric, x, axis, hollow = []) {
  const lines = [];
  for (const row of shownRows()) {
    const places = conditions.filter((place) => cell(row, place, metric)).sort((a, b) => x(a) - x(b));
    const found = places.map((place) => cell(row, place, metric));
    const traces = [];
    for (const place of hollow) {
      const point = cell(row, place, metric);
      if (!point) continue;
      const { colour, symbol } = look(row);
      traces.push(line(row, [x(place)], [point[1]], { mode: "markers", marker: { color: colour, symbol: `${symbol}-open`, size: 10, line: { width: 2 } },
        hovertemplate: `${plain(rowName(row))}, ${plain(DATA.conditions[place].family)}: %{y:.2f}<extra></extra>` }));
    }
    if (found.length) lines.push({ row, trace: line(row, places.map(x), found.map(([, value]) => value), { error_y: spread(row, found) }), after: traces });
  }
  lined(parent, title, lines, { xaxis: axis }, metricOf(metric).better);
}

// The conditions of each plot against noise: clean ones, kinds with a rate, and those without (hollow)
function noisePlots() {
  return [...new Set(DATA.conditions.map((each) => each.context))].map((context) => {
    const mine = DATA.conditions.map((_, place) => place).filter((place) => DATA.conditions[place].context === context);
    const clean = mine.filter((place) => !DATA.conditions[place].family);
    const kinds = [...new Set(mine.map((place) => DATA.conditions[place].family).filter(Boolean))];
    const of = (kind) => mine.filter((place) => DATA.conditions[place].family === kind);
    const fixed = kinds.filter((kind) => of(kind).every((place) => !DATA.conditions[place].rate));
    const swept = kinds.filter((kind) => !fixed.includes(kind) && of(kind).length + clean.length > 1);
    const hollow = fixed.flatMap(of);
    return { context, mine, clean, of, hollow, kinds: swept.length ? swept : fixed.length && clean.length ? [""] : [] };
  }).filter(({ kinds }) => kinds.length);
}

section("noise", "Results against label noise", "Points: mean over seeds; bars: one standard deviation. Hollow markers: kinds of noise without a rate, such as human labels.", (body) => {
  const grid = h("div", { class: "panels" });
  body.append(grid);
  for (const { context, mine, clean, of, hollow, kinds } of noisePlots()) {
    for (const kind of kinds) {
      const top = Math.max(...mine.map((place) => DATA.conditions[place].realised));
      const axis = { title: { text: `${sentence(DATA.wrong)} in the training set (%)`, standoff: 8 }, range: [-0.04 * top, 1.04 * top] };
      for (const metric of new Set([state.metric, "memorised"])) {
        const about = [kind && `${kind} noise`, context].filter(Boolean).join(", ");
        against(grid, `${titled(metric)}${about ? `: ${about}` : ""}`, [...clean, ...(kind ? of(kind) : [])], metric,
          (place) => DATA.conditions[place].realised, axis, hollow);
      }
    }
  }
  if (!grid.children.length) absent(body, "No method is shown.");
}, { notes: MANY, lacks: () => noisePlots().length ? "" : "this sweep has fewer than two noise rates" });

// The conditions of each plot against imbalance
function imbalancePlots() {
  return [...new Set(DATA.conditions.map((each) => each.setting))].map((setting) => {
    const mine = DATA.conditions.map((_, place) => place).filter((place) => DATA.conditions[place].setting === setting);
    return { setting, mine, factors: [...new Set(mine.map((place) => DATA.conditions[place].factor))].sort((a, b) => a - b) };
  }).filter(({ factors }) => factors.length > 1);
}

section("imbalance", "Results against class imbalance", "Imbalance factor: size of the largest class over the smallest; 1 is the original data. Points: mean over seeds; bars: one standard deviation.", (body) => {
  const grid = h("div", { class: "panels" });
  body.append(grid);
  for (const { setting, mine, factors } of imbalancePlots()) {
    const axis = { title: { text: "Imbalance factor", standoff: 8 }, type: "log", tickvals: factors, ticktext: factors.map(String) };
    for (const metric of new Set([state.metric, "mean", "worst"]))
      against(grid, `${titled(metric)}: ${setting}`, mine, metric, (place) => DATA.conditions[place].factor, axis);
  }
  if (!grid.children.length) absent(body, "No method is shown.");
}, { notes: MANY, lacks: () => imbalancePlots().length ? "" : "this sweep has one imbalance factor" });

const learning = section("curves", "Learning curves", `Lines: mean over seeds; bands: range over seeds. Memorised ${DATA.wrong}: share that the network predicts, of a sample of the training images; tables take all.`, (body) => {
  const last = DATA.conditions.length - 1;
  const [field, chosen] = pick(learning, "condition", "Condition", conditionOptions(), String(last));
  body.append(h("div", { class: "row" }, field));
  const grid = h("div", { class: "panels" });
  body.append(grid);
  const curves = [["overall", "Overall test accuracy (%)"], ["memorised", `Memorised ${DATA.wrong} (%)`], ["fit_noisy", "Training accuracy on the noisy labels (%)"],
    ["fit_clean", "Training accuracy on the clean labels (%)"]];
  for (const [name, title] of curves) {
    const lines = [];
    for (const row of shownRows()) {
      const runs = runsOf(row, Number(chosen)).map((run) => run.curves[name]).filter((values) => values.some((value) => value !== null));
      if (!runs.length) continue;
      const length = Math.min(...runs.map((values) => values.length));
      const epochs = Array.from({ length }, (_, epoch) => epoch + 1);
      const at = (how) => epochs.map((epoch) => how(...runs.map((values) => values[epoch - 1])));
      const before = runs.length > 1 ? [{ type: "scatter", mode: "lines", x: [...epochs, ...[...epochs].reverse()], y: [...at(Math.max), ...at(Math.min).reverse()],
        fill: "toself", fillcolor: `${look(row).colour}26`, line: { width: 0 }, hoverinfo: "skip" }] : [];
      lines.push({ row, before, trace: line(row, epochs, at((...values) => mean(values)), { mode: length > 1 ? "lines+markers" : "markers", marker: { color: look(row).colour,
        symbol: look(row).symbol, size: 6, maxdisplayed: 8 }, hovertemplate: `${plain(rowName(row))}, epoch %{x}: %{y:.2f}<extra></extra>` }) });
    }
    const longest = Math.max(...lines.flatMap(({ trace }) => trace.x));
    const whole = { title: { text: "Epoch", standoff: 8 }, dtick: longest > 16 ? undefined : Math.ceil(longest / 8), nticks: 8 };
    lined(grid, title, lines, { xaxis: whole }, name === "overall" || name === "fit_clean" ? 1 : -1);
  }
  if (!grid.children.length) absent(body, "None of the methods shown has a run for this condition.");
}, { notes: MANY });

// The side of each point on which its name is, so that names cover neither points nor each other; in pixels
function besides(named, points, width, height, log) {
  const at = (value, all, length) => {
    const [low, high] = [Math.min(...all), Math.max(...all)];
    return high === low ? length / 2 : ((value - low) / (high - low)) * length;
  };
  const x = (value) => (log ? Math.log(value) : value);
  const places = points.map((point) => ({ row: point.row, x: at(x(point.x), points.map((each) => x(each.x)), 0.85 * width), y: at(point.y, points.map((each) => each.y), 0.7 * height) }));
  const taken = places.map((place) => [place.x - 8, place.y - 8, place.x + 8, place.y + 8]);
  const chosen = new Map();
  for (const place of named.map(({ row }) => places.find((each) => each.row === row))) {
    const wide = 7.2 * Math.min(rowName(place.row).length, 24);
    const boxes = { "top center": [place.x - wide / 2, place.y + 9, place.x + wide / 2, place.y + 23], "bottom center": [place.x - wide / 2, place.y - 23, place.x + wide / 2, place.y - 9],
      "middle right": [place.x + 9, place.y - 7, place.x + 9 + wide, place.y + 7], "middle left": [place.x - 9 - wide, place.y - 7, place.x - 9, place.y + 7] };
    const free = ([left, low, right, high]) => left > -0.06 * width && right < 0.91 * width
      && taken.every(([a, b, c, d]) => right < a || c < left || high < b || d < low);
    const side = Object.keys(boxes).find((name) => free(boxes[name]));
    if (!side) continue; // it is named when you point at it
    chosen.set(place.row, side);
    taken.push(boxes[side]);
  }
  return chosen;
}

const pareto = section("cost", "Results against cost", "The dashed line joins the Pareto-optimal methods: no other method is both better and cheaper.", (body) => {
  const [field, chosen] = pick(pareto, "condition", "Condition", conditionOptions(), String(DATA.conditions.length - 1));
  const costs = DATA.metrics.filter((metric) => metric.cost && metric.better && DATA.table.last.some((each) => each.values[metric.key]));
  const [price, cost] = pick(pareto, "cost", "Cost", costs.map((metric) => [metric.key, metric.title]), "images_forward");
  body.append(h("div", { class: "row" }, field, price));
  const points = shownRows().map((row) => ({ row, x: cell(row, Number(chosen), cost)?.[1], y: cell(row, Number(chosen), state.metric)?.[1] }))
    .filter((point) => point.x !== undefined && point.y !== undefined);
  if (!points.length) return absent(body, "None of the methods shown has this metric for this condition.");
  const sign = metricOf(state.metric).better < 0 ? -1 : 1;
  const front = points.filter((a) => !points.some((b) => b !== a && b.x <= a.x && sign * b.y >= sign * a.y && (b.x < a.x || sign * b.y > sign * a.y)))
    .sort((a, b) => a.x - b.x);
  const [least, most] = [Math.min(...points.map((point) => point.x)), Math.max(...points.map((point) => point.x))];
  const ticks = [...Array(16).keys()].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power)).filter((tick) => tick >= least / 2 && tick <= most * 2);
  const high = most / least > 4;
  const first = new Set([...front.map(({ row }) => row), ...leading(points.map(({ row }) => row), (row) => points.find((each) => each.row === row).y, sign)]);
  const told = points.filter(({ row }) => first.has(row));
  const sides = besides(told, points, body.clientWidth, 380, high);
  const traces = [{ type: "scatter", mode: "lines", x: front.map((point) => point.x), y: front.map((point) => point.y), hoverinfo: "skip",
    line: { color: ink("--soft"), dash: "dash", width: 1.5, shape: "hv" } },
    ...points.filter(({ row }) => !first.has(row)).map((point) => pale(line(point.row, [point.x], [point.y]))),
    ...told.map((point) => line(point.row, [point.x], [point.y], { mode: "markers+text", text: [sides.has(point.row) ? plain(rowName(point.row), 24) : ""], textposition: sides.get(point.row) || "top center",
      marker: { color: look(point.row).colour, symbol: look(point.row).symbol, size: 13, line: { color: ink("--card"), width: 1 } } }))];
  const grid = h("div", { class: "panels" });
  body.append(grid);
  panel(grid, `${titled(state.metric)}: ${DATA.conditions[chosen].name}`, traces,
    { xaxis: { title: { text: ["seconds", "peak_memory_bytes"].includes(cost) ? titled(cost) : metricOf(cost).title, standoff: 8 }, type: high ? "log" : "linear",
      ...(high && most >= 10 ? { tickvals: ticks, tickformat: "~s" } : {}) } }, { height: 380 });
}, { notes: DATA.rows.length > FEW ? [`Of more than ${FEW} methods, those on the line, the best ${LEADING} and the baseline are in colour. The others are grey, and named when you point at them.`] : [] });
