"""What a person sees while a sweep trains, from its events alone."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from fer_bench.cli.views.progress import Display
from fer_bench.cli.views.terminal import PlainConsole
from fer_bench.launch.progress import Progress, ProgressEvent

FIRST, SECOND = (SimpleNamespace(cost=100.0, name=f"ce, seed {seed}") for seed in (0, 1))
STEP = {"epoch": 1, "epochs": 4, "step": 5, "steps": 10, "images_per_second": 1234.5, "loss": 0.5, "overall": 0.25}
DONE = {"final": {"test": {"overall": 0.5, "mean": 0.25}, "seconds": 12.3}}


class Sweep:
    """Two runs whose events are given by hand; ``screen`` is what was shown."""

    def __init__(self, terminal: bool = False) -> None:
        self.stream = io.StringIO()
        self.display = Display(PlainConsole(file=self.stream, width=160, force_terminal=terminal))
        self.now = 0.0
        self.progress = Progress([FIRST, SECOND], 60.0, clock=lambda: self.now)  # type: ignore[list-item]

    def tell(self, state: str, run: Any = None, worker: int = 0, **details: Any) -> None:
        if run is not None:
            self.progress.update(worker, run, {"state": state, **details})
        self.display(ProgressEvent(state, self.progress, run, worker, details))

    @property
    def screen(self) -> str:
        return self.stream.getvalue()


def test_without_a_terminal_there_is_a_line_for_each_run() -> None:
    sweep = Sweep()
    with sweep.display:
        sweep.tell("training")
        sweep.tell("progress", FIRST, **STEP)
        sweep.now = 30.0
        sweep.tell("done", FIRST, **DONE, notes=["checkpoint.pt is damaged"])
        sweep.tell("failed", SECOND, worker=1, error="ValueError: [b]no[/b] \x1b[31m")
        sweep.tell("writing")
    assert sweep.screen.splitlines() == [
        "[1/2] ce, seed 0  overall 50.0 %  mean 25.0 %  12 s  (30 s left)",
        "  checkpoint.pt is damaged",
        r"[2/2] ce, seed 1  FAILED  ValueError: [b]no[/b] \x1b[31m",
    ]
    assert sweep.progress.failed == 1


def test_on_a_terminal_a_run_in_progress_has_a_line() -> None:
    sweep = Sweep(terminal=True)
    with sweep.display:
        sweep.tell("training")
        sweep.tell("progress", FIRST, **STEP)
        sweep.display._progress.refresh()
        shown = sweep.screen
        sweep.tell("done", FIRST, **DONE)
    for part in ("all runs", "0 of 2 runs", "epoch 2/4", "loss 0.500", "test 25.0 %", "1,234 images/s"):
        assert part in shown, part
    assert "overall 50.0 %" in sweep.screen


def test_what_is_repeated_is_said_once() -> None:
    sweep = Sweep()
    with sweep.display:
        sweep.tell("training")
        for _ in range(3):
            sweep.tell("busy", FIRST, by="process 7 trains it", taken_over=False)
        for worker in range(2):
            sweep.tell("stopping", FIRST, worker)
        sweep.tell("stopped", FIRST)
    assert sweep.screen.count("process 7") == sweep.screen.count("interrupt again") == 1
    assert "stopped; finished epochs are kept" in sweep.screen


@pytest.mark.parametrize(("now", "expected"), [(0.0, 60.0), (10.0, 50.0), (90.0, 0.0)])
def test_the_time_left_is_the_estimate_at_first(now: float, expected: float) -> None:
    sweep = Sweep()
    sweep.now = now
    assert sweep.progress.seconds_left == expected


def test_the_time_left_follows_the_measured_pace() -> None:
    sweep = Sweep()
    sweep.now = 20.0
    sweep.progress.update(0, FIRST, {"state": "progress", **STEP, "epoch": 0})  # an eighth of one of two runs
    assert sweep.progress.share == 0.0625 and sweep.progress.seconds_left == pytest.approx(20 / 0.0625 - 20)
    for run in (FIRST, SECOND):
        sweep.progress.update(0, run, {"state": "done"})
    assert sweep.progress.share == 1 and sweep.progress.seconds_left is None
    assert Progress([FIRST], None).seconds_left is None, "nothing is known of other machines"  # type: ignore[list-item]
