"""What the cases of bad input stand on: a folder of small faces, and steps that put files there or spoil them.

A step is a function of the folder in which the command will run. All are plain and quick; results of trained runs are
made once for each process.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file

from fer_bench.core.files import checksum
from fer_bench.launch.task import Task, train_run
from fer_bench.models.pretrained import NOTE
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.record import make_sweep
from fer_bench.sweep.request import Request
from tests.helpers.npm_packages import write_package

Step = Callable[[Path], None]
CLASSES = ("anger", "happiness", "neutral")
TRAIN, TEST = 8, 3
HEADER = "path,label,split\n"
SCRIPT = "</script><script>alert(1)</script>"
CANARY = "code-from-a-file-was-run"


# --- files --------------------------------------------------------------------------------------------------------


def text(name: str, content: str) -> Step:
    return data(name, content.encode())


def data(name: str, content: bytes) -> Step:
    def step(here: Path) -> None:
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return step


def table(*rows: str, header: str = HEADER, name: str = "faces.csv") -> Step:
    """A csv file with one row for each face of ``faces``, ``rows`` behind them."""
    every = [f"{path},{path.split('/')[2]},{path.split('/')[1]}" for path in images()]
    return text(name, header + "\n".join([*every, *rows]) + "\n")


def images() -> list[str]:
    return [
        f"faces/{split}/{name}/{number}.png"
        for split, count in (("train", TRAIN), ("test", TEST))
        for name in CLASSES
        for number in range(count)
    ]


def gone(name: str) -> Step:
    def step(here: Path) -> None:
        path = here / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return step


def folder(name: str) -> Step:
    return lambda here: (here / name).mkdir(parents=True)


def renamed(old: str, new: str) -> Step:
    def step(here: Path) -> None:
        (here / new).parent.mkdir(parents=True, exist_ok=True)
        (here / old).rename(here / new)

    return step


def copied(old: str, new: str) -> Step:
    return lambda here: (shutil.copytree if (here / old).is_dir() else shutil.copy)(here / old, here / new) and None


def linked(name: str, target: str) -> Step:
    return lambda here: (here / name).symlink_to(target)


def cut(name: str, size: int) -> Step:
    """Keeps the first ``size`` bytes."""
    return lambda here: os.truncate(here / name, size)


def both(*steps: Step) -> Step:
    def step(here: Path) -> None:
        for each in steps:
            each(here)

    return step


# --- images, arrays, weights --------------------------------------------------------------------------------------


def picture(name: str, mode: str = "RGB", size: tuple[int, int] = (32, 32), **options: Any) -> Step:
    def step(here: Path) -> None:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        image = Image.new(mode, size)
        if size != (1, 1):  # two colours, also without the transparency
            white = 255 if len(mode) < 2 else (255,) * len(mode)
            image.paste(white, (0, 0, max(size[0] // 2, 1), size[1] // 2))
        image.save(here / name, **options)

    return step


def bomb(name: str, side: int) -> Step:
    """A PNG of a few bytes whose header promises ``side`` x ``side`` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return data(name, b"\x89PNG\r\n\x1a\n" + body)


def arrays(name: str, **values: Any) -> Step:
    return lambda here: np.savez(here / name, **{key: np.array(value) for key, value in values.items()})


def located(count: int = 19, **changes: Any) -> Step:
    """``found.npz``: landmarks of every face, in pixels of a frame of 32."""
    ids = sorted(path.removeprefix("faces/") for path in images())
    points = np.full((len(ids), count, 2), 16.0)
    return arrays("found.npz", **{"ids": ids, "points": points, **changes})


def parquet(name: str, **columns: list[Any]) -> Step:
    return lambda here: pd.DataFrame(columns).to_parquet(here / name)


class Payload:
    """Unpickled without care, it leaves the file CANARY behind."""

    def __reduce__(self) -> Any:
        return os.mkdir, (CANARY,)


def malicious(name: str, how: str = "torch") -> Step:
    """A file that runs code when it is unpickled: of ``torch.save``, a plain pickle, or a numpy file of objects."""

    def step(here: Path) -> None:
        if how == "torch":
            torch.save({"weight": Payload()}, here / name)
        elif how == "pickle":
            (here / name).write_bytes(pickle.dumps(Payload()))
        else:
            np.savez(here / name, ids=np.array(["a"]), points=np.array([Payload()], dtype=object),
                     probabilities=np.array([Payload()], dtype=object))  # fmt: skip

    return step


def tensors(name: str, **values: Any) -> Step:
    return lambda here: torch.save({key: torch.tensor(value) for key, value in values.items()}, here / name)


def noted(name: str, notes: str) -> Step:
    """A safetensors file with other notes than ``convert-weights`` writes."""
    return lambda here: save_file({"a": torch.zeros(1)}, here / name, {NOTE: notes})


def npm(name: str, **files: bytes) -> Step:
    """An npm package with these files below ``models``, their suffixes after ``_``: ``faceres_bin``."""
    return lambda here: (
        write_package(
            here / name, {f"package/models/{file.replace('_', '.')}": content for file, content in files.items()}
        )
        and None
    )


# --- methods ------------------------------------------------------------------------------------------------------

SOUND = """
import torch.nn.functional as F
from fer_bench.method import Info, Method
class Mine(Method):
    info = Info(title="Mine", authors="A", venue="none", year=2020, idea="none", kind="baseline")
    def loss(self, batch, run):
        return F.cross_entropy(self.net(batch.view()), batch.label)
"""


def plugin(content: str = SOUND, name: str = "mine.py") -> Step:
    return text(name, content)


# --- results ------------------------------------------------------------------------------------------------------


def drawn(here: Path) -> None:
    """``faces``: three expressions, each a bright band at its own height."""
    rng = np.random.default_rng(0)
    for path in images():
        pixels = rng.integers(60, 120, (32, 32, 3)).astype(np.uint8)
        place = CLASSES.index(path.split("/")[2])
        pixels[10 * place : 10 * place + 10, :, place] += 100
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(here / path)


_HOME = tempfile.TemporaryDirectory(prefix="fer-bench-bad-input-")


@cache
def home() -> Path:
    """A folder of this process with ``faces``, a table of them whose classes are named like HTML, and two sweeps of
    finished runs in ``results``: ``mine`` (two seeds) and ``named`` (on the table)."""
    place = Path(_HOME.name).resolve()
    drawn(place)
    rows = [path.split("/") for path in images()]
    odd = "\n".join(f"{'/'.join(row)},{SCRIPT if row[2] == 'anger' else row[2]},{row[1]}" for row in rows)
    (place / "odd.csv").write_text(HEADER + odd)
    options = {"overrides": {"epochs": 1, "image_size": 32}, "noise": [0.2]}
    for name, data_set, seeds in (("named", "odd.csv", (0,)), ("mine", "faces", (0, 1))):
        planned = make_plan(Request(["ce"], str(place / data_set), seeds=seeds, **options))  # type: ignore[arg-type]
        for run in planned.runs:
            event = train_run(Task(planned, run, place / "results", "cpu"))
            assert event["state"] == "done", event
        make_sweep(planned, place / "results", name, f"fer-bench run --name {SCRIPT}").save()
    os.utime(place / "results" / "sweeps" / "named" / "sweep.json", (0, 0))
    return place


def results(here: Path) -> None:
    shutil.copytree(home() / "results", here / "results")


def run_folder(here: Path, sweep: str = "mine") -> Path:
    """The run of the first seed in ``results``."""
    content = json.loads((here / "results" / "sweeps" / sweep / "sweep.json").read_text())
    return here / "results" / content["runs"][0]


def in_run(change: Callable[[Path], Any], summed: bool = False) -> Step:
    """``results`` with something done to one run folder of the sweep ``mine``.

    The sums fit the change, unless they shall tell it (``summed``).
    """

    def step(here: Path) -> None:
        results(here)
        run = run_folder(here)
        change(run)
        if not summed and run.exists():
            known = json.loads((run / "sums.json").read_text())
            sums = {name: checksum((run / name).read_bytes()) for name in known if (run / name).is_file()}
            (run / "sums.json").write_text(json.dumps(sums))

    return step


def changed(name: str, **values: Any) -> Step:
    """``results`` with fields of a JSON file of one run replaced; a field that is None is taken out."""

    def change(run: Path) -> None:
        content = json.loads((run / name).read_text())
        kept = {key: value for key, value in {**content, **values}.items() if value is not None}
        (run / name).write_text(json.dumps(kept))

    return in_run(change)


def edited(file: Path, old: str, new: str) -> None:
    """A part of a text is another one."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def replaced(name: str, content: bytes | None) -> Step:
    """``results`` with a file of one run replaced, or removed where there is no content."""
    return in_run(lambda run: (run / name).unlink() if content is None else (run / name).write_bytes(content))


def turned(name: str) -> Callable[[Path], None]:
    """One bit of a file turned."""

    def turn(run: Path) -> None:
        content = bytearray((run / name).read_bytes())
        content[len(content) // 2] ^= 1
        (run / name).write_bytes(content)

    return turn


def in_run_again(name: str, content: bytes | None) -> Step:
    """A file put into the same run, in ``results`` that are there already; a folder where there is no content."""
    return lambda here: (
        ((run_folder(here) / name).mkdir() if content is None else (run_folder(here) / name).write_bytes(content))
        and None
    )


def sweep(**values: Any) -> Step:
    """``results`` with fields of ``sweep.json`` replaced; a field that is None is taken out."""

    def step(here: Path) -> None:
        results(here)
        path = here / "results" / "sweeps" / "mine" / "sweep.json"
        content = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return step
