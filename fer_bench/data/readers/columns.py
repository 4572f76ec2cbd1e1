"""What the columns of a table mean: recognised by the names that people use, or told by ``--columns``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from fer_bench.core.errors import DataError
from fer_bench.data.names import EMOTIONS, class_name, splits_of
from fer_bench.data.options import ROLES
from fer_bench.data.readers.annotations import count
from fer_bench.data.readers.sheet import Sheet, is_image, is_pixels, plain

NAMES: Mapping[str, tuple[str, ...]] = {
    "path": (
        "path", "filepath", "imagepath", "imgpath", "filename", "imagefilename", "imagename", "imgname", "file",
        "imagefile", "image", "img", "photo", "picture", "relativepath", "subdirectoryfilepath", "imageid", "imgid",
    ),
    "label": (
        "label", "emotion", "expression", "class", "target", "labels", "emotionlabel", "expressionlabel", "classlabel",
        "classname", "emotionname", "facialexpression", "category",
    ),
    "split": ("split", "usage", "set", "fold", "subset", "partition", "phase", "istrain", "istraining", "istest"),
    "group": (
        "subject", "person", "identity", "user", "group", "subjectid", "personid", "identityid", "userid", "groupid",
        "participant", "participantid", "actor", "actorid",
    ),
    "reference": ("reference", "referencelabel", "groundtruth", "truelabel", "goldlabel", "consensus"),
    "id": ("id",),
    "landmarks": ("landmarks",),
}  # fmt: skip
"""Names of columns by role, as :func:`fer_bench.data.readers.sheet.plain` writes them; the first one there is used."""

PERSON = r"(subject|person|participant|identity|user|actor)(no|nr|num|number|code|key|index|idx|name|label)"
"""Further names of columns that say who is in an image, as :func:`fer_bench.data.readers.sheet.plain` writes them."""

NO_CLASS = ("unknown", "nf", "noface", "notaface", "uncertain", "none")
"""Columns of votes for no class."""

PIXELS = "pixels"

KNOWN = frozenset(name for names in NAMES.values() for name in names) | {PIXELS}

SHOWN = 20
"""Columns that a message names."""

NEEDED = "path=COLUMN,label=COLUMN"


@dataclass(frozen=True)
class Columns:
    """Columns by number, from 0.

    Attributes:
        roles: Column of each role that the table has.
        votes: Columns with counts of votes, by class; None where there are none.
        no_class: Columns with counts of votes that no class gets.
        pixels: Column with the pixels of the images; None where the images are files.
        assumed: What was recognised, one sentence.
    """

    roles: Mapping[str, int]
    votes: Mapping[str, int] | None = None
    no_class: tuple[int, ...] = ()
    pixels: int | None = None
    assumed: tuple[str, ...] = ()


def find_columns(sheet: Sheet, told: Mapping[str, str]) -> Columns:
    """Finds the columns of a table.

    Args:
        sheet: The table.
        told: Columns by role, as in :class:`fer_bench.data.options.ReadOptions`.

    Raises:
        DataError: A column is missing, or several can be meant.
    """
    roles = {role: _told_column(sheet, role, name) for role, name in told.items() if name != "none"}
    pixels = next((number for number, name in enumerate(sheet.names) if plain(name) == PIXELS), None)
    if not sheet.has_header:
        pixels = next((number for number in range(len(sheet.names)) if is_pixels(sheet.column(number)[0])), None)
    open_roles = [role for role in ROLES if role not in told]
    found = _recognised(sheet, open_roles) if sheet.has_header else _by_content(sheet, open_roles, roles)
    roles = found | roles
    if pixels is not None and "path" not in told:
        roles.pop("path", None)
    votes = _votes(sheet, set(roles.values())) if sheet.has_header else {}
    if len(votes) < 2:
        votes = {}
    no_class = [number for number, name in enumerate(sheet.names) if votes and plain(name) in NO_CLASS]
    _require(sheet, roles, bool(votes), pixels)
    called = {role: number for role, number in found.items() if plain(sheet.names[number]) != role}
    unusual = {role: called[role] for role in ROLES if role in called and role in roles}
    return Columns(roles, votes or None, tuple(no_class), pixels, _said(sheet, unusual, votes))


def _told_column(sheet: Sheet, role: str, name: str) -> int:
    """The column that ``--columns`` names: as it is written, in other letters, or by its number."""
    for same in (str.strip, str.casefold, plain):
        matches = [number for number, each in enumerate(sheet.names) if same(each) == same(name)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise DataError(f"{sheet.path}: two columns are called {name!r}; --columns takes their numbers, too")
    if name.isdecimal() and 1 <= int(name) <= len(sheet.names):
        return int(name) - 1
    raise DataError(f"{sheet.path}: --columns {role}={name}: there is no such column; {_there(sheet)}")


def _recognised(sheet: Sheet, roles: list[str]) -> dict[str, int]:
    """Columns by their names. Of several for one role, the one is used that all the others agree with."""
    found = {}
    for role in roles:
        names = [plain(name) for name in sheet.names]
        for name in NAMES[role]:
            if names.count(name) > 1:
                written = sheet.names[names.index(name)]
                raise DataError(
                    f"{sheet.path}: two columns are called {written!r}; choose with --columns {role}=NUMBER"
                )
        columns = [names.index(name) for name in NAMES[role] if name in names]
        if role == "group" and not columns:
            columns = [number for number, name in enumerate(names) if re.fullmatch(PERSON, name)]
        if role == "path":
            columns = sorted(columns, key=lambda number: not is_image(sheet.column(number)[0]))
        if role == "label" and len(columns) > 1:
            _require_same_classes(sheet, columns)
        if columns:
            found[role] = columns[0]
    return found


def _require_same_classes(sheet: Sheet, columns: list[int]) -> None:
    """DataError where two columns that both look like labels divide the images differently."""
    first = sheet.column(columns[0])
    for other in columns[1:]:
        words = sheet.column(other)
        if not len(set(zip(first, words, strict=True))) == len(set(first)) == len(set(words)):
            names = " and ".join(repr(sheet.names[number]) for number in (columns[0], other))
            raise DataError(
                f"{sheet.path}: the columns {names} are both labels, and they differ; choose with --columns "
                f"label={sheet.names[columns[0]]}, and name better ones with reference=COLUMN if there are"
            )


def _by_content(sheet: Sheet, roles: list[str], told: Mapping[str, int]) -> dict[str, int]:
    """Columns of a file without a header: the images, one of splits, and the one that is left."""
    left = [number for number in range(len(sheet.names)) if number not in told.values()]
    left = [number for number in left if not is_pixels(sheet.column(number)[0])]
    found: dict[str, int] = {}
    for role in ("path", "split", "label"):
        if role not in roles:
            continue
        fits = [number for number in left if role == "label" or _fits(sheet.column(number), role)]
        if len(fits) == 1 or (fits and role != "label"):
            found[role] = fits[0]
            left.remove(fits[0])
    return found


def _fits(words: list[str], role: str) -> bool:
    return all(map(is_image, words[:100])) if role == "path" else len(splits_of(set(words))) == len(set(words))


def _votes(sheet: Sheet, taken: set[int]) -> dict[str, int]:
    """Columns of numbers that are named like a class."""
    free = {number: class_name(name) for number, name in enumerate(sheet.names) if number not in taken}
    found = {name: number for number, name in free.items() if name in EMOTIONS}
    if not found:  # one column for each class as other tools write it: emotion_angry, emotion_happy
        parts = {number: re.fullmatch(r"(.*[ _.:/-])([^ _.:/-]+)", name) for number, name in free.items()}
        prefixes = {match[1] for match in parts.values() if match and class_name(match[2]) in EMOTIONS}
        if len(prefixes) == 1:
            found = {class_name(match[2]): number for number, match in parts.items() if match and match[1] in prefixes}
    return {name: number for name, number in found.items() if all(map(_is_number, sheet.column(number)))}


def _is_number(word: str) -> bool:
    try:
        count(word)
    except ValueError:
        return False
    return True


def _require(sheet: Sheet, roles: Mapping[str, int], votes: bool, pixels: int | None) -> None:
    """DataError where there are no images or no labels."""
    if "path" not in roles and pixels is None:
        raise _missing(sheet, "path")
    if not (votes or {"label", "reference"} & roles.keys()):
        raise _missing(sheet, "label")


def _missing(sheet: Sheet, role: str) -> DataError:
    if not sheet.has_header:
        return DataError(
            f"{sheet.path}: the file has no header, and it is unclear which of its {len(sheet.names)} columns is the "
            f"{role}: use --columns {role}=NUMBER, from 1 on"
        )
    alike = {
        difflib.SequenceMatcher(None, plain(name), known).ratio(): name for name in sheet.names for known in NAMES[role]
    }
    hint = f" (did you mean {alike[max(alike)]!r}?)" if alike and max(alike) >= 0.6 else ""
    return DataError(
        f"{sheet.path}: no column {role!r}; {_there(sheet)}{hint}. Name the columns with --columns {NEEDED}, or call "
        f"them {', '.join(NAMES['path'][:4])} … and {', '.join(NAMES['label'][:5])}"
    )


def _there(sheet: Sheet) -> str:
    more = f" and {len(sheet.names) - SHOWN:,} more" if len(sheet.names) > SHOWN else ""
    found = ", ".join(name[:40] for name in sheet.names[:SHOWN])
    return f"found {found}{more}" if sheet.has_header else f"it has {len(sheet.names)}"


def _said(sheet: Sheet, roles: Mapping[str, int], votes: Mapping[str, int]) -> tuple[str, ...]:
    """One sentence on columns that are not called by their role."""
    parts = [f"{role} = {sheet.names[number]!r}" for role, number in roles.items()]
    if votes:
        parts.append(f"votes = {', '.join(votes)}")
    kind = "columns" if sheet.has_header else "columns by number, as there is no header"
    return (f"{kind}: {'; '.join(parts)}",) if parts else ()
