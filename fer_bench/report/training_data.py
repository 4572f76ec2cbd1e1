"""What the training data of each condition are: images, wrong labels, imbalance, and the purity of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.report.arrange import Runs, unique
from fer_bench.report.rendering import Block, Cell, value_range
from fer_bench.report.wording import sentence_case
from fer_bench.store.head_tail import head_and_tail_classes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Draw:
    """The training data of one condition and data seed.

    Attributes:
        condition: Name of the condition.
        context: The condition without its noise.
        dataset: Name or path of the data set.
        data_seed: Seed of the draw.
        classes: [C] class names.
        purity: [C] share of correct labels among those of each class, fractions; None for a class without labels,
            and empty if it was not stored or is not known.
        confusion: [C][C] counts, rows clean labels, columns noisy labels; None if it was not stored.
        counts: [C] images by clean label; None if they were not stored.
        wrong_rate: Share of wrong labels, a fraction; None if it is not known.
        imbalance: Largest class over smallest by noisy label; None if a class has no labels.
        images: Number of images.
    """

    condition: str
    context: str
    dataset: str
    data_seed: int
    classes: Sequence[str]
    purity: Sequence[float | None]
    confusion: Sequence[Sequence[int]] | None
    counts: Sequence[int] | None
    wrong_rate: float | None
    imbalance: float | None
    images: int


def draws(runs: Runs) -> list[Draw]:
    """One entry for each condition and draw of the data, in the order of the conditions."""
    found = []
    for run in runs.frame.drop_duplicates(["condition", "data_seed"]).to_dict("records"):
        final, known = run["record"].final, run["record"].errors_known
        noise = final.get("noise", {})
        purity, counts = noise.get("purity", []), noise.get("clean_counts")
        found.append(
            Draw(
                condition=run["condition"],
                context=run["context"],
                dataset=run["dataset"],
                data_seed=int(run["data_seed"]),
                classes=runs.class_names(run["dataset"], len(purity or counts or ())),
                purity=purity if known else (),
                confusion=noise.get("confusion") if known else None,
                counts=counts,
                wrong_rate=final["realised_rate"] if known else None,
                imbalance=final["noisy_imbalance"],
                images=int(final["train_images"]),
            )
        )
    return found


def purity(found: Sequence[Draw]) -> pd.DataFrame:
    """Share of correct labels among those of each class in %: dataset, condition, class, value; one line each."""
    import pandas as pd

    lines = [
        (draw.dataset, draw.condition, name, None if share is None else 100 * share)
        for draw in found
        if draw.purity
        for name, share in zip(draw.classes, draw.purity, strict=True)
    ]
    return pd.DataFrame(lines, columns=["dataset", "condition", "class", "value"]).astype({"value": float})


def blocks(runs: Runs, shares: pd.DataFrame) -> list[Block]:
    """The training data by condition, and the purity of each class for each data set with wrong labels.

    Args:
        runs: Arranged runs.
        shares: From :func:`purity`.
    """
    known = runs.frame["record"].map(lambda record: record.errors_known)
    columns = {
        "Training images": (runs.frame["train_images"], 0),
        f"{sentence_case(runs.wrong)} (%)": ((100 * runs.frame["realised_rate"]).where(known), 2),
        "Largest / smallest class": (runs.frame["noisy_imbalance"], 1),
    }
    shown = {title: column for title, column in columns.items() if column[0].notna().any()}
    lines = []
    for condition, group in runs.frame.groupby("condition", sort=False):
        texts = (_range(values[group.index], digits) for values, digits in shown.values())
        lines.append((str(condition), tuple(map(Cell, texts))))
    found = [Block("Training data", "Condition", tuple(shown), tuple(lines), main=False)]
    several = shares["dataset"].nunique() > 1
    for dataset, part in shares.groupby("dataset", sort=False):
        if (part["value"].dropna() == 100).all():
            continue  # clean labels
        title = f"{sentence_case(runs.correct)} among those of each class (%)"
        title += f": {Path(str(dataset)).name}" if several else ""
        found.append(_purity_block(title, part))
    return found


def _range(values: pd.Series, digits: int) -> str:
    return value_range(values.dropna(), lambda value: f"{value:,.{digits}f}")


def _purity_block(title: str, part: pd.DataFrame) -> Block:
    names = tuple(unique(part, "class"))
    values = dict(iter(part.groupby(["condition", "class"])["value"]))
    rows = []
    for condition in unique(part, "condition"):
        texts = (value_range(values[condition, name].dropna(), lambda v: f"{v:.1f}") for name in names)
        rows.append((condition, tuple(map(Cell, texts))))
    return Block(title, "Condition", names, tuple(rows), main=False)


def head_tail_notes(found: Sequence[Draw]) -> list[str]:
    """Which classes are the head and which are the tail, for each kind of training data that has them."""
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for draw in found:
        head, tail = head_and_tail_classes(draw.counts)
        if head:
            names = tuple(", ".join(draw.classes[c] for c in side) for side in (head, tail))
            groups.setdefault((names[0], names[1]), {})[draw.context] = None
    if not groups:
        return []
    notes = [
        "Head and tail classes have more and fewer training images than the median class, counted by clean label. "
        "Where counts tie at the median, classes are split at the largest ratio between neighbouring counts."
    ]
    for (head_names, tail_names), contexts in groups.items():
        where = f" ({'; '.join(contexts)})" if len(groups) > 1 and all(contexts) else ""
        notes.append(f"Head{where}: {head_names}. Tail: {tail_names}.")
    return notes
