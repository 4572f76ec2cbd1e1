"""Shared by all tests: one cache of decoded images for the session, one thread, and small data sets on disk."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fer_bench.plugins.registry import Plugin, discover
from fer_bench.store.folder import RunFolder
from fer_bench.testing.bench import Bench, Seen
from tests.helpers.golden_record import pytest_addoption, pytest_configure  # noqa: F401
from tests.helpers.plugins import plugin_source


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that use the fixture ``browser`` have its marker."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


def pytest_collection_finish() -> None:
    """What was imported is never freed: no collection of garbage, of which every run begins with one, visits it."""
    gc.collect()
    gc.freeze()


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
    monkeypatch.setattr("fer_bench.report.outputs.write_outputs", lambda sweep, *_, redraw: [])


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="session")
def train(bench: Bench) -> Callable[..., tuple[RunFolder, Seen]]:
    """``train(key, noise=0.3, factor=1.0, epochs=2, **settings)``: a finished run in a new folder, and what it saw."""
    plugins, numbers = discover(), itertools.count()

    def run(
        key: str, noise: float = 0.3, factor: float = 1.0, epochs: int = 2, **settings: object
    ) -> tuple[RunFolder, Seen]:
        spec = bench.spec(plugins[key], noise, factor, epochs, settings)
        return bench.train(plugins[key], spec, f"settings-{next(numbers)}")

    return run


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
