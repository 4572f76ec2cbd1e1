"""The comparison of methods: what a table holds, computed from finished runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.files import write_atomically
from fer_bench.report.cells import Block, Cell, Table
from fer_bench.report.conditions import arrange, row_order, unique
from fer_bench.store import RunFolder

if TYPE_CHECKING:
    import pandas as pd

TOLD = "†"


@dataclass(frozen=True)
class Metric:
    """A column of the runs; ``scale`` turns it into ``unit``. Blocks are made of those with a title."""

    name: str
    unit: str
    scale: float = 1
    title: str = ""
    best: bool = False


METRICS = (
    Metric("test_overall", "%", 100, "Overall accuracy, last epoch, %", best=True),
    Metric("test_mean", "%", 100, "Mean accuracy (over classes), last epoch, %", best=True),
    Metric("gap", "percentage points", 100, "Gap to the best test epoch (oracle), points of overall accuracy"),
    Metric("memorised", "%", 100, "Wrong training labels memorised, %"),
    *(Metric(name, "%", 100) for name in ("test_macro_f1", "test_worst", "test_ece")),
    Metric("test_nll", "nats"),
    *(Metric(name, "%", 100) for name in ("best_val_overall", "best_val_mean", "best_test_overall", "best_test_mean")),
    *(Metric(name, "%", 100) for name in ("fit_given", "fit_true", "detection_auroc", "detection_ap")),
    *(Metric(name, "count") for name in ("parameters", "images_forward", "images_backward", "skipped_steps")),
    Metric("seconds", "seconds"),
)


def comparison(
    runs: pd.DataFrame,
    titles: Mapping[str, str] | None = None,
    *,
    order: Iterable[str] = (),
    notes: Iterable[str] = (),
    classes: Mapping[str, Sequence[str]] | None = None,
    title: str = "Facial expression recognition under label noise and imbalance",
) -> Table:
    """Methods as rows, conditions as columns, one block for each metric; then cost and data.

    runs     from ``load_runs``
    titles   names of methods by key; their keys otherwise
    order    method keys, first row first; the others follow by key
    notes    lines below the table, such as why runs are missing
    classes  class names by data set, for the purity of labels; class numbers otherwise

    Cells are the mean over runs and, for two runs or more, ± the standard deviation. The best mean of a column is bold.
    """
    order = tuple(order)
    frame = arrange(runs, titles, order)
    frame["gap"] = frame["best_test_overall"] - frame["test_overall"]
    rows, conditions = row_order(frame, order), unique(frame, "condition")
    numbers = _numbers(frame, rows, conditions)
    purity = _purity(frame, classes or {})
    blocks: list[Block] = []
    for metric in METRICS:
        if metric.title:
            blocks += _metric(numbers, metric, rows, conditions, frame)
    blocks.append(_cost(frame, numbers, rows))
    blocks += _data(frame, purity)
    below = (*notes, *_own_notes(frame, rows, conditions))
    return Table(title, tuple(blocks), _caption(frame), below, _all(numbers, purity))


def write(
    runs: pd.DataFrame,
    folder: Path,
    notes: Iterable[str] = (),
    *,
    titles: Mapping[str, str] | None = None,
    order: Iterable[str] = (),
    classes: Mapping[str, Sequence[str]] | None = None,
) -> list[Path]:
    """Writes table.md, .csv, .tex and .html, and runs.csv with every field of every run; the paths."""
    table = comparison(runs, titles, order=order, notes=notes, classes=classes)
    contents = {
        "table.md": table.markdown(),
        "table.csv": table.csv(),
        "table.tex": table.latex(),
        "table.html": table.html(),
        "runs.csv": runs.to_csv(index=False, lineterminator="\n"),
    }
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in contents]


def _numbers(frame: pd.DataFrame, rows: list[str], conditions: list[str]) -> pd.DataFrame:
    """n, mean, sd (ddof 1), min and max of each metric, row and condition, in the unit of the metric."""
    import pandas as pd

    parts = []
    keys = ["row", "method", "condition", "dataset", "noise", "imbalance"]
    for metric in METRICS:
        if metric.name not in frame:
            continue
        values = frame.assign(value=pd.to_numeric(frame[metric.name]).astype(float) * metric.scale)
        stats = values.groupby(keys, sort=False)["value"].agg(n="count", mean="mean", sd="std", min="min", max="max")
        parts.append(stats[stats["n"] > 0].reset_index().assign(metric=metric.name, unit=metric.unit))
    result = pd.concat(parts, ignore_index=True)
    for name, places in (("row", rows), ("condition", conditions)):
        result[name] = pd.Categorical(result[name], places)
    result["metric"] = pd.Categorical(result["metric"], [m.name for m in METRICS])
    result = result.sort_values(["metric", "condition", "row"], kind="stable")
    return result.astype({"row": str, "condition": str, "metric": str}).reset_index(drop=True)


def _metric(
    numbers: pd.DataFrame, metric: Metric, rows: list[str], conditions: list[str], frame: pd.DataFrame
) -> list[Block]:
    """One block, or none where no run has the metric. A condition without values (memorised, of clean labels) has no
    column."""
    found = numbers[numbers["metric"] == metric.name].set_index(["row", "condition"])
    columns = [c for c in conditions if c in found.index.get_level_values("condition")]
    if not columns:
        return []
    usual = int(found["n"].max())
    best = found.groupby("condition")["mean"].transform("max")
    alone = found.groupby("condition")["mean"].transform("size") == 1

    def cell(row: str, condition: str) -> Cell:
        if (row, condition) not in found.index:
            return Cell()
        values = found.loc[(row, condition)]
        text = f"{values['mean']:.2f}" + (f" ± {values['sd']:.2f}" if values["n"] > 1 else "")
        text += f" (n={values['n']:.0f})" if values["n"] != usual else ""
        return Cell(text, metric.best and not alone[row, condition] and values["mean"] == best[row, condition])

    told = set(frame.loc[frame["told"], "row"])
    lines = tuple((row + TOLD * (row in told), tuple(cell(row, c) for c in columns)) for row in rows)
    return [Block(metric.title, "Method", tuple(columns), lines)]


def _cost(frame: pd.DataFrame, numbers: pd.DataFrame, rows: list[str]) -> Block:
    """What a run costs: a mean over seeds, and a range where conditions differ (imbalance takes images away)."""
    means = numbers.set_index(["metric", "row"])["mean"]
    told = set(frame.loc[frame["told"], "row"])

    def cells(row: str) -> tuple[Cell, ...]:
        names = ("parameters", "images_forward", "images_backward", "seconds", "skipped_steps")
        ranges = [_range(means.loc[[(name, row)]], _count) for name in names]
        return (*map(Cell, ranges), Cell("yes" if row in told else "no"))

    columns = ("Parameters", "Images forward", "Images backward", "Seconds", "Skipped steps", "Told the noise rate")
    return Block("Cost of one run", "Method", columns, tuple((row + TOLD * (row in told), cells(row)) for row in rows))


def _data(frame: pd.DataFrame, purity: pd.DataFrame) -> list[Block]:
    """What the training data turned out to be, condition by condition, and the purity of each class's labels."""
    lines = []
    for condition, group in frame.groupby("condition", sort=False):
        texts = (
            _range(group["train_images"], lambda v: f"{v:.0f}"),
            _range(group["realised_rate"] * 100, lambda v: f"{v:.2f}"),
            _range(group["observed_imbalance"].dropna(), lambda v: f"{v:.1f}"),
        )
        lines.append((str(condition), tuple(map(Cell, texts))))
    columns = ("Training images", "Wrong labels, %", "Observed imbalance")
    blocks = [Block("Training data", "Condition", columns, tuple(lines))]
    for data, part in purity.groupby("dataset", sort=False):
        names = tuple(unique(part, "class"))
        found = part.set_index(["condition", "class"])["value"]
        rows = []
        for condition in unique(part, "condition"):
            shares = (_range(found.loc[[(condition, name)]].dropna(), lambda v: f"{v:.1f}") for name in names)
            rows.append((condition, tuple(map(Cell, shares))))
        several = purity["dataset"].nunique() > 1
        title = "Labels that are right, by given class, %" + (f": {Path(str(data)).name}" if several else "")
        blocks.append(Block(title, "Condition", names, tuple(rows)))
    return blocks


def _purity(frame: pd.DataFrame, classes: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Share of right labels among those given as each class, %: dataset, condition, class, value; one row for each
    condition and distinct draw."""
    import pandas as pd

    found = []
    for run in frame.drop_duplicates(["condition", "data_seed"]).itertuples():
        final = RunFolder(Path(run.path)).final or {}
        shares = final.get("noise", {}).get("purity", [])
        names = class_names(classes, run.dataset, len(shares))
        for name, share in zip(names, shares, strict=True):
            found.append((run.dataset, run.condition, name, None if share is None else 100 * share))
    return pd.DataFrame(found, columns=["dataset", "condition", "class", "value"]).astype({"value": float})


def class_names(classes: Mapping[str, Sequence[str]], dataset: str, number: int) -> list[str]:
    """The names of a data set's classes; their numbers where they are not known or not of this number."""
    names = [str(name) for name in classes.get(dataset, ())]
    return names if len(names) == number else [str(place) for place in range(number)]


def _range(values: pd.Series, form: object) -> str:
    """One number, or the lowest and the highest."""
    if values.empty or values.isna().all():
        return Cell().text
    low, high = form(float(values.min())), form(float(values.max()))  # type: ignore[operator]
    return low if low == high else f"{low} to {high}"


def _count(value: float) -> str:
    """A count for people: 812, 12.3 k, 4.56 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{unit}" if value < 100 * size else f"{value / size:.0f}{unit}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _all(numbers: pd.DataFrame, purity: pd.DataFrame) -> pd.DataFrame:
    """The csv: numbers, and below them the purity of labels, which belongs to no method."""
    import pandas as pd

    keys = ["dataset", "condition", "class"]
    stats = purity.groupby(keys, sort=False)["value"].agg(n="count", mean="mean", sd="std", min="min", max="max")
    labels = stats.reset_index().assign(metric="purity", unit="%")
    first = ["metric", "unit", "method", "row", "dataset", "condition", "noise", "imbalance", "class"]
    both = pd.concat([numbers, labels], ignore_index=True) if len(labels) else numbers.assign(**{"class": None})
    return both[[*first, "n", "mean", "sd", "min", "max"]]


def _caption(frame: pd.DataFrame) -> str:
    """What the numbers are: a table without this is not comparable to any other."""

    def values(column: str, form: str = "{}") -> str:
        return ", ".join(form.format(value) for value in sorted(frame[column].unique(), key=str))

    epochs = values("epochs")
    sizes = frame.groupby(["row", "condition"]).size()
    low, high = sizes.min(), sizes.max()
    count = f"n = {high}" if low == high else f"n = {low} to {high} ({high} unless a cell says otherwise)"
    drawn = frame["data_seed"].nunique() > 1
    pretrained = ", ".join(_weights(name) for name in sorted(frame["pretrained"].unique()))
    sentences = [
        f"Data: {', '.join(sorted({Path(name).name for name in frame['dataset']}))}",
        f"Test accuracy at the last of {epochs} epochs; no epoch was chosen by its test accuracy"
        if "," not in epochs
        else f"Test accuracy at the last epoch ({epochs}); no epoch was chosen by its test accuracy",
        f"{count} run{'s' if high > 1 else ''} per cell",
    ]
    if high > 1:
        seeds = "Runs of a cell differ in their training seed (weights, order, augmentation)"
        data = "and in the draw of the training data (noise, imbalance, part)"
        fixed = f"and share one draw of the training data (data seed {values('data_seed')})"
        sentences.append(f"{seeds} {data if drawn else fixed}")
        sentences.append("Cells: mean ± standard deviation over runs, with divisor n - 1")
    bold = "Bold: best mean of its column and no more; no significance is claimed"
    sentences.append(bold + " (below six paired runs no test is made)")
    if frame["memorised"].notna().any():
        sentences.append("Memorised: of the wrong training labels, the share that the network predicts")
    images = _range(frame["train_images"], lambda v: f"{v:.0f}")
    sentences.append(
        f"Backbone {values('backbone')}, {pretrained}, images of {values('image_size')} px, {images} training images"
    )
    if frame["told"].any():
        sentences.append(f"{TOLD} was told the true noise rate")
    sentences.append(f"fer-bench {_version()}, protocol version {values('protocol')}")
    return ". ".join(sentences) + "."


def _weights(pretrained: str) -> str:
    return {"": "random initial weights", "timm": "timm's pre-trained weights"}.get(pretrained, f"weights {pretrained}")


def _version() -> str:
    try:
        return metadata.version("fer-bench")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _own_notes(frame: pd.DataFrame, rows: list[str], conditions: list[str]) -> list[str]:
    """What a reader should know of this table."""
    notes = []
    sizes = frame.groupby(["row", "condition"]).size()
    if len(sizes) < len(rows) * len(conditions):
        notes.append(f"{Cell().text}: there is no finished run.")
    if sizes.nunique() > 1:
        notes.append("Cells have different numbers of runs, so means of one column are not over the same seeds.")
    adapted = frame.groupby("row")["config"].nunique()
    for row in rows:
        if adapted[row] > 1:
            notes.append(f"{row}: settings differ between conditions; runs.csv has them.")
    return notes
