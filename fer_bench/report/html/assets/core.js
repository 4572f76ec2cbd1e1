// What all sections share: the data, what was chosen, looks of methods, elements, and plots.
const DATA = JSON.parse(document.getElementById("data").textContent);

// The page of a tuning shows one of several settings, which all have the same parts
const settingNow = () => DATA.settings.find((each) => each.key === DATA.setting);
if (DATA.settings) Object.assign(DATA, settingNow().part);

const state = { selection: "last", metric: DATA.metric, hidden: new Set(), theme: "light" };

const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "x", "cross", "pentagon", "star", "hexagon2",
  "triangle-left", "triangle-right", "star-square"];
const DASHES = ["solid", "dash", "dot"];

// A method has one colour in all plots of a page. Of many methods some share a colour: markers and dashes tell them apart.
function look(row) {
  const colour = DATA.palette[state.theme][DATA.rows[row].colour];
  const turn = DATA.rows.slice(0, row).filter((other) => other.colour === DATA.rows[row].colour).length;
  return { colour, symbol: SYMBOLS[row % SYMBOLS.length], dash: DASHES[turn % 3] };
}

// Rows whose lines can be told apart in one plot. Of more, the baseline and the best are in colour and named at their lines.
const FEW = 8;
const LEADING = 5;

function leading(rows, value, better) {
  const known = rows.filter((row) => value(row) !== null && value(row) !== undefined);
  if (known.length <= FEW) return new Set(known);
  const sorted = [...known].sort((a, b) => (better < 0 ? value(a) - value(b) : value(b) - value(a)));
  return new Set([...sorted.slice(0, LEADING), ...known.filter((row) => DATA.rows[row].baseline)]);
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function scale() {
  return state.theme === "dark" ? [[0, "#20242c"], [0.5, "#2f6ea8"], [1, "#9fd4ff"]] : [[0, "#f3f6fa"], [0.5, "#7fb2de"], [1, "#0a3f7a"]];
}

// Worse is orange, better is blue, and no difference is the colour of the page
function aroundZero() {
  return state.theme === "dark" ? [[0, "#f3a34f"], [0.25, "#8a5a20"], [0.5, "#20242c"], [0.75, "#2f6ea8"], [1, "#9fd4ff"]]
    : [[0, "#b35806"], [0.25, "#f3b36b"], [0.5, "#f7f7f7"], [0.75, "#85b6dd"], [1, "#1f5f9e"]];
}

// Black or white, whichever has the better contrast (WCAG 2) on a share of a colour scale
function readable(colours, share) {
  const place = Math.max(1, colours.findIndex(([end]) => end >= share));
  const [[start, first], [end, second]] = [colours[place - 1], colours[place]];
  const channels = (colour) => [1, 3, 5].map((digit) => parseInt(colour.slice(digit, digit + 2), 16) / 255);
  const [from, to, part] = [channels(first), channels(second), (share - start) / (end - start)];
  const linear = from.map((value, k) => value + part * (to[k] - value)).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) ? "#000000" : "#ffffff";
}

// --- elements: text is always added as text, never as markup ----------------------------------------------------------------

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function choice(title, options, value, change) {
  const list = h("select", { onchange: (event) => change(event.target.value) },
    ...options.map(([key, text]) => h("option", { value: key }, text)));
  list.value = value;
  return h("label", { class: "field" }, h("span", {}, title), list);
}

// Browsers do not break a name after an underscore by themselves
function breakable(text) {
  return text.split(/(?<=_)/).flatMap((part, place) => (place ? [h("wbr"), part] : [part]));
}

// Plotly interprets HTML in its texts. Names are escaped, and cut so that they do not cover the plot.
function plain(text, longest = 60) {
  const short = text.length > longest ? `${text.slice(0, longest - 1)}…` : text;
  return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function number(value, digits = 2) {
  return value === null || value === undefined ? "–" : value.toLocaleString("en-US",
    { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function swatch(row) {
  const { colour, dash } = look(row);
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of [["width", 18], ["height", 12], ["aria-hidden", "true"], ["data-row", row]]) drawn.setAttribute(name, value);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", "M0 6H18");
  line.setAttribute("stroke-width", 2);
  line.setAttribute("stroke", colour);
  if (dash !== "solid") line.setAttribute("stroke-dasharray", dash === "dash" ? "5 2" : "2 2");
  const mark = document.createElementNS("http://www.w3.org/2000/svg", "path");
  mark.setAttribute("d", MARKS[SYMBOLS[row % SYMBOLS.length]]);
  mark.setAttribute("fill", colour);
  drawn.append(line, mark);
  return drawn;
}

const MARKS = {
  circle: "M5 6a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z", square: "M5.5 2.5h7v7h-7Z", diamond: "M9 1.2l4.8 4.8-4.8 4.8-4.8-4.8Z",
  "triangle-up": "M9 1.5l4.5 8h-9Z", "triangle-down": "M9 10.5l4.5-8h-9Z", "triangle-left": "M4.5 6l8-4.5v9Z",
  "triangle-right": "M13.5 6l-8-4.5v9Z", cross: "M7.5 2h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5Z",
  x: "M6.2 1.8l2.8 2.1 2.8-2.1 1.4 1.4-2.1 2.8 2.1 2.8-1.4 1.4-2.8-2.1-2.8 2.1-1.4-1.4 2.1-2.8-2.1-2.8Z",
  pentagon: "M9 1.5l4.5 3.3-1.7 5.2h-5.6l-1.7-5.2Z", hexagon2: "M6.7 2h4.6l2.3 4-2.3 4h-4.6l-2.3-4Z",
  star: "M9 1l1.4 3.5 3.7.2-2.9 2.3 1 3.6-3.2-2-3.2 2 1-3.6-2.9-2.3 3.7-.2Z",
  "star-square": "M9 1l1.5 3.3 3.3 1.7-3.3 1.7-1.5 3.3-1.5-3.3-3.3-1.7 3.3-1.7Z",
};

// --- sections are drawn when they come into view, and again when a setting changes -----------------------------------

const sections = [];
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) sections.find((each) => each.element === entry.target).seen = entry.isIntersecting;
  drawSeen();
}, { rootMargin: "300px" });
const drawSeen = () => sections.filter((each) => each.seen).forEach(refresh);
window.addEventListener("beforeprint", () => sections.forEach(refresh)); // paper has no view

// Sections that have nothing to show, and why
const lacking = [];

// draw(body) fills an empty element and is called again after every change. notes are lines below it. With a reason why
// there is nothing to show, the section is only named at the end of the page.
function section(id, title, about, draw, { notes = [], lacks = () => "" } = {}) {
  if (lacks()) {
    lacking.push(`${title}: ${lacks()}`);
    return null;
  }
  const body = h("div", { class: "body" });
  const element = h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title),
    about ? h("p", { class: "about" }, about) : null, body, remarks(notes));
  document.getElementById("content").append(element);
  const entry = { id, title, element, body, draw, lacks, drawn: false, seen: false };
  sections.push(entry);
  watcher.observe(element);
  return entry;
}

function refresh(entry) {
  if (entry.drawn) return;
  entry.drawn = true;
  for (const plot of entry.body.querySelectorAll(".js-plotly-plot")) Plotly.purge(plot);
  const held = entry.body.contains(document.activeElement) ? document.activeElement.dataset.hold : null;
  entry.body.style.minHeight = `${entry.body.offsetHeight}px`; // the page does not jump while it is drawn again
  entry.body.replaceChildren();
  try {
    if (entry.lacks()) absent(entry.body, sentence(entry.lacks())); // of the settings that are shown now
    else entry.draw(entry.body);
  } catch (error) { // the other sections are drawn all the same
    absent(entry.body, `This section cannot be shown: ${error.message}`);
    console.error(error);
  }
  entry.body.style.minHeight = "";
  if (held) entry.body.querySelector(`[data-hold="${CSS.escape(held)}"]`)?.focus();
}

function changed() {
  for (const entry of sections) entry.drawn = false;
  drawSeen();
}

// A choice of one section, which is kept while the section is drawn again.
const kept = {};
function pick(entry, name, title, options, first) {
  const key = `${entry.id}-${name}`;
  if (!options.some(([value]) => value === kept[key])) kept[key] = first ?? options[0]?.[0];
  const field = choice(title, options, kept[key], (value) => { kept[key] = value; entry.drawn = false; refresh(entry); });
  field.querySelector("select").dataset.hold = key;
  return [field, kept[key]];
}

// Lines below a table or a plot
function remarks(lines) {
  return lines.length ? h("ul", { class: "note" }, ...lines.map((line) => h("li", {}, line))) : null;
}

function absent(body, text) {
  body.append(h("p", { class: "note absent" }, text));
}

// --- plots -----------------------------------------------------------------------------------------------------------

// Plots adapt to the width of their panel
const fitting = new ResizeObserver((entries) => {
  for (const { target } of entries) if (target.isConnected && target.offsetWidth) Plotly.Plots.resize(target);
});

function panel(parent, title, traces, layout, options = {}) {
  const place = h("div", { class: "plot", role: "img", "aria-label": title });
  place.style.height = `${options.height || 320}px`;
  const save = h("button", { class: "plain", type: "button", title: "Save this plot as a picture", "aria-label": `Save as PNG: ${title}`,
    onclick: () => Plotly.downloadImage(place, { format: "png", scale: 2, filename: title.replace(/[^\w.-]+/g, "-").slice(0, 80) }) }, "PNG");
  parent.append(h("figure", {}, h("figcaption", {}, h("span", {}, title), save), place));
  const axis = { gridcolor: ink("--rule"), linecolor: ink("--rule"), zeroline: false, automargin: true, ticks: "", fixedrange: true };
  const { xaxis, yaxis, ...rest } = layout;
  Plotly.newPlot(place, traces, {
    paper_bgcolor: ink("--card"), plot_bgcolor: ink("--card"), showlegend: false, dragmode: false, hovermode: "closest",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink("--text") },
    margin: { l: 48, r: 14, t: 8, b: 44 }, hoverlabel: { bgcolor: ink("--card"), font: { color: ink("--text") }, bordercolor: ink("--rule") },
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
  }, { displaylogo: false, displayModeBar: false });
  fitting.observe(place);
  return place;
}

// The numbers of a heat map; differences have signs
function numbers(values, colours, { low = 0, high = 100, digits = 0, signed = false }) {
  const shown = values.flatMap((line, y) => line.map((value, x) => ({ x, y, value }))).filter(({ value }) => value !== null);
  const share = (value) => Math.min(1, Math.max(0, (value - low) / (high - low)));
  const text = (value) => {
    const shown = Math.abs(value).toFixed(digits);
    return signed && Number(shown) ? `${value < 0 ? "−" : "+"}${shown}` : shown;
  };
  return { type: "scatter", mode: "text", x: shown.map(({ x }) => x), y: shown.map(({ y }) => y), text: shown.map(({ value }) => text(value)),
    textfont: { size: 11, color: shown.map(({ value }) => readable(colours, share(value))) }, hoverinfo: "skip" };
}

function heat(parent, title, values, columns, lines, options = {}) {
  const across = parent.clientWidth || 600;
  const few = columns.length <= 10 && across / columns.length > 30;
  const colours = options.signed ? aroundZero() : scale();
  const tall = lines.length > 15; // the names of columns stand above rows that reach beyond a screen
  return panel(parent, title, [{
    type: "heatmap", z: values, x: columns.map((_, place) => place), y: lines.map((_, place) => place),
    colorscale: colours, zmin: options.low ?? 0, zmax: options.high ?? 100, xgap: 1.5, ygap: 1.5, showscale: false, hoverongaps: false,
    customdata: values.map((line, y) => line.map((_, x) => `${plain(lines[y])} → ${plain(columns[x])}`)),
    hovertemplate: `%{customdata}: %{z:.1f}${options.unit || " %"}<extra></extra>`,
  }, ...(few ? [numbers(values, colours, options)] : [])], {
    xaxis: { tickvals: columns.map((_, place) => place), ticktext: columns.map((name) => plain(name, 16)), tickangle: options.angle ?? -40, showgrid: false, side: tall ? "top" : "bottom",
      title: options.x ? { text: options.x, standoff: 8 } : undefined },
    yaxis: { tickvals: lines.map((_, place) => place), ticktext: lines.map((name) => plain(name, 22)), range: [lines.length - 0.5, -0.5], showgrid: false,
      title: options.y ? { text: options.y, standoff: 8 } : undefined },
    margin: { l: 30, r: 8, t: 8, b: 30 },
  }, { height: options.height || 110 + 30 * lines.length });
}

// --- what the data say -------------------------------------------------------------------------------------------------

const selectionNow = () => DATA.selections.find((each) => each.key === state.selection);
const metricOf = (key) => DATA.metrics.find((each) => each.key === key);
const shownRows = () => DATA.rows.map((_, row) => row).filter((row) => !state.hidden.has(row));
const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null);

function rowName(row) {
  return DATA.rows[row].name + DATA.rows[row].signs;
}

// [n, mean, sd, bold] of a metric, or null
function cell(row, condition, metric, selection = state.selection) {
  const found = DATA.table[selection].find((each) => each.row === row && each.condition === condition);
  return found?.values[metric] || null;
}

// What a section says where nobody knows which training labels are wrong
const UNKNOWN = "The labels of these images are as given, and no noise was injected: nobody knows which of them are wrong.";

// A name that starts a heading
const sentence = (text) => text[0].toUpperCase() + text.slice(1);

// The title of a metric, with the epoch that its numbers are of
function titled(metric) {
  const { title, unit, by_epoch } = metricOf(metric);
  return `${title} (${unit})${by_epoch ? `, ${selectionNow().label}` : ""}`;
}

function conditionOptions(keep = () => true) {
  return DATA.conditions.map((each, place) => [String(place), each.name]).filter(([place]) => keep(Number(place)));
}

// Why a section is empty whose data are arrays in the folders of the runs
const NO_ARRAYS = DATA.folders ? "" : " This section needs arrays from the run folders, which were not on the machine that made this page.";

function runsOf(row, condition) {
  return DATA.runs.filter((run) => run.row === row && run.condition === condition);
}
