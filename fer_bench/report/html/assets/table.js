// The main table, one metric at a time, and the table of all metrics; both can be sorted by any column and searched.

// columns: [{title, text}]; lines: [[cell…]] with cell {text, order, note, best, share, row}. Rows are headed by their first cell.
function sortable(body, key, caption, columns, lines, search = true) {
  const head = h("tr", {}, ...columns.map((column) => h("th", { scope: "col", class: column.text ? "text" : null }, column.title)));
  const content = lines.map((line) => h("tr", {}, ...line.map((cell, place) => {
    const element = h(place ? "td" : "th", { scope: place ? null : "row", "data-order": cell.order ?? -Infinity, "data-search": cell.text,
      class: [cell.best ? "best" : "", columns[place].text ? "text" : ""].join(" ").trim() || null });
    if (cell.row === undefined) element.append(cell.node || cell.text);
    else element.append(h("span", { class: "named" }, swatch(cell.row), h("span", {}, ...breakable(cell.text))));
    if (cell.note) element.append(" ", h("small", {}, cell.note));
    if (cell.share !== undefined) element.style.backgroundColor = `rgb(${ink("--accent-soft")} / ${(0.02 + 0.2 * cell.share).toFixed(3)})`;
    return element;
  })));
  const table = h("table", { class: "pinned" }, h("caption", { class: "hidden-text" }, caption), h("thead", {}, head), h("tbody", {}, ...content));
  body.append(h("div", {}, table));
  const before = sortable.kept[key] || { order: [], search: "" };
  const made = new DataTable(table, {
    paging: false, autoWidth: false, order: before.order.filter(([place]) => place < columns.length), search: { search: before.search },
    layout: { topStart: search ? "info" : null, topEnd: search ? "search" : null, bottomStart: null, bottomEnd: null },
    language: { search: "Search", info: "_TOTAL_ rows", infoEmpty: "no rows", infoFiltered: "of _MAX_", emptyTable: "nothing to show", zeroRecords: "nothing fits the search" },
    columnDefs: columns.map((column, targets) => ({ targets, type: column.text ? "string" : "num", orderSequence: column.text ? ["asc", "desc"] : ["desc", "asc"] })),
  });
  made.on("order search", () => { sortable.kept[key] = { order: made.order(), search: made.search() }; });
  return made;
}
sortable.kept = {};

// Shades cells by their position between the worst and the best.
function shade(cells, better) {
  const values = cells.map((each) => each.order).filter((value) => value !== null && value !== undefined);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (!better || values.length < 2 || low === high) return;
  for (const each of cells) {
    if (each.order === null || each.order === undefined) continue;
    const share = (each.order - low) / (high - low);
    each.share = better > 0 ? share : 1 - share;
  }
}

function written(found, digits, usual) {
  if (!found) return { text: "–", order: null };
  const [n, value, sd, best] = found;
  const text = number(value, digits) + (sd === null ? "" : ` ± ${number(sd, digits)}`);
  return { text, order: value, best, note: n === usual ? "" : `n=${n}` };
}

function mostRuns() {
  return Math.max(...DATA.table.last.map((each) => Math.max(...Object.values(each.values).map(([n]) => n))));
}

section("table", "Main table", null, (body) => {
  const metric = metricOf(state.metric);
  const conditions = DATA.conditions.map((_, place) => place)
    .filter((place) => DATA.rows.some((_, row) => cell(row, place, metric.key)));
  body.append(h("p", { class: "about" }, `${titled(metric.key)}: ${mostRuns() > 1 ? `mean ± standard deviation over ${mostRuns()} runs unless a cell says otherwise` : "one run per cell"}.`
    + (metric.compared ? " Bold: the best mean of a column and, where this can be tested, all methods not significantly worse." : "")));
  if (!conditions.length) return absent(body, `No run has this metric for “${selectionNow().label}”.`);
  const rows = shownRows();
  const lines = rows.map((row) => [{ text: rowName(row), order: rowName(row), row }, ...conditions.map((place) => written(cell(row, place, metric.key), metric.digits, mostRuns()))]);
  for (let place = 1; place <= conditions.length; place += 1) shade(lines.map((line) => line[place]), metric.better);
  sortable(body, "table", titled(metric.key), [{ title: "Method", text: true }, ...conditions.map((place) => ({ title: DATA.conditions[place].name }))], lines);
  if (DATA.legend.length) body.append(remarks(DATA.legend));
});

// Lines of a table that has no box of its own to scroll in
const LONG = 60;

const everything = section("metrics", "All metrics", "Every metric of every method and condition. Bold as in the main table, within a condition.", (body) => {
  const [field, chosen] = pick(everything, "condition", "Condition", [["all", "all conditions"], ...conditionOptions()], "all");
  body.append(h("div", { class: "row" }, field));
  const metrics = DATA.metrics.filter((metric) => DATA.table[state.selection].some((each) => each.values[metric.key]));
  const places = DATA.conditions.map((_, place) => place).filter((place) => chosen === "all" || place === Number(chosen));
  const lines = places.flatMap((place) => shownRows().filter((row) => runsOf(row, place).length).map((row) => [
    { text: rowName(row), order: rowName(row), row }, { text: DATA.conditions[place].name, order: DATA.conditions[place].name },
    ...metrics.map((metric) => written(cell(row, place, metric.key), metric.digits, mostRuns()))]));
  const box = h("div", { class: lines.length > LONG ? "tall" : null });
  body.append(box);
  sortable(box, "metrics", "All metrics", [{ title: "Method", text: true }, { title: "Condition", text: true },
    ...metrics.map((metric) => ({ title: `${metric.title} (${metric.unit})` }))], lines);
});
