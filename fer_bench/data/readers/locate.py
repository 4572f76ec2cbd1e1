"""Where the images of a table are: beside it, under the data root, or in a folder below one of these."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fer_bench.core.errors import DataError
from fer_bench.core.text import counted
from fer_bench.data.names import IMAGE_SUFFIXES
from fer_bench.data.readers.common import inside, is_file
from fer_bench.data.walk import files_under


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
    without their beginning, the same for all. A path that leads out of these folders is not followed.

    Args:
        written: [N] paths with "/" between their parts.
        table: The file that names them.
        roots: Other folders that may hold the images.

    Raises:
        DataError: An image is missing, or several may be meant. The message says where it was looked for.
    """
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
    absent = [row for row, path in enumerate(paths) if path is None]
    if not absent:
        return Located([path for path in paths if path])
    homes = list(dict.fromkeys([table.parent, *roots]))
    searched = [home for home in homes if home.is_dir()]
    names = [written[row] for row in absent]
    found, way = _search(names, searched), "below"
    if not any(found):
        found, way = _search(names, searched, _bare), "with other suffixes or letters below"
    left = [row for row, file in zip(absent, found, strict=True) if file is None]
    if left:
        if refused and len(left) == len(absent):
            raise refused
        places = " and ".join(map(str, homes))
        raise DataError(
            f"{table.parent / written[left[0]]} does not exist ({len(left)} of {len(written)} listed images are "
            f"missing): looked in {places}, and in the folders there. Name the folder that holds the images with "
            "--data-root"
        )
    for row, file in zip(absent, found, strict=True):
        paths[row] = file
    places = " or ".join(map(str, searched))
    note = f"{counted(len(absent), 'image')} found {way} {places}: {written[absent[0]]} is {found[0]}"
    return Located([path for path in paths if path], tuple(searched), (note,))


def _bare(path: str) -> str:
    """A path without the suffix of its format, in small letters: lists often leave suffixes out."""
    return (path.rpartition(".")[0] if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES else path).casefold()


def _search(names: Sequence[str], homes: Sequence[Path], spelled: Callable[[str], str] = str) -> list[Path | None]:
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
