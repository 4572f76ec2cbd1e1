"""The peak memory of a run is its own, whatever the process did before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from fer_bench.engine import memory
from fer_bench.engine.memory import PeakMemory, keep_freed_memory
from fer_bench.engine.trainer import train
from fer_bench.plugins.registry import Plugin
from fer_bench.store.folder import RunFolder
from fer_bench.testing.bench import CPU, Bench
from tests.helpers.plugins import LOSS
from tests.helpers.training import train_with

Toy = Callable[..., Plugin]

MEGABYTE = 1_000_000
BIG = 400 * MEGABYTE

measured = pytest.mark.skipif(PeakMemory(CPU).bytes is None, reason="this system does not tell the peak of a process")

LARGE = (
    f"""
def build(self, make_net):
    super().build(make_net)
    self.blocks = [torch.ones({BIG // 400}) for _ in range(100)]  # 4 bytes each: many small blocks, as networks are
    self.own = [self]  # a cycle, which reference counts do not free
"""
    + LOSS
)


def peak_of(folder: RunFolder) -> int:
    assert folder.final is not None and folder.final["peak_memory_bytes"] is not None
    return int(folder.final["peak_memory_bytes"])


@measured
def test_what_was_freed_before_is_not_counted() -> None:
    keep_freed_memory()
    first = PeakMemory(CPU)
    before = first.bytes
    blocks = [torch.ones(1 << 16) for _ in range(BIG >> 19)], torch.ones(BIG // 4)
    del blocks
    held, fresh = first.bytes, PeakMemory(CPU).bytes
    assert before is not None and held is not None and fresh is not None
    assert held - before > 1.4 * BIG, "both halves were held at once"
    assert fresh - before < 0.1 * BIG


@measured
def test_a_big_run_does_not_raise_the_number_of_a_small_one_after_it(toy: Toy, bench: Bench) -> None:
    small, large = toy("small", LOSS), toy("large", LARGE)
    train_with(bench, small, "imports are behind us")
    alone = peak_of(train_with(bench, small, "before"))
    big = peak_of(train_with(bench, large, "big"))
    after = peak_of(train_with(bench, small, "after"))
    assert big - alone > 0.9 * BIG
    assert after - alone < 0.1 * BIG


@measured
def test_a_resumed_run_knows_the_peak_of_its_first_part(toy: Toy, bench: Bench) -> None:
    body = f"def on_epoch_start(self, run):\n    if run.epoch == 0:\n        torch.ones({BIG // 4}).sum()\n" + LOSS
    plugin = toy("early", body)
    spec = bench.spec(plugin)
    folder = RunFolder.of(bench.folder / "early", spec)
    stop = RuntimeError("stopped after the first epoch")

    def train_until(stopping: Callable[[], bool]) -> None:
        with folder.claim():
            folder.start(spec, {})
            train(dataclasses.replace(bench.job(plugin, spec, folder), stopping=stopping))

    def stopping() -> bool:
        if len(folder.epochs()) == 1:
            raise stop
        return False

    with pytest.raises(RuntimeError, match="stopped after"):
        train_until(stopping)
    small = peak_of(train_with(bench, toy("small", LOSS), "beside"))
    train_until(lambda: False)
    assert peak_of(folder) - small > 0.9 * BIG


@measured
def test_a_stage_taken_over_counts_with_its_peak(toy: Toy, bench: Bench) -> None:
    large = toy("large", LARGE)
    kept = train_with(bench, large, "first stage", keep_networks=True)
    taken = train_with(bench, toy("begins", LOSS), "taken over", first_stage_run=kept)
    assert len(taken.epochs()) == 2 and peak_of(taken) >= peak_of(kept)


def test_without_a_fresh_mark_the_peak_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_text", Mock(side_effect=PermissionError))
    assert PeakMemory(CPU).bytes is None


def test_without_a_word_of_the_kernel_the_peak_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    peak = PeakMemory(CPU)
    monkeypatch.setattr(Path, "read_text", lambda self, *args: "Name:\tpython\n")
    assert peak.bytes is None


@pytest.mark.parametrize(
    ("earlier", "known"),
    [
        ({"device": "cpu", "bytes": 1}, True),
        ({"device": "cpu", "bytes": 10**15}, True),
        ({"device": "cuda", "bytes": 1}, False),
        ({"device": "cpu", "bytes": None}, False),
        ({}, False),
    ],
    ids=["lower", "higher", "another device", "unknown", "an older checkpoint"],
)
def test_an_earlier_part_is_counted_if_it_is_known(
    earlier: dict[str, Any], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_reset", lambda device: True)
    monkeypatch.setattr(memory, "_read", lambda device: 1000)
    peak = PeakMemory(CPU)
    peak.add(earlier)
    assert peak.bytes == (max(1000, earlier["bytes"]) if known else None)
    again = PeakMemory(CPU)
    again.add(peak.state())
    assert again.bytes == peak.bytes


def test_on_a_gpu_the_mark_is_that_of_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    allocated = [700]
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: allocated.append(5))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: allocated[-1])
    assert PeakMemory(torch.device("cuda", 1)).bytes == 5
