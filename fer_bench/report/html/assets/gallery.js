// The faces whose labels a method trusts least.

const gallery = section("gallery", "Faces that a method thinks mislabelled", "The training faces with the lowest clean scores, the most suspected first. A red frame: the label is indeed wrong.", (body) => {
  if (!DATA.galleries.length) return absent(body, "No run of this sweep has stored clean scores.");
  for (const line of DATA.withheld) body.append(h("p", { class: "note absent" }, line));
  const rows = [...new Set(DATA.galleries.map((each) => each.row))].map((row) => [String(row), DATA.rows[row].name]);
  const [method, row] = pick(gallery, "row", "Method", rows, rows[0][0]);
  const mine = DATA.galleries.filter((each) => each.row === Number(row));
  const [condition, place] = pick(gallery, "condition", "Condition", mine.map((each) => [String(each.condition), DATA.conditions[each.condition].name]), String(mine[mine.length - 1].condition));
  body.append(h("div", { class: "row" }, method, condition));
  const shown = mine.find((each) => each.condition === Number(place));
  const { classes } = DATA.conditions[shown.condition];
  const wrong = shown.faces.filter((_, each) => shown.given[each] !== shown.true[each]).length;
  body.append(h("p", { class: "note" }, `${wrong} of these ${shown.faces.length} labels are wrong; of all training labels ${number(shown.rate)} %. Seed ${shown.seed}.`));
  body.append(h("ol", { class: "faces" }, ...shown.faces.map((face, each) => {
    const [given, truth] = [classes[shown.given[each]], classes[shown.true[each]]];
    const picture = DATA.pictures[`${shown.dataset}/${face}`];
    const bad = given !== truth;
    return h("li", { class: bad ? "wrong" : null }, picture ? h("img", { src: picture, alt: `face ${face}`, loading: "lazy", title: `score ${shown.score[each]}` }) : h("div", { class: "blank" }),
      h("b", {}, given), h("span", {}, bad ? `is ${truth}` : "right"));
  })));
});
