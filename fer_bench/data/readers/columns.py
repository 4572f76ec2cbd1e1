"""What the columns of a table mean: recognised by the names that people use, or told by ``--columns``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fer_bench.core.errors import DataError
from fer_bench.data.names import composed, splits_of
from fer_bench.data.options import ROLES, VOTES
from fer_bench.data.readers.common import listed
from fer_bench.data.readers.sheet import Sheet, is_image, is_pixels, plain
from fer_bench.data.readers.votes import NO_VOTES, VoteColumns, find_votes

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
        "subject", "person", "identity", "subjectid", "personid", "identityid", "participant", "participantid", "actor",
        "actorid", "user", "userid", "group", "groupid",
    ),
    "reference": ("reference", "referencelabel", "groundtruth", "truelabel", "goldlabel", "consensus"),
    "id": ("id",),
    "landmarks": ("landmarks",),
}  # fmt: skip
"""Names of columns by role, as :func:`fer_bench.data.readers.sheet.plain` writes them; the first one there is used."""

PERSON = r"(subject|person|participant|identity|user|actor)(no|nr|num|number|code|key|index|idx|name|label)"
"""Further names of columns that say who is in an image, as :func:`fer_bench.data.readers.sheet.plain` writes them."""

OTHERS = re.compile(r"(user|group).*")
"""Columns that may say something else than who is in an image, such as who labelled it."""

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
        found: The roles that were recognised, not told.
        groups: Columns that may say who is in an image, the most probable one first; ``roles`` has that one.
        votes: Columns with counts of votes.
        pixels: Column with the pixels of the images; None where the images are files.
    """

    roles: Mapping[str, int]
    found: frozenset[str] = frozenset()
    groups: tuple[int, ...] = ()
    votes: VoteColumns = NO_VOTES
    pixels: int | None = None

    def grouped_by(self, number: int) -> Columns:
        """The same with another column that says who is in an image."""
        return replace(self, roles={**self.roles, "group": number})

    def sentence(self, sheet: Sheet) -> tuple[str, ...]:
        """One sentence on columns that are not called by their role; none if there are none."""
        names = {role: sheet.names[self.roles[role]] for role in ROLES if role in self.found and role in self.roles}
        parts = [f"{role} = {name!r}" for role, name in names.items() if plain(name) != role]
        if self.votes.classes:
            parts.append(f"votes = {', '.join(self.votes.classes)}")
        if self.votes.unread:
            parts.append(f"not read as votes: {', '.join(listed(self.votes.unread))}")
        kind = "columns" if sheet.has_header else "columns by number, as there is no header"
        return (f"{kind}: {'; '.join(parts)}",) if parts else ()


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
    groups = [roles["group"]] if "group" in roles else []
    if sheet.has_header and "group" in open_roles:
        groups = _groups(sheet)
        found |= {"group": groups[0]} if groups else {}
    labels = "chosen" if "label" in roles else ""
    roles = found | roles
    if pixels is not None and "path" not in told:
        roles.pop("path", None)
    if "path" not in roles and pixels is None:
        raise _missing(sheet, "path")
    _require_apart(sheet, roles, pixels)
    votes = NO_VOTES
    labels = labels or ("there" if {"label", "reference"} & roles.keys() else "")
    if sheet.has_header and VOTES not in told:
        taken = {*roles.values(), *groups}
        free = [number for number, name in enumerate(sheet.names) if number not in taken and plain(name) not in KNOWN]
        votes = find_votes(sheet, free, labels)
    if not labels and not votes.classes:
        raise _missing(sheet, "label")
    return Columns(roles, frozenset(found), tuple(groups), votes, pixels)


def _told_column(sheet: Sheet, role: str, name: str) -> int:
    """The column that ``--columns`` names: as it is written, in other letters, or by its number."""
    name = composed(name)
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
        if role == "path":
            columns = sorted(columns, key=lambda number: not is_image(sheet.column(number)[0]))
        if role == "label" and len(columns) > 1:
            _require_same_classes(sheet, columns)
        if columns:
            found[role] = columns[0]
    return found


def _groups(sheet: Sheet) -> list[int]:
    """Columns that are called like the person in an image, those that may mean somebody else last."""
    names = [plain(name) for name in sheet.names]
    columns = [names.index(name) for name in NAMES["group"] if name in names]
    columns += [number for number, name in enumerate(names) if re.fullmatch(PERSON, name)]
    return sorted(columns, key=lambda number: bool(OTHERS.fullmatch(names[number])))


def _require_apart(sheet: Sheet, roles: Mapping[str, int], pixels: int | None) -> None:
    """DataError where the column of the images shall say what they show, too: then no two images have one class."""
    images = roles.get("path", pixels)
    for role in ("label", "reference", "split"):
        if images is not None and roles.get(role) == images:
            raise DataError(
                f"{sheet.path}: the column {sheet.names[images]!r} cannot be both the images and the {role}; choose "
                f"another with --columns {role}=COLUMN"
            )


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
