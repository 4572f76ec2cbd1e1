"""Shared by all tests: one cache of decoded images for the session, one thread, and small data sets on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_record import pytest_addoption, pytest_configure  # noqa: F401
from PIL import Image

from fer_bench.plugins.registry import Plugin, discover
from fer_bench.testing.bench import Bench

COMMAND = (sys.executable, "-m", "fer_bench.cli")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """FER_BENCH_CACHE for all tests and their child processes, unless it is set already."""
    before = os.environ.get("FER_BENCH_CACHE")
    folder = Path(before) if before else tmp_path_factory.mktemp("cache")
    os.environ["FER_BENCH_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["FER_BENCH_CACHE"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from a second thread, and the machine is shared."""
    torch.set_num_threads(1)


@pytest.fixture
def no_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps of the test write no tables and no plots, which take longer than small runs do."""
    monkeypatch.setattr("fer_bench.report.outputs.write_outputs", lambda sweep, plots: [])


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder data set, ``faces``: three expressions, each a bright band at its own height, with their own splits."""
    root, rng = tmp_path_factory.mktemp("data") / "faces", np.random.default_rng(0)
    for split, count in (("train", 40), ("val", 4), ("test", 10)):
        for place, name in enumerate(("anger", "happiness", "neutral")):
            for number in range(count):
                pixels = rng.integers(60, 120, (32, 32, 3)).astype(np.uint8)
                pixels[10 * place : 10 * place + 10, :, place] += 100
                path = root / split / name / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root


@pytest.fixture
def toy(tmp_path: Path) -> Callable[[str, str], Plugin]:
    """``toy(key, source)``: a plugin from the body of a method class. ``source`` is indented by the fixture."""

    def make(key: str, body: str, before: str = "") -> Plugin:
        folder = tmp_path / "plugins"
        folder.mkdir(exist_ok=True)
        (folder / f"{key}.py").write_text(plugin_source(body, before))
        return discover([folder])[key]

    return make


def plugin_source(body: str, before: str = "") -> str:
    """A plugin file: the usual imports, ``before``, and a class ``Toy`` with an Info and ``body``."""
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    return f"""from __future__ import annotations
import os, random
from dataclasses import dataclass
import numpy as np
import torch
import torch.nn.functional as F
from fer_bench.method import Batch, Info, Method, Needs, Run, Stage, hparam
{before}

class Toy(Method):
    info = Info(title="Toy", authors="A", venue="none", year=2020, idea="none", kind="baseline")
{lines}
"""


LOSS = """
def loss(self, batch, run):
    return F.cross_entropy(self.net(batch.view()), batch.label)
"""


def call(*arguments: str | Path, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, env={**os.environ, "COLUMNS": "160", **environment},
    )  # fmt: skip


def numbers(out: Path) -> dict[str, list[dict[str, object]]]:
    """The epochs of every run under ``out`` by method and key, without the seconds that they took."""
    found = {}
    for path in sorted(out.glob("runs/*/*/*/epochs.jsonl")):
        epochs = [json.loads(line) for line in path.read_text().splitlines()]
        found["/".join(path.parts[-3:-1])] = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in epochs]
    return found
