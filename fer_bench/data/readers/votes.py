"""Which columns of a table hold votes: one column for each class, called like the class."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data.names import EMOTIONS, class_name, class_order
from fer_bench.data.readers.annotations import ABSENT, count
from fer_bench.data.readers.common import listed
from fer_bench.data.readers.sheet import Sheet, plain

NO_CLASS = ("unknown", "nf", "noface", "notaface", "uncertain", "none")
"""Columns of votes for no class."""

SYNONYMS = {"joy": "happiness"}
"""Further names of columns for a class, in small letters."""

ADJECTIVES = ("happy", "surprised", "sad", "angry", "disgusted", "fearful", "contemptuous")
"""Names of columns that are proposed for others, beside those of the expressions."""

ALIKE = 0.8
"""How alike the names of a column and of a class are, from 0 to 1, if one of them is misspelt."""


@dataclass(frozen=True)
class VoteColumns:
    """Columns of a table by number, from 0.

    Attributes:
        classes: Columns with counts of votes, by class; none where the table has no votes.
        no_class: Columns with counts of votes that no class gets.
        unread: Names of columns of numbers that are not read as votes.
        notes: What may be votes and is not read, one sentence each.
    """

    classes: Mapping[str, int]
    no_class: tuple[int, ...] = ()
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


NO_VOTES = VoteColumns({})
"""A table without votes."""


def find_votes(sheet: Sheet, free: Sequence[int], labels: str) -> VoteColumns:
    """Finds the columns of votes.

    Args:
        sheet: The table.
        free: Columns that nothing else is known of.
        labels: "chosen" if somebody named the column of labels, which counts then; "there" if there is one; else "".

    Raises:
        DataError: A cell holds no number of votes, two columns are one class, a column may be a misspelt class, or the
            numbers are no counts and there are no labels.
    """
    words = _words({number: sheet.names[number] for number in free})
    named = {number: name for number, word in words.items() if (name := _class(word))}
    counted = [number for number in named if _holds_numbers(sheet.column(number))]
    if len({named[number] for number in counted}) < 2:
        return NO_VOTES
    numbers = {number: [_number(word) for word in sheet.column(number)] for number in counted}
    shares = any(value is not None and value % 1 for column in numbers.values() for value in column)
    if labels == "chosen" or (labels and shares):
        return VoteColumns({}, unread=tuple(sheet.names[number] for number in counted))
    if shares:
        names = ", ".join(class_order(named.values()))
        raise DataError(
            f"{sheet.path}: the columns {names} hold no counts of votes, and no column holds labels: write counts, or "
            "a column label"
        )
    _require_one_column_each(sheet, named)
    no_class = tuple(number for number, word in words.items() if plain(word) in NO_CLASS)
    table, notes = _counts(sheet, [*named, *no_class])
    others = [number for number in free if number not in named and number not in no_class and sheet.names[number]]
    unread, doubtful = _others(sheet, {number: words.get(number, sheet.names[number]) for number in others}, table)
    return VoteColumns({name: number for number, name in named.items()}, no_class, unread, (*notes, *doubtful))


def _words(names: Mapping[int, str]) -> dict[int, str]:
    """What each column is called after: its name, or the end of it where there is one word before each class.

    Such columns are emotion_angry and emotion_happy; only columns with the same beginning are classes then.
    """
    if len({_class(name) for name in names.values()} - {""}) > 1:
        return dict(names)
    parts = {number: re.fullmatch(r"(.*[ _.:/-])([^ _.:/-]+)", name) for number, name in names.items()}
    groups: dict[str, set[str]] = defaultdict(set)
    for match in parts.values():
        if match and _class(match[2]):
            groups[match[1]].add(_class(match[2]))
    starts = [start for start, classes in groups.items() if len(classes) > 1]
    if len(starts) != 1:
        return dict(names)
    ends = {number: match[2] for number, match in parts.items() if match and match[1] == starts[0]}
    return {number: name for number, name in names.items() if not _class(name)} | ends


def _class(word: str) -> str:
    """The expression that a column is called after; "" for other names."""
    name = class_name(SYNONYMS.get(word.strip().lower(), word))
    return name if name in EMOTIONS else ""


def _number(word: str) -> float | None:
    """A cell as a number of votes; None for other words."""
    try:
        value = count(word)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _holds_numbers(words: Sequence[str]) -> bool:
    """Whether most cells are numbers or empty: a slip must not make a class disappear."""
    return 2 * sum(_number(word) is not None for word in words) >= len(words)


def _require_one_column_each(sheet: Sheet, named: Mapping[int, str]) -> None:
    first: dict[str, int] = {}
    for number, name in named.items():
        earlier = first.setdefault(name, number)
        if earlier != number:
            raise DataError(
                f"{sheet.path}: the columns {sheet.names[earlier]!r} and {sheet.names[number]!r} are both votes for "
                f"{name}; remove or rename one of them, or use no votes with --columns votes=none"
            )


def _counts(sheet: Sheet, columns: Sequence[int]) -> tuple[np.ndarray, list[str]]:
    """Votes float64 [N, K], and a sentence on cells that say that there is no number. DataError for other words."""
    table = np.zeros((len(sheet.cells), len(columns)))
    missing = []
    for place, number in enumerate(columns):
        for row, word in enumerate(sheet.column(number), 1):
            value = _number(word)
            if value is None or value < 0 or value % 1:
                raise DataError(
                    f"{sheet.path}, row {row}: the column {sheet.names[number]!r} holds {word!r}, but votes are "
                    "counts, 0 or more; leave a cell without votes empty, or use no votes with --columns votes=none"
                )
            table[row - 1, place] = value
            if word and word.casefold() in ABSENT:
                missing.append(f"row {row} of {sheet.names[number]!r} ({word})")
    return table, [f"cells without a number read as no votes: {', '.join(listed(missing))}"] if missing else []


def _others(sheet: Sheet, words: Mapping[int, str], votes: np.ndarray) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of columns of numbers that are not votes, and a sentence on those that may be some.

    Args:
        sheet: The table.
        words: What each other column is called after.
        votes: [N, K], the votes of the columns that are known.

    Raises:
        DataError: A column is called almost like a class, or all images have one number of votes with it only.
    """
    numbers = {number: [_number(word) for word in sheet.column(number)] for number in words}
    other = {number: np.array(column) for number, column in numbers.items() if None not in column}
    alike = [number for number, n in other.items() if (n % 1 == 0).all() and n.min() >= 0 and n.max() <= votes.max()]
    total = votes.sum(1)
    whole = np.ptp(total) == 0
    completing = not whole and np.ptp(total + sum(other[number] for number in alike)) == 0
    near = {number: _nearest(words[number]) for number in alike}
    wrong = [number for number in alike if near[number] or completing]
    if wrong:
        names = ", ".join(f"{sheet.names[number]!r}{near[number]}" for number in wrong)
        raise DataError(
            f"{sheet.path}: columns that look like votes and are called like no class: {names}. Call them by one of "
            f"{', '.join(EMOTIONS)}, or remove them; --columns votes=none uses no votes"
        )
    doubtful = [] if whole else [sheet.names[number] for number in alike]
    notes = [f"columns not read, although they may be votes: {', '.join(listed(doubtful))}"] if doubtful else []
    return tuple(sheet.names[number] for number in other if sheet.names[number] not in doubtful), tuple(notes)


def _nearest(word: str) -> str:
    close = difflib.get_close_matches(plain(word), (*EMOTIONS, *ADJECTIVES, *SYNONYMS), n=1, cutoff=ALIKE)
    return f" (did you mean {close[0]!r}?)" if close else ""
