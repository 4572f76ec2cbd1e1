"""What is fuzzed: each target is a way to make inputs, and what is done with one. Anything but the errors of fer-bench
that a person can mend is a failure."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from click.testing import CliRunner
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from safetensors.torch import save as save_tensors

from fer_bench.cli.main import main
from fer_bench.cli.snapshots import SweepWatcher
from fer_bench.cli.views.watch import sweep_view
from fer_bench.core.errors import ArchiveError, DataError, PluginError, SpecError, StoreError
from fer_bench.core.files import checksum
from fer_bench.core.presets import load_preset
from fer_bench.data.catalog import open_manifest
from fer_bench.data.dataset import Dataset
from fer_bench.data.landmarks import added
from fer_bench.data.noise.files import read_matrix, read_probabilities
from fer_bench.data.noise.lists import read_list
from fer_bench.data.sources import decode
from fer_bench.models.networks import make_network
from fer_bench.models.pretrained import find_weights, load_weights
from fer_bench.models.safe_pickle import read_arrays
from fer_bench.models.tfjs import read_model
from fer_bench.plugins.registry import discover, settings_by_method
from fer_bench.report.arrange import arrange
from fer_bench.report.tables import comparison
from fer_bench.reproduce import definition
from fer_bench.store.diff import difference
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import load_runs
from fer_bench.store.lease import Busy
from fer_bench.store.process import this_process
from fer_bench.sweep.archive import pack, unpack
from fer_bench.sweep.clean import find
from fer_bench.sweep.record import find_sweep
from tests.bad_input.seen import QUIET, begun, place
from tests.bad_input.world import SOUND, home, images, run_folder
from tests.helpers.npm_packages import write_package


@dataclass(frozen=True)
class Target:
    """``inputs`` as a hypothesis strategy; ``meet`` takes one of them, in a folder of its own (see ``ready``)."""

    inputs: st.SearchStrategy[Any]
    meet: Callable[[Any], None]
    usual: int
    """Inputs in the test suite."""
    known: tuple[Any, ...] = ()
    """Inputs that ended with a traceback once."""


@contextmanager
def ready() -> Iterator[Path]:
    """A folder with ``faces``; nothing is trained, measured or drawn, and warnings are not shown."""
    with ExitStack() as stack:
        here = stack.enter_context(place())
        stack.enter_context(patch("fer_bench.sweep.estimate.measure_speed", return_value=1000.0))
        stack.enter_context(patch("fer_bench.api.execute_plan", begun))
        stack.enter_context(patch("fer_bench.testing.run.run_checks", lambda plugin, on_start: iter(())))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield here


# --- parts --------------------------------------------------------------------------------------------------------

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
"""No system passes a zero byte in an argument."""
WORDS = st.text(LETTERS, max_size=8) | st.sampled_from(
    ["", "x", "ce", "nla", "faces", "faces.csv", "../x", "mine.toml", "all"]
)
NUMBERS = st.sampled_from(
    ["-1", "0", "1", "2", "0.5", "1e3", "1e400", "nan", "-inf", "0x1", "9" * 30, "1,2", ",", "1;2"]
)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some of them changed, cut off or repeated."""
    found = bytearray(content)
    for place_, value in draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6)):
        found[place_] = value
    if draw(st.booleans()):
        del found[draw(st.integers(0, len(content))) :]
    if draw(st.booleans()):
        start = draw(st.integers(0, len(found)))
        found[start:start] = draw(st.binary(max_size=12)) * draw(st.sampled_from([1, 50]))
    return bytes(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


# --- the command line ---------------------------------------------------------------------------------------------

COMMANDS = {
    "run": ["--methods", "--noise", "--noise-type", "--noise-mode", "--noise-file", "--imbalance", "--imbalance-type",
            "--seeds", "--data-seed", "--dataset", "--train-size", "--preset", "--epochs", "--batch-size", "--lr",
            "--backbone", "--pretrained", "--unlabelled", "--set", "--plugins", "--name", "--jobs", "--device",
            "--jobs-per-device", "--precision"],
    "reproduce": ["--preset", "--epochs", "--train-size", "--seeds", "--backbone", "--pretrained", "--select",
                  "--name"],
    "table": ["--format", "--select", "--metrics", "--baseline", "--test", "--unit", "--spread", "--interval",
              "--out"],
    "status": ["--out"], "watch": ["--out"], "plot": ["--out"], "report": ["--faces", "--to", "--plugins"],
    "clean": ["--out", "--plugins", "--dry-run"], "pack": ["--out", "--to"], "unpack": ["--out", "--sha256", "--name"],
    "diff": ["--out"], "methods": ["--plugins"], "new-method": ["--template", "--folder"], "test-method": ["--plugins"],
    "datasets": [], "data check": ["--data-root", "--sheet"], "data landmarks": ["--frame", "--data-root"],
    "convert-weights": ["--backbone", "--provenance"],
}  # fmt: skip
FIRST = {
    "run": ["--methods", "ce", "--dataset", "faces", "--image-size", "32", "--dry-run"],
    "reproduce": ["lanet-t1", "--on", "faces", "--dry-run"],
    "watch": ["--once"],
    "data check": ["--dataset", "faces"],
    "data landmarks": ["--dataset", "faces"],
}
KINDS = ["symmetric", "pair", "human", "votes", "frequency", "class-dependent", "confusion", "none", "instance"]
VALUES = (
    NUMBERS
    | WORDS
    | st.sampled_from([*KINDS, "ce.x=1", "nla.lam_a=[", "cpu", "cuda:9", "quick", "last", "faces/train"])
)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    name = draw(st.sampled_from(sorted(COMMANDS)))
    words = [*name.split(), *FIRST.get(name, [])]
    for _ in range(draw(st.integers(0, 4))):
        options = COMMANDS[name]
        if options and draw(st.integers(0, 3)):
            words.append(draw(st.sampled_from(options)))
        words.append(draw(VALUES))
    return words


def command_line(words: list[str]) -> None:
    result = CliRunner().invoke(main, words, env=QUIET)
    assert isinstance(result.exception, (SystemExit, type(None))), repr(result.exception)
    assert result.exit_code in (0, 1, 2) and "Traceback" not in result.output, result.output


# --- data ---------------------------------------------------------------------------------------------------------

CELLS = st.sampled_from(
    [*images()[::9], "anger", "train", "test", "", " ", "é", '"', "/etc/hostname", "..", "0", "1.5", "[[0.5, 0.5]]",
     "[[1e400, 0]]", "[]", "{}", "[[1],[2,3]]", "null", "\0", "x" * 300, "\ud7ff", "nan"]
) | st.text(max_size=5)  # fmt: skip
NAMES = st.permutations(["path", "label", "split", "landmarks", "id"]) | st.lists(CELLS, max_size=4)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    rows = [draw(NAMES), *draw(st.lists(st.lists(CELLS, min_size=3, max_size=5), max_size=5))]
    if draw(st.booleans()):
        rows = [["path", "label", "split", "landmarks", "id"], *(
            [path, path.split("/")[2], path.split("/")[1], draw(CELLS), str(n)] for n, path in enumerate(images()[::5])
        ), *rows[1:]]  # fmt: skip
    text = draw(st.sampled_from(["\n", "\r\n"])).join(draw(st.sampled_from([",", ", ", ";"])).join(row) for row in rows)
    return draw(damaged(text.encode("utf-8", "replace"))) if text and draw(st.booleans()) else text.encode()


def table(content: bytes) -> None:
    Path("faces.csv").write_bytes(content)
    with suppress(DataError):
        open_manifest("faces.csv")


PIXELS = " ".join(["7"] * 48 * 48)
LISTS = {
    "rafdb": ("rafdb/list_patition_label.txt", b"train_1.jpg 5\ntest_1.jpg 2\n"),
    "expw": ("expw/label.lst", b"a.jpg 0 1 1 5 5 0.9 3\na.jpg 1 2 2 9 9 0.9 6\n"),
    "fer2013": ("fer2013/fer2013.csv", f"emotion,pixels,Usage\n3,{PIXELS},Training\n0,{PIXELS},PrivateTest\n".encode()),
    "affectnet7": ("affectnet/training.csv", b"subDirectory_filePath,expression,face_x,face_y,face_width,face_height\n"
                   b"a.jpg,1,0,0,9,9\n"),
    "matrix": ("m.csv", b"anger,happiness,neutral\n1,0,0\n0,1,0\n0,0,1\n"),
    "labels": ("list.txt", b"a anger\nb 2 1\n"),
    "probabilities": ("p.csv", b"id,anger,happiness,neutral\na,1,0,0\nb,0,1,0\n"),
}  # fmt: skip
IDS, CLASSES = np.array(["a", "b"]), ("anger", "happiness", "neutral")
LISTED = Dataset(
    *("faces", CLASSES, IDS, np.array(["train", "train"]), np.array([0, 1])), fingerprint="0" * 64, folder=Path()
)
NOISE = {
    "matrix": lambda path: read_matrix(path, CLASSES),
    "labels": lambda path: read_list(path, LISTED),
    "probabilities": lambda path: read_probabilities(path, IDS, CLASSES),
}


def lists(given: tuple[str, bytes]) -> None:
    name, content = given
    for name_of_image in ("rafdb/Image/aligned/train_1_aligned.jpg", "rafdb/Image/aligned/test_1_aligned.jpg",
                          "expw/image/origin/a.jpg", "affectnet/Manually_Annotated_Images/a.jpg"):  # fmt: skip
        if not (path := Path("data", name_of_image)).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded("JPEG"))
            Path("data/affectnet/validation.csv").parent.mkdir(exist_ok=True)
            Path("data/affectnet/validation.csv").write_bytes(LISTS["affectnet7"][1].replace(b"a.jpg", b"./a.jpg"))
    path = Path("data", LISTS[name][0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with suppress(DataError):
        if name in NOISE:
            NOISE[name](path)
        else:
            open_manifest(name, Path("data"))


def landmarks(content: bytes) -> None:
    Path("faces/landmarks.npz").write_bytes(content)
    with suppress(DataError):
        added(faces(), "faces", None)


@cache
def faces() -> Any:
    return open_manifest(str(home() / "faces"))


@cache
def encoded(form: str) -> bytes:
    """A small picture with some content."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def stored(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def image(content: bytes) -> None:
    Path("one.img").write_bytes(content)
    with suppress(DataError):
        assert decode(Path("one.img"), 16).shape == (3, 16, 16)


# --- TOML ---------------------------------------------------------------------------------------------------------

KEYS = ["backbone", "image_size", "epochs", "batch_size", "optimizer", "lr", "momentum", "schedule", "gamma", "mean",
        "std", "threads", "flip", "erase_min", "title", "paper", "metrics", "protocol", "seeds", "noise_mode",
        "weights", "baseline", "recipe", "published", "name", "method", "settings", "data", "label", "noise", "rates",
        "noise_file", "imbalance", "imbalance_type", "preset", "value", "rows", "columns", "numbers", "lam_a",
        '"symmetric-0.2"', "overall_acc", "dataset", "augmentation"]  # fmt: skip
LITERALS = ["1", "-1", "0.5", "1e400", "nan", "true", '"x"', '""', '"ce"', '"nla"', '"synthetic"', '"symmetric"', "[]",
            "[0.1, 0.2]", "[1]", '["x"]', "{}", "{ value = 1 }", "{ lr = 1 }", "1979-05-27", '"quick"', "[[1]]",
            '"class-dependent"', '"../x"', "9999999999999999999999", '"CE"', '"\\u0000"',
            "[0.2, 0.2, 0.2]"]  # fmt: skip
HEADS = ["[recipe]", "[augmentation]", "[published]", "[[rows]]", "[[columns]]", "[[numbers]]", "[preset.faces]",
         '[preset.faces."symmetric-0.3"]', "[rows]", "[preset]"]  # fmt: skip
LINES = st.one_of(
    st.builds("{} = {}".format, st.sampled_from(KEYS), st.sampled_from(LITERALS)),
    st.sampled_from(HEADS),
    st.text(max_size=8),
)
WHOLE = ['title = "t"', 'paper = "p"', "[[rows]]", 'name = "CE"', 'method = "ce"', "[[columns]]", 'data = "synthetic"']


@st.composite
def toml(draw: st.DrawFn) -> str:
    """A table of a paper with lines put in, taken out and changed; or lines that fit no file."""
    lines = list(WHOLE) if draw(st.booleans()) else []
    for each in draw(st.lists(LINES, max_size=6)):
        lines.insert(draw(st.integers(0, len(lines))), each)
    return "\n".join(lines)


def toml_file(text: str) -> None:
    Path("mine.toml").write_text(text, encoding="utf-8", errors="replace")
    Path("mine.py").write_text(SOUND)
    found = discover(["mine.py"])
    with suppress(SpecError):
        load_preset("mine.toml")
    with suppress(SpecError):
        definition.load("mine.toml", found)
    with suppress(SpecError, PluginError):
        found["mine"].configure("faces", "symmetric 0.3", {})
    with suppress(SpecError, PluginError):
        for key, values in settings_by_method(text.splitlines()[:3]).items():
            if key in found:
                found[key].configure("faces", "clean", values)


# --- runs ---------------------------------------------------------------------------------------------------------

OWNER = "claim/x/owner.json"
FILES = ("spec.json", "final.json", "epochs.jsonl", "env.json", "status.json", "sums.json", OWNER, "sweep.json")


@cache
def sound(name: str) -> bytes:
    if name == "status.json":
        return b'{"error": "x", "traceback": "y"}'
    if name == OWNER:
        return json.dumps(this_process()).encode()
    if name == "sweep.json":
        return (home() / "results" / "sweeps" / "mine" / name).read_bytes()
    return (run_folder(home()) / name).read_bytes()


@st.composite
def run_files(draw: st.DrawFn) -> tuple[str, bytes | None]:
    name = draw(st.sampled_from(FILES))
    how = draw(st.sampled_from(["bytes", "value", "value", "value", "whole", "absent"]))
    if how == "absent":
        return name, None
    if how == "whole":
        return name, json.dumps(draw(JSON)).encode()
    if how == "bytes":
        return name, draw(damaged(sound(name)))
    content = json.loads(sound(name).splitlines()[0] if name == "epochs.jsonl" else sound(name))
    at = content
    while True:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        key = draw(st.sampled_from(list(keys)))
        if isinstance(at[key], (dict, list)) and at[key] and draw(st.booleans()):
            at = at[key]
            continue
        if isinstance(at, dict) and draw(st.integers(0, 3)) == 0:
            del at[key]
        else:
            at[key] = draw(JSON)
        return name, json.dumps(content).encode()


def run_file(given: tuple[str, bytes | None]) -> None:
    name, content = given
    shutil.rmtree("results", ignore_errors=True)
    shutil.copytree(home() / "results", "results", ignore=shutil.ignore_patterns("*.npz", "named"))
    folder = run_folder(Path())
    path = Path("results/sweeps/mine/sweep.json") if name == "sweep.json" else folder / name
    if name in ("status.json", OWNER):
        (folder / "final.json").unlink()
    path.unlink(missing_ok=True)
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    load_runs("results")
    find(Path("results"), {})
    with suppress(Busy), RunFolder(folder).claim():
        assert isinstance(RunFolder(folder).damage, str)
    with suppress(SpecError, StoreError):
        sweep = find_sweep(Path("results"), "mine")
        records, _ = sweep.records(), sweep.unfinished()
        if records:
            comparison(arrange(records, sweep.classes))
        Console(file=io.StringIO()).print(sweep_view(sweep, SweepWatcher(sweep).snapshots()))
        with suppress(StoreError):
            Console(file=io.StringIO()).print(
                difference(*sweep.runs[:2], *[RunFolder(folder)] * (2 - len(sweep.runs[:2])))
            )


# --- archives -----------------------------------------------------------------------------------------------------


@cache
def members() -> dict[str, bytes]:
    """The members of a packed sweep."""
    target = home() / "mine.tar.gz"
    pack(find_sweep(home() / "results", "mine"), target)
    with tarfile.open(target) as packed:
        return {member.name: packed.extractfile(member).read() for member in packed}  # type: ignore[union-attr]


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """An archive that is damaged, one whose tar is, or one with another member, with a manifest that fits it."""
    how = draw(st.sampled_from(["packed", "tar", "member"]))
    if how == "packed":
        return draw(damaged(gzip.compress(tar(members()), mtime=0)))
    if how == "tar":
        return gzip.compress(draw(damaged(tar(members()))), mtime=0)
    files = dict(members())
    name = draw(st.sampled_from(sorted(name for name in files if files[name])))
    files[name] = json.dumps(draw(JSON)).encode() if draw(st.booleans()) else draw(damaged(files[name]))
    if name != "manifest.json":
        manifest = json.loads(files["manifest.json"])
        manifest["files"][name] = {"sha256": checksum(files[name]), "bytes": len(files[name])}
        files["manifest.json"] = json.dumps(manifest).encode()
    return gzip.compress(tar(files), mtime=0)


def an_archive(content: bytes) -> None:
    shutil.rmtree("there", ignore_errors=True)
    Path("x.tar.gz").write_bytes(content)
    with suppress(ArchiveError, SpecError):
        unpack(Path("x.tar.gz"), Path("there"))
        assert len(load_runs("there")) == 2
    assert not list(Path("there").glob(".unpack-*"))


# --- weights ------------------------------------------------------------------------------------------------------


@cache
def network() -> Any:
    return make_network("ferres8", 2, seed=0, role="fuzz", pretrained="", weights=None)


@cache
def checkpoint(form: str) -> bytes:
    state = {"a.weight": torch.ones(2), "b": torch.zeros(1)}
    if form == "safetensors":
        return save_tensors(state, {"fer-bench": '{"backbone": "ferres8", "provenance": "x"}'})
    buffer = io.BytesIO()
    if form == "package":
        files = {"package/models/tiny.json": b"{}", "package/models/tiny.bin": bytes(9)}
        return write_package(Path("w.tgz"), files).read_bytes()
    if form == "pickle":
        import pickle

        return pickle.dumps({"a": np.ones(2, dtype=np.float32)}, protocol=2)
    torch.save(state, buffer)
    return buffer.getvalue()


def weights(content: bytes) -> None:
    Path("w.pt").write_bytes(content)
    with suppress(SpecError):
        find_weights("w.pt", "ferres8")
        load_weights(network(), Path("w.pt"), "ferres8")
    with suppress(SpecError):
        read_arrays(Path("w.pt"))
    with suppress(SpecError):
        read_model(Path("w.pt"), "models/tiny", {".json": "", ".bin": ""})


FORMS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
TARGETS = {
    "the command line": Target(command_lines(), command_line, 100),
    "tables of images (csv)": Target(tables(), table, 200),
    "lists of known data sets and of label noise": Target(
        st.sampled_from(sorted(LISTS)).flatmap(lambda name: st.tuples(st.just(name), damaged(LISTS[name][1]))),
        lists,
        150,
    ),
    "landmarks.npz": Target(
        damaged(stored(ids=np.array(["train/anger/0.png"]), points=np.full((1, 19, 2), 0.5))), landmarks, 100, (b"",)
    ),
    "images": Target(st.sampled_from(FORMS).flatmap(lambda form: damaged(encoded(form))), image, 150),
    "TOML files": Target(toml(), toml_file, 200),
    "files of run folders and sweeps": Target(run_files(), run_file, 60),
    "archives of sweeps": Target(archives(), an_archive, 100),
    "weights": Target(
        st.sampled_from(["torch", "safetensors", "pickle", "package"]).flatmap(lambda form: damaged(checkpoint(form))),
        weights,
        100,
    ),
}
