"""Opens a data set by name or path: from the cache where its files are unchanged, else by reading them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from fer_bench.core.errors import DataError
from fer_bench.data import index, landmarks
from fer_bench.data.catalog import location, open_manifest
from fer_bench.data.dataset import Dataset, Manifest
from fer_bench.data.duplicates import dedup
from fer_bench.data.names import IMAGE_SUFFIXES
from fer_bench.data.options import AS_IT_IS, ReadOptions
from fer_bench.data.readers.common import images_under, other_files, printable, unique_ids
from fer_bench.data.sources import FileSource
from fer_bench.data.walk import files_under

log = logging.getLogger(__name__)


def open_dataset(name_or_path: str, root: Path | None = None, options: ReadOptions = AS_IT_IS) -> Dataset:
    """Opens a data set. Its files are read if they are new or have changed; images are decoded when they are needed.

    What the reader leaves out is logged as a warning, as are classes without test images; what it assumes is logged as
    information.

    Args:
        name_or_path: The name of a known data set, or the path of a folder of images or of a table.
        root: Folder of the known data sets, and of the images of a table. Default: the environment variable
            FER_BENCH_DATA, else ./data.
        options: What the files do not say, and which images are left out.

    Raises:
        DataError: Something is missing or wrong; the message names it.
        SpecError: An option does not apply to the data set.
    """
    key = _key(location(name_or_path, root), options.text)
    dataset = _opened(key, partial(read_manifest, name_or_path, root, options))
    _say_once(dataset.name, (*dataset.notes, *_unmeasured(dataset)), dataset.assumed)
    return landmarks.added(dataset, name_or_path, root)


def _unmeasured(dataset: Dataset) -> tuple[str, ...]:
    """A sentence for each held-out split that has images, but none of some classes: means are over fewer classes."""
    notes = []
    for split, what in (("val", "validation"), ("test", "test")):
        there = set(dataset.label[dataset.split == split].tolist())
        absent = [name for number, name in enumerate(dataset.classes) if number not in there]
        if there and absent:
            notes.append(f"no {what} image of {', '.join(absent)}: means over classes are of the other {len(there)}")
    return tuple(notes)


def read_manifest(name_or_path: str, root: Path | None = None, options: ReadOptions = AS_IT_IS) -> Manifest:
    """Reads a data set from its files, undecoded. Arguments and errors are those of :func:`open_dataset`."""
    manifest = open_manifest(name_or_path, root, options)
    return dedup(manifest, options.dedup == "near").manifest if options.dedup else manifest


def open_unlabelled(folder: Path, left_out: frozenset[str] = frozenset()) -> Dataset:
    """Opens all images under a folder as training images of one class, "face"; sub-folders have no meaning.

    Args:
        folder: The images.
        left_out: Ids of images that are left out.

    Raises:
        DataError: There is no folder, or no image in it.
    """
    key = _key(f"unlabelled {folder.absolute()}", *sorted(left_out))
    dataset = _opened(key, partial(_read_unlabelled, folder, left_out))
    _say_once(dataset.name, dataset.notes)
    return dataset


def _read_unlabelled(folder: Path, left_out: frozenset[str] = frozenset()) -> Manifest:
    if not folder.is_dir():
        raise DataError(f"--unlabelled {folder}: no such folder")
    paths = images_under(folder)
    if not paths:
        raise DataError(f"--unlabelled {folder}: no image in it ({', '.join(IMAGE_SUFFIXES)})")
    paths = [path for path in paths if path.relative_to(folder).as_posix() not in left_out]
    if not paths:
        raise DataError(f"--unlabelled {folder}: all {len(left_out)} images are copies of test images")
    return Manifest(
        name=printable(folder.resolve().name),
        classes=("face",),
        ids=unique_ids((path.relative_to(folder).as_posix() for path in paths), folder),
        split=np.full(len(paths), "train"),
        label=np.zeros(len(paths), dtype=np.int64),
        source=FileSource(paths),
        files=paths,
        folders=[folder],
        notes=tuple(other_files(files_under(folder))),
    )


@dataclass
class _Reading:
    """Reads a data set once in a process; a process that gets a copy of it reads for itself."""

    function: Callable[[], Manifest]
    manifest: Manifest | None = None

    def __call__(self) -> Manifest:
        if self.manifest is None:
            self.manifest = self.function()
        return self.manifest

    def __reduce__(self) -> tuple[type[_Reading], tuple[Callable[[], Manifest]]]:
        return _Reading, (self.function,)


def _opened(key: str, function: Callable[[], Manifest]) -> Dataset:
    read = _Reading(function)
    dataset = index.find(key)
    if dataset is None:
        started = index.settle()
        dataset = index.store(key, read(), started)
    return replace(dataset, read=read)


def _key(*words: str) -> str:
    """A hash of what is asked for, and of the code that reads or draws it."""
    return hashlib.sha256("\x1f".join((*words, _code())).encode(errors="surrogateescape")).hexdigest()[:32]


@cache
def _say_once(name: str, notes: tuple[str, ...], assumed: tuple[str, ...] = ()) -> None:
    for note in notes:
        log.warning("%s: %s", name, note)
    for sentence in assumed:
        log.info("%s: %s", name, sentence)


@cache
def _code() -> str:
    total = hashlib.sha256()
    for source in sorted(Path(__file__).parent.rglob("*.py")):
        total.update(source.read_bytes())
    return total.hexdigest()
