"""The index of finished runs while several processes write it, and while they are killed."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from fer_bench import load_runs
from fer_bench.store.index import Index
from tests.helpers.stored import SPEC, finish_run, finished

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]

WRITER = """
import sys, warnings
from fer_bench.store import index
from fer_bench.store.frame import load_runs
index.WORTH, index.YOUNG = 0, -3600.0
warnings.simplefilter("ignore")
load_runs(sys.argv[1])
print("ready", flush=True)
while True:
    load_runs(sys.argv[1])
"""


def writer(out: Path) -> subprocess.Popen[str]:
    """A process that writes the index again and again."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def without_index(out: Path) -> pd.DataFrame:
    """What the folders hold. A copy has other inodes, and no index."""
    copy = out.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(out / "runs", copy / "runs")
    return load_runs(copy).drop(columns="path")


def test_a_writer_that_is_killed_leaves_an_index_that_is_right_or_none(tmp_path: Path) -> None:
    out, rng = tmp_path / "out", random.Random(0)
    for seed in range(30):
        finished(out, seed=seed)
    expected = load_runs(out)
    seen = set()
    for _ in range(6):
        Index(out).file.unlink(missing_ok=True)
        process = writer(out)
        time.sleep(rng.uniform(0.0, 0.3))
        process.kill()
        process.wait()
        seen.add(len(Index(out).stamps))
        pd.testing.assert_frame_equal(load_runs(out), expected)
        assert seen == {30}, "it is replaced whole"


def test_readers_see_every_change_while_others_write_the_index(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for seed in range(20):
        finished(out, seed=seed)
    writers = [writer(out) for _ in range(2)]
    try:
        for number in range(15):
            finish_run(out, replace(SPEC, seed=number % 5), test=0.01 * number)
            found = load_runs(out).set_index("seed")
            assert found.loc[number % 5, "test_overall"] == 0.01 * number and len(found) == 20
        pd.testing.assert_frame_equal(load_runs(out).drop(columns="path"), without_index(out))
        assert all(process.poll() is None for process in writers), "no writer has failed"
    finally:
        for process in writers:
            process.kill()
            process.wait()
