// The training faces whose labels a method trusts least.

const gallery = section("gallery", "Suspected training faces", `The training faces whose labels are trusted least, lowest score first. Red frame: the face has a ${DATA.one_wrong}.`, (body) => {
  for (const line of DATA.withheld) body.append(h("p", { class: "note absent" }, line));
  const rows = [...new Set(DATA.galleries.map((each) => each.row))].map((row) => [String(row), DATA.rows[row].name]);
  const [method, row] = pick(gallery, "row", "Method", rows, rows[0][0]);
  const mine = DATA.galleries.filter((each) => each.row === Number(row));
  const [condition, place] = pick(gallery, "condition", "Condition", mine.map((each) => [String(each.condition), DATA.conditions[each.condition].name]), String(mine[mine.length - 1].condition));
  body.append(h("div", { class: "row" }, method, condition));
  const shown = mine.find((each) => each.condition === Number(place));
  const { classes } = DATA.conditions[shown.condition];
  const wrong = shown.faces.filter((_, each) => shown.noisy_label[each] !== shown.clean_label[each]).length;
  const known = shown.rate !== null;
  body.append(h("p", { class: "note" }, known ? `${wrong} of these ${shown.faces.length} faces have ${DATA.wrong}, against ${number(shown.rate)} % of all training faces. Seed ${shown.seed}, by ${shown.by}.` : `${UNKNOWN} Look at the faces. Seed ${shown.seed}, by ${shown.by}.`));
  if (shown.suggested.length) body.append(h("p", { class: "note" }, `→: the most probable other class${shown.of > 1 ? `, and in how many of ${shown.of} galleries with the same training labels the face is` : ""}. All faces: fer-bench suspects ${DATA.sweep} --csv suspects.csv`));
  body.append(h("ol", { class: "faces" }, ...shown.faces.map((face, each) => {
    const [label, truth] = [classes[shown.noisy_label[each]], classes[shown.clean_label[each]]];
    const picture = DATA.pictures[`${shown.dataset}/${face}`];
    const bad = label !== truth;
    return h("li", { class: bad ? "wrong" : null }, picture ? h("img", { src: picture, alt: `face ${face}`, loading: "lazy", title: `${shown.id[each] ?? ""} score ${shown.score[each]}`.trim() }) : h("div", { class: "blank" }),
      h("b", {}, label), h("span", {}, bad ? `${DATA.is} ${truth}` : known ? DATA.one_correct.replace(" label", "") : ""),
      shown.suggested.length ? h("span", {}, `→ ${classes[shown.suggested[each]]}${shown.of > 1 ? ` ${shown.rows[each]}/${shown.of}` : ""}`) : "");
  })));
}, { lacks: () => DATA.galleries.length ? "" : `no run has stored scores of its labels.${NO_ARRAYS}` });
