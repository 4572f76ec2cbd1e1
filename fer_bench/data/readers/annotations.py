"""Labels of a table: one column, a second column that is known to be right, or the votes of several people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from fer_bench.core.seeds import uniform_by_id
from fer_bench.core.text import counted
from fer_bench.data.dataset import LabelSource
from fer_bench.data.names import class_names, class_order, doubtful_classes
from fer_bench.data.options import Ties
from fer_bench.data.readers.common import listed

ABSENT = frozenset({
    "", "nan", "na", "n.a.", "n.a", "n/a", "<na>", "#n/a", "#na", "#nv", "null", "<null>", "(null)", "\\n", "nil",
    "none", "?", ".", "-", "--",
})  # fmt: skip
"""Cells that hold nothing, in small letters."""

CODES = frozenset({-1.0, -9.0, -99.0, -999.0})
"""Numbers that say in lists of numbers or words that something is missing."""


@dataclass(frozen=True)
class Annotations:
    """The labels of the images that have one; arrays as in :class:`fer_bench.data.dataset.Labels`.

    Attributes:
        kept: [N] bool, the images that have a label; the arrays below are of these only.
        classes: Class names.
        label: Class of each image.
        label_source: Whether ``label`` is known to be right.
        human: Another label of the same image, or None.
        votes: Counts by class; 0 for an image that nobody gave a class; or None.
        assumed, notes: As in :class:`fer_bench.data.dataset.Manifest`.
    """

    kept: np.ndarray
    classes: tuple[str, ...]
    label: np.ndarray
    label_source: LabelSource
    human: np.ndarray | None = None
    votes: np.ndarray | None = None
    assumed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def distribution(self) -> np.ndarray | None:
        """How the votes share each label: float32 [n, C], or None; an image without votes has its label alone."""
        if self.votes is None:
            return None
        alone = np.eye(len(self.classes), dtype=np.int64)[self.label]
        counts = np.where(self.votes.sum(1, keepdims=True) > 0, self.votes, alone)
        return (counts / counts.sum(1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Votes:
    """Counts of votes [N, C] int64 for ``classes``, and [N] for no class at all."""

    classes: tuple[str, ...]
    counts: np.ndarray
    no_class: np.ndarray

    @property
    def several(self) -> bool:
        """Whether at least half of the images have several votes."""
        return bool((self.counts.sum(1) > 1).mean() >= 0.5)


def read_votes(columns: Mapping[str, Sequence[str]], no_class: Sequence[Sequence[str]]) -> Votes:
    """Votes from cells that are counts, by class."""
    names = class_order(columns)
    table = np.array([[count(word) for word in columns[name]] for name in names], dtype=np.int64).T
    others = np.array([[count(word) for word in column] for column in no_class], dtype=np.int64)
    return Votes(names, table, others.sum(0) if len(no_class) else np.zeros(len(table), dtype=np.int64))


def count(word: str) -> float:
    """A cell as a number of votes: nothing is 0, and true and false are 1 and 0. ValueError for other words."""
    plain = word.casefold()
    return 0.0 if plain in ABSENT else float({"true": "1", "false": "0"}.get(plain, plain))


def filled(words: Sequence[str]) -> np.ndarray:
    """Which cells of a column say something: bool [N].

    The numbers of :data:`CODES` say nothing, unless other negative numbers are there: then they are numbers like these.
    """
    says = np.array([word.casefold() not in ABSENT for word in words], dtype=bool)
    negative = {word: value for word in set(compress(words, says)) if (value := _value(word)) < 0}
    if negative and CODES.issuperset(negative.values()):
        says &= np.array([word not in negative for word in words], dtype=bool)
    return says


def _value(word: str) -> float:
    """A cell as a number; 0 for other words."""
    try:
        return float(word)
    except ValueError:
        return 0.0


def count_rows(words: Sequence[str], image: np.ndarray, images: int) -> Votes:
    """Votes of the rows of a table, each of which is one vote on one of several ``images``; ``image`` is int64 [N]."""
    there = list(compress(zip(words, image, strict=True), filled(words)))
    names, _ = class_names(word for word, _ in there)
    classes = class_order(names.values())
    counts = np.zeros((images, len(classes)), dtype=np.int64)
    for word, place in there:
        counts[place, classes.index(names[word])] += 1
    return Votes(classes, counts, np.zeros(images, dtype=np.int64))


def annotate(
    ids: np.ndarray,
    label: Sequence[str] | None,
    reference: Sequence[str] | None,
    votes: Votes | None,
    ties: Ties,
) -> Annotations:
    """Joins what a table says of the labels of its images.

    Votes count as such where at least half of the images have several; one vote is a label as it was given. The label
    of an image is its ``reference``, else the class with the most ``votes``, else its ``label``. A ``label``
    beside one of the others becomes the second label ``human``.

    Args:
        ids: [N] str, of the images.
        label: Words of the column of labels, or None.
        reference: Words of the column of labels that are known to be right, or None.
        votes: Votes, or None.
        ties: What to do with an image with tied votes.
    """
    several = votes is not None and votes.several
    if reference is not None:
        found = _of_words(ids, reference, "reference")
    elif votes is not None:
        found = _of_votes(ids, votes, ties, "reference" if several else "given")
    else:
        assert label is not None  # a table without any label is refused before
        return _of_words(ids, label, "given")
    notes = list(found.notes)
    human = None
    if label is not None and (several or reference is not None):
        human, note = _second(label, found)
        notes += note
    counts = None
    if several and votes is not None:
        counts = _in_order(votes, found.classes)[found.kept]
    return replace(found, human=human, votes=counts, notes=tuple(notes))


def differing_row(label: Sequence[str], votes: Votes) -> int | None:
    """The first row, from 0, where the label and the only vote divide the images differently; None if there is none.

    A label may be a number where the class has a name. Images that lack one of the two say nothing.
    """
    one = (votes.counts.sum(1) == 1) & filled(label)
    names, _ = class_names([*votes.classes, *compress(label, one)])
    name_of: dict[str, str] = {}
    label_of: dict[str, str] = {}
    for row in np.flatnonzero(one).tolist():
        own, voted = names[label[row]], votes.classes[votes.counts[row].argmax()]
        same = own == voted if own in votes.classes else name_of.setdefault(own, voted) == voted
        if not same or label_of.setdefault(voted, own) != own:
            return row
    return None


def _of_words(ids: np.ndarray, words: Sequence[str], source: LabelSource) -> Annotations:
    """Labels from words; images without one are left out."""
    kept = filled(words)
    there = list(compress(words, kept))
    names, merged = class_names(there)
    classes = class_order(names.values())
    code = {word: classes.index(name) for word, name in names.items()}
    marks = sorted({word for word in compress(words, ~kept) if word.casefold() not in ("", "nan", "null", "<na>")})
    marked = f" ({', '.join(marks)})" if marks else ""
    notes = [] if kept.all() else [f"{_images(ids[~kept])} without a label{marked} left out"]
    notes += filter(None, [doubtful_classes(classes)])
    label = np.array([code[word] for word in there], dtype=np.int64)
    return Annotations(kept, classes, label, source, assumed=merged, notes=tuple(notes))


def _of_votes(ids: np.ndarray, votes: Votes, ties: Ties, source: LabelSource) -> Annotations:
    """The class with the most votes. Images with most votes for no class, or without votes, are left out."""
    most = votes.counts.max(1)
    voted = (most > 0) & (most >= votes.no_class)
    best = votes.counts == most[:, None]
    tied = voted & ((best.sum(1) > 1) | (most == votes.no_class))
    label, kept = best.argmax(1), voted & ~(tied & (ties == "drop"))
    if ties == "distribution":
        place = (uniform_by_id(0, "table/ties", ids)[:, 0] * best.sum(1)).astype(np.int64)
        label = np.where(tied, np.argsort(~best, axis=1, kind="stable")[np.arange(len(ids)), place], label)
    notes = []
    if (~voted).any():
        notes.append(f"{_images(ids[~voted])} without votes, or with most votes for no class, left out")
    if tied.any():
        rule = {
            "drop": "left out",
            "first": "given to the first of these classes",
            "distribution": "given to one of these classes by a hash of the id",
        }[ties]
        notes.append(f"{_images(ids[tied])} whose votes tie {rule} (--ties {ties})")
    present = np.unique(label[kept])
    classes = tuple(votes.classes[number] for number in present)
    if absent := [name for name in votes.classes if name not in classes]:
        notes.append(f"no class {' or '.join(absent)}: no image has most of its votes for it")
    return Annotations(
        kept, classes, np.searchsorted(present, label[kept]).astype(np.int64), source, notes=tuple(notes)
    )


def _second(words: Sequence[str], found: Annotations) -> tuple[np.ndarray, list[str]]:
    """The second label of the images that are kept: int64 [n], -1 where it is none of the classes."""
    names, _ = class_names([*found.classes, *compress(words, filled(words))])
    code = {word: found.classes.index(name) for word, name in names.items() if name in found.classes}
    human = np.array([code.get(word, -1) for word, kept in zip(words, found.kept, strict=True) if kept], dtype=np.int64)
    others = Counter(word for word, kept in zip(words, found.kept, strict=True) if kept and word not in code)
    if not others:
        return human, []
    return human, [f"{counted(others.total(), 'label')} of no class ignored: {', '.join(listed(sorted(others)))}"]


def _in_order(votes: Votes, classes: Sequence[str]) -> np.ndarray:
    """The counts in the order of ``classes``; a class without a column has none."""
    counts = np.zeros((len(votes.counts), len(classes)), dtype=np.int64)
    for number, name in enumerate(votes.classes):
        if name in classes:
            counts[:, list(classes).index(name)] = votes.counts[:, number]
    return counts


def _images(ids: np.ndarray) -> str:
    return f"{counted(len(ids), 'image')} ({', '.join(listed(ids.tolist()))})"
