"""Where the images of a table are: beside it, under the data root, or in a folder below one of these."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fer_bench.core.errors import DataError
from fer_bench.core.text import counted
from fer_bench.data.names import IMAGE_SUFFIXES, composed, folded
from fer_bench.data.readers.common import inside, is_file, listed
from fer_bench.data.walk import files_under

FEW = 0.1
"""Share of the images up to which they are rather missing than elsewhere."""


@dataclass(frozen=True)
class Located:
    """The images of a table.

    Attributes:
        paths: The file of each image.
        folders: Folders that were searched for images: what is in them decides which files are read.
        assumed: Where images were found that are not where the table says, one sentence.
    """

    paths: list[Path]
    folders: tuple[Path, ...] = ()
    assumed: tuple[str, ...] = ()


def locate(written: Sequence[str], table: Path, roots: Sequence[Path]) -> Located:
    """Finds the images that a table names.

    A path starts from the folder of the table or from one of ``roots``. If an image is at neither place, the folders
    below these are searched for one file whose path ends like that. Absolute paths of another machine are searched for
    without their beginning, the same for all. A path that leads out of these folders is not followed. A few images that
    are elsewhere than all others are missing.

    Args:
        written: [N] paths with "/" between their parts.
        table: The file that names them.
        roots: Other folders that may hold the images.

    Raises:
        DataError: An image is missing, or several files may be meant. The message says where it was looked for.
    """
    paths, refused = _as_written(written, table, roots)
    absent = [row for row, path in enumerate(paths) if path is None]
    homes = list(dict.fromkeys([table.parent, *roots]))
    searched = [home for home in homes if home.is_dir()]
    way = "below"
    spelled: Callable[[str], str] = composed
    if absent:
        names = [written[row] for row in absent]
        found = _search(names, searched, spelled)
        if not any(found):
            way, spelled = "with other suffixes or letters below", _bare
            found = _search(names, searched, spelled)
        if refused and not any(found):
            raise refused
        for row, file in zip(absent, found, strict=True):
            paths[row] = file
    left = [row for row, path in enumerate(paths) if path is None]
    if left:
        raise DataError(_missing(written, left, table, homes))
    located = [path for path in paths if path]
    _require_together(written, located, absent, table, searched)
    if not absent:
        return Located(located)
    note = f"{counted(len(absent), 'image')} found {way} {' or '.join(map(str, searched))}: {written[absent[0]]} is "
    starts = Counter(_start(located[row], written[row], spelled) for row in absent)
    places = listed([f"{start} ({count:,})" for start, count in starts.most_common()])
    note += f"{located[absent[0]]}" + (f"; they are in {' and '.join(places)}" if len(starts) > 1 else "")
    return Located(located, tuple(searched), (note,))


def _as_written(
    written: Sequence[str], table: Path, roots: Sequence[Path]
) -> tuple[list[Path | None], DataError | None]:
    """The images that are where the table says, None for the others, and why the first of these was not looked at."""
    paths: list[Path | None] = []
    refused: DataError | None = None
    for row, name in enumerate(written, 1):
        if re.match(r"[a-z]+://", name):
            raise DataError(
                f"{table}, row {row}: {name} is on the web; download the images, and write their file names"
            )
        try:
            path = inside(table.parent, name, f"{table}, row {row}", roots)
            paths.append(path if is_file(path) else None)
        except DataError as error:
            if not name or "\0" in name or ".." in Path(name).parts:
                raise
            refused = refused or error
            paths.append(None)
    return paths, refused


def _missing(written: Sequence[str], left: Sequence[int], table: Path, homes: Sequence[Path]) -> str:
    """What is said of images, by row, that were not found."""
    name, searched = written[left[0]], [home for home in homes if home.is_dir()]
    same = _same_ends(name, searched, composed) or _same_ends(name, searched, _bare)
    absent = f"{table.parent / name} does not exist ({len(left)} of {len(written)} listed images are missing)"
    if len(same) > 1:
        shown = " and ".join(listed([str(path) for path in same]))
        return f"{absent}, and {len(same)} files end so: {shown}; write the folders of the images, too"
    return (
        f"{absent}: looked in {' and '.join(map(str, homes))}, and in the folders there. Name the folder that holds "
        "the images with --data-root"
    )


# --- images that belong to other data --------------------------------------------------------------------------------


def _require_together(
    written: Sequence[str], paths: Sequence[Path], absent: Sequence[int], table: Path, homes: Sequence[Path]
) -> None:
    """DataError where a few images were found away from all others: names such as im/7.png are in many data sets.

    If most images are where the table says, those that are ``absent`` there must be in the same folders, perhaps with
    another suffix, or they are missing. If nearly all images are in one of the ``homes``, those in another one are
    missing.
    """
    lost = set(absent)
    there = {path for row, path in enumerate(paths) if row not in lost}
    folders, common = {path.parent for path in there}, table.parent
    away = [row for row in absent if paths[row] in there or paths[row].parent not in folders]
    if 2 * len(absent) >= len(paths) or not absent:
        inner = {folder: _innermost(folder, homes) for folder in {path.parent for path in paths}}
        common = Counter(inner[path.parent] for path in paths).most_common(1)[0][0]
        away = [row for row, path in enumerate(paths) if inner[path.parent] != common and not _says_where(written[row])]
        if len(away) > FEW * len(paths):
            return
    if away:
        row = away[0]
        raise DataError(
            f"{table.parent / written[row]} does not exist ({len(away)} of {len(paths)} listed images are missing). "
            f"{paths[row]} ends like it, but the other images are in {common}, so it may be of another data set: move "
            "it there if it is meant"
        )


def _says_where(name: str) -> bool:
    """Whether a written path leaves the folder of the table or is absolute: then no other file can be meant."""
    return name.startswith("/") or ".." in name.split("/")


def _start(path: Path, name: str, spelled: Callable[[str], str]) -> Path:
    """The folder that a written name starts from, for the file that was found."""
    start, parts = path, name.split("/")
    while parts and start.name and spelled(start.name) == spelled(parts.pop()):
        start = start.parent
    return start


def _innermost(folder: Path, homes: Sequence[Path]) -> Path:
    """The deepest one of the homes that holds a folder: the data root is often in the folder of the table."""
    plain = {home: os.path.abspath(home) for home in (folder, *homes)}  # noqa: PTH100  # links are not resolved
    holding = [home for home in homes if Path(plain[folder]).is_relative_to(plain[home])]
    return max(holding, key=lambda home: len(plain[home]), default=folder)


# --- the search ------------------------------------------------------------------------------------------------------


def _bare(path: str) -> str:
    """A path without the suffix of its format, in small letters: lists often leave suffixes out."""
    plain = path.rpartition(".")[0] if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES else path
    return folded(plain)


def _same_ends(name: str, homes: Sequence[Path], spelled: Callable[[str], str]) -> list[Path]:
    """The images below ``homes`` whose path ends like a name."""
    paths = dict.fromkeys(path for home in homes for path in files_under(home))
    images = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    return [path for path in images if f"/{spelled(path.as_posix())}".endswith(f"/{spelled(name)}")]


def _search(names: Sequence[str], homes: Sequence[Path], spelled: Callable[[str], str]) -> list[Path | None]:
    """The one file below ``homes`` whose path ends like each name; None where there is none, or several are.

    Names and paths are compared as ``spelled``.
    """
    names = [spelled(name) for name in names]
    ends: dict[str, Path | None] = {}
    for path in dict.fromkeys(path for home in homes for path in files_under(home)):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            parts = spelled(path.as_posix()).split("/")
            for start in range(len(parts)):
                end = "/".join(parts[start:])
                ends[end] = path if ends.get(end, path) == path else None
    found = [ends.get(name) for name in names]
    foreign = [number for number, name in enumerate(names) if name.startswith("/")]
    depth = max((len(names[number].split("/")) for number in foreign), default=0)
    for dropped in range(2, depth):
        cut = [ends.get("/".join(names[number].split("/")[dropped:])) for number in foreign]
        if None not in cut:
            for number, file in zip(foreign, cut, strict=True):
                found[number] = file
            break
    return found
