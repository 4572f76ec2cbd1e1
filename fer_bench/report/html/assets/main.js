// The bar on top, the list of sections, and the theme.

function setTheme(theme) {
  state.theme = theme;
  document.documentElement.dataset.theme = theme;
}

const preferred = window.matchMedia("(prefers-color-scheme: dark)");
setTheme(preferred.matches ? "dark" : "light");
let byHand = false;
preferred.addEventListener("change", (event) => { if (!byHand) { setTheme(event.matches ? "dark" : "light"); redraw(); } });

function chip(row) {
  return h("label", { class: "chip", title: DATA.rows[row].name },
    h("input", { type: "checkbox", checked: !state.hidden.has(row), "data-row": row, onchange: (event) => {
      if (event.target.checked) state.hidden.delete(row); else state.hidden.add(row);
      changed();
    } }), swatch(row), h("span", {}, rowName(row)));
}

// One group of chips for each family
function chips() {
  const families = [...new Set(DATA.rows.map((each) => each.family))];
  return families.map((family) => h("div", { class: "chips", role: "group", "aria-label": family }, families.length > 1 ? h("span", {}, family) : null,
    ...DATA.rows.map((each, row) => (each.family === family ? chip(row) : null)).filter(Boolean)));
}

const legend = h("div", { class: "row tight", role: "group", "aria-label": "Methods shown" }, ...chips());
const oracle = h("div", { id: "oracle", role: "status", hidden: true });

function redraw() {
  legend.replaceChildren(...chips());
  changed();
}

// What is chosen by test labels is said as long as it is shown
function warn() {
  const texts = [state.selection === "best_test" ? selectionNow().description : "", DATA.setting === "oracle" ? settingNow().about : ""];
  oracle.textContent = texts.filter(Boolean).join(" ");
  oracle.hidden = !oracle.textContent;
}

function setSelection(value) {
  state.selection = value;
  warn();
  changed();
}

// Settings of a tuning: a switch on the first screen, and one that stays in view
function setSetting(value) {
  const hidden = new Set([...state.hidden].map((row) => DATA.rows[row].name));
  DATA.setting = value;
  Object.assign(DATA, settingNow().part);
  state.hidden = new Set(DATA.rows.map((_, row) => row).filter((row) => hidden.has(DATA.rows[row].name)));
  for (const part of document.querySelectorAll("[data-setting]")) part.hidden = part.dataset.setting !== value;
  for (const button of document.querySelectorAll("#settings input")) button.checked = button.value === value;
  settingField.querySelector("select").value = value;
  warn();
  redraw();
}

const settingField = DATA.settings ? choice("Settings", DATA.settings.map(({ key }) => [key, `${key} settings`]), DATA.setting, setSetting) : null;
for (const button of document.querySelectorAll("#settings input")) button.addEventListener("change", () => setSetting(button.value));

const themeButton = h("button", { id: "theme", type: "button", "aria-label": "Switch between light and dark", onclick: () => {
  byHand = true;
  setTheme(state.theme === "dark" ? "light" : "dark");
  redraw();
} }, "◐");
const selectionField = choice("Epoch", DATA.selections.map((each) => [each.key, each.label]), state.selection, setSelection);
selectionField.querySelector("select").id = "selection";
const metricField = choice("Metric", DATA.metrics.filter((each) => DATA.table.last.some((found) => found.values[each.key])).map((each) => [each.key, each.title]), state.metric,
  (value) => { state.metric = value; changed(); });
metricField.querySelector("select").id = "metric";
document.getElementById("controls").append(h("div", { class: "row" }, settingField, selectionField, metricField, themeButton), legend, oracle);
if (lacking.length) document.getElementById("content").append(h("section", { id: "lacking" }, h("h2", {}, "Not on this page"), remarks(lacking)));
// Sections grow when they are drawn, so those above a link's target are drawn before the page goes there
document.getElementById("contents").append(h("nav", { "aria-label": "Sections" }, h("ul", {}, ...sections.map(({ id, title }, place) =>
  h("li", {}, h("a", { href: `#${id}`, onclick: () => sections.slice(0, place + 1).forEach(refresh) }, title))))));
