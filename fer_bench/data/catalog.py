"""The data sets that fer-bench knows by name, and :func:`open_manifest`, which reads one of them or a path."""

from __future__ import annotations

import difflib
import importlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

from fer_bench.core.errors import DataError, require
from fer_bench.data.dataset import Manifest
from fer_bench.data.names import TABLE_SUFFIXES, splits_of
from fer_bench.data.options import AS_IT_IS, ReadOptions

ROOT_VARIABLE = "FER_BENCH_DATA"

DEFAULT_ROOT = Path("data")

TABLE_NAMES = ("manifest.csv", "manifest.parquet")


@dataclass(frozen=True)
class Entry:
    """One known data set. Its reader is imported only when it is needed.

    Attributes:
        name: What ``--dataset`` calls it.
        title: Its full name.
        module: The module with ``read``, ``CLASSES`` and, for data on disk, ``EXPECTED`` and ``LAYOUT``.
        where: Who provides the data and under which terms.
        folder: Where its images are under the data root; "" if they are drawn.
        variant: Number of classes if one reader serves several label sets, else None.
        drawn: Whether fer-bench draws the images, so that there is nothing to download.
        cropped: Whether its reader cuts faces out of larger images, where its lists have boxes.
    """

    name: str
    title: str
    module: str
    where: str
    folder: str = ""
    variant: int | None = None
    drawn: bool = False
    cropped: bool = False

    @property
    def reader(self) -> ModuleType:
        """The module that reads it."""
        return importlib.import_module(self.module)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its classes."""
        return self.reader.CLASSES[: self.variant]

    @property
    def expected(self) -> Mapping[str, int]:
        """Images per split of the official release, where it is known."""
        if self.drawn:
            return {}
        return self.reader.EXPECTED if self.variant is None else self.reader.EXPECTED[self.variant]

    @property
    def layout(self) -> str:
        """Which files are expected where."""
        return "" if self.drawn else self.reader.LAYOUT

    def read(self, root: Path) -> Manifest:
        """Reads it from a data root. DataError names what is missing or wrong."""
        if self.drawn:
            return self.reader.read(self.name)
        return self.reader.read(root) if self.variant is None else self.reader.read(root, self.variant)


_READERS = "fer_bench.data.readers"

_AFFECTNET = "On request from the authors, for research"

_FER2013 = "From the facial expression recognition challenge of 2013, for research"

_FERPLUS = f"Votes: https://github.com/microsoft/FERPlus (MIT). Faces: FER2013. {_FER2013}"

DATASETS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "synthetic", "Drawn faces, balanced", "fer_bench.data.synthetic.dataset",
            "Drawn by fer-bench; nothing to download", drawn=True,
        ),
        Entry(
            "synthetic-natural", "Drawn faces, natural class counts", "fer_bench.data.synthetic.dataset",
            "Drawn by fer-bench; nothing to download", drawn=True,
        ),
        Entry(
            "synthetic-tuning", "Drawn faces of another population, to tune on", "fer_bench.data.synthetic.dataset",
            "Drawn by fer-bench; nothing to download", drawn=True,
        ),
        Entry(
            "rafdb", "RAF-DB, basic expressions", f"{_READERS}.rafdb",
            "On request from the authors, for non-commercial research", "rafdb",
        ),
        Entry("fer2013", "FER2013", f"{_READERS}.fer2013", _FER2013, "fer2013"),
        Entry("ferplus", "FERPlus, 7 basic expressions", f"{_READERS}.ferplus", _FERPLUS, "fer2013", variant=7),
        Entry("ferplus8", "FERPlus, 8 classes", f"{_READERS}.ferplus", _FERPLUS, "fer2013", variant=8),
        Entry(
            "affectnet7", "AffectNet, 7 expressions", f"{_READERS}.affectnet", _AFFECTNET, "affectnet", 7, cropped=True,
        ),
        Entry(
            "affectnet8", "AffectNet, 8 expressions", f"{_READERS}.affectnet", _AFFECTNET, "affectnet", 8, cropped=True,
        ),
        Entry(
            "expw", "ExpW, expressions in the wild", f"{_READERS}.expw",
            "From the authors, for non-commercial research", "expw", cropped=True,
        ),
        Entry(
            "sfew", "SFEW 2.0", f"{_READERS}.sfew",
            "On request from the authors, for research", "sfew",
        ),
    )
}  # fmt: skip


def find(name: str) -> Entry:
    """Finds a known data set by name. DataError names the nearest ones for an unknown name."""
    if name in DATASETS:
        return DATASETS[name]
    raise _unknown(name)


def open_manifest(name_or_path: str | Path, root: Path | None = None, options: ReadOptions = AS_IT_IS) -> Manifest:
    """Reads a known data set by name, or a folder of images or a table by path.

    A folder with manifest.csv or manifest.parquet in it is read as that table. A folder or table without a test split
    gets one: :func:`fer_bench.data.derive.complete`.

    Args:
        name_or_path: A name of DATASETS or a path.
        root: Folder of the known data sets, and of the images of a table that are not beside it. Default: the
            environment variable FER_BENCH_DATA, else ./data.
        options: What the files of a folder or table do not say.

    Raises:
        DataError: There is no such data set, or its files are not as expected.
        SpecError: An option does not apply to the data set.
    """
    from fer_bench.data.derive import complete

    name = str(name_or_path)
    if name in DATASETS:
        _require_unused(options, name, "columns", "group_by", "ties")
        return _read_known(DATASETS[name], root or default_root())
    return complete(_read_own(own_path(name), root or default_root(), options), options.group_by)


def own_path(text: str) -> Path:
    """The path of somebody's own data: "~" is the home folder, and file:// is left out.

    DataError for an address on the web.
    """
    if re.match(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise DataError(f"{text}: fer-bench downloads nothing; download and unpack it, and give the path of its folder")
    plain = unquote(text.removeprefix("file://")) if text.startswith("file://") else text
    return Path(os.path.expanduser(plain))  # noqa: PTH111  Path.expanduser raises RuntimeError for an unknown user


def _read_own(path: Path, root: Path, options: ReadOptions) -> Manifest:
    """A folder of images or a table of somebody's own."""
    from fer_bench.data.readers import folder, table

    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return table.read(path, root, options=options)
    if path.is_file():
        advice = next((text for suffixes, text in _OTHER_FILES.items() if path.suffix.lower() in suffixes), "")
        raise DataError(f"{path}: a data set is a folder or a table ({', '.join(TABLE_SUFFIXES)}){advice}")
    if not path.is_dir():
        raise _unknown(str(path))
    tables = [path / each for each in TABLE_NAMES if (path / each).is_file()]
    if len(tables) > 1:
        raise DataError(f"{path} holds both {' and '.join(TABLE_NAMES)}: name the one to read")
    if not tables:
        _require_unused(options, str(path), "columns", "ties")
        return folder.read(path, ask=not options.group_by)
    manifest = table.read(tables[0], root, options=options)
    return replace(manifest, files=[*manifest.files, *(path / each for each in TABLE_NAMES)])


def _require_unused(options: ReadOptions, name: str, *unused: str) -> None:
    """SpecError for an option that says something of tables, where there is none."""
    for option in unused:
        value = getattr(options, option)
        require(value == getattr(AS_IT_IS, option), f"--{option.replace('_', '-')}: {name} is not a table of your own")


def _read_known(entry: Entry, root: Path) -> Manifest:
    """Reads a known data set; the error names a folder that was meant by its path."""
    home = root / entry.folder
    if not entry.drawn and not home.is_dir() and Path(entry.name).is_dir():
        raise DataError(
            f"{home} does not exist; did you mean ./{entry.name}? Use --dataset ./{entry.name} if it is a folder of "
            f"images by class, or --data-root . if it is as expected:{entry.layout.rstrip()}"
        )
    try:
        return entry.read(root)
    except DataError as error:
        if entry.drawn or not home.is_dir() or not splits_of(child.name for child in home.iterdir()):
            raise
        raise DataError(f"{error}\nIf its images are in folders by class, use --dataset {home}") from None


def default_root() -> Path:
    """The folder of the known data sets: FER_BENCH_DATA, else ./data."""
    return Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT)


_OTHER_FILES = {
    (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar"): "; unpack it",
    (".xlsx", ".xls", ".ods"): "; save it as CSV",
    (".json", ".jsonl", ".ndjson", ".npz", ".npy", ".pkl", ".pickle", ".mat", ".h5", ".hdf5", ".pt"): "; write a CSV "
    "file with the columns path and label",
}
"""What to do with files of other kinds, by their suffixes."""


def images_folder(name_or_path: str | Path, root: Path | None = None) -> Path | None:
    """Path of the folder of a data set's images, or of its table; None if they are drawn. It need not exist."""
    entry = DATASETS.get(str(name_or_path))
    if entry:
        return None if entry.drawn else (root or default_root()) / entry.folder
    path = own_path(str(name_or_path))
    return path.parent if path.suffix.lower() in TABLE_SUFFIXES else path


def location(name_or_path: str | Path, root: Path | None = None) -> str:
    """The name of a data set and the absolute paths where it is looked for. They differ between working folders."""
    root = root or default_root()
    known = str(name_or_path) in DATASETS
    return f"{name_or_path if known else own_path(str(name_or_path)).absolute()} {root.absolute()}"


def _unknown(name: str) -> DataError:
    near = difflib.get_close_matches(name.lower(), DATASETS, n=3, cutoff=0.5)
    parent = Path(name).parent
    there = sorted(each.name for each in parent.iterdir()) if parent.is_dir() else []
    beside = difflib.get_close_matches(Path(name).name, there, n=2, cutoff=0.7)
    near = [*(str(parent / each) for each in beside), *near]
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return DataError(
        f"no data set or path {name!r}: {hint}Known names: {', '.join(DATASETS)}; "
        "anything else must be a folder of images or a .csv or .parquet table that exists"
    )
