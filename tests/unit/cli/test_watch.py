"""Watching a sweep through its store: states, curves, time left, failures; nothing is trained."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from fer_bench.cli.main import main
from fer_bench.cli.snapshots import CLAIM_SECONDS, RunSnapshot, SweepWatcher, all_ended, last_lines, seconds_left
from fer_bench.cli.views import watch as watching
from fer_bench.cli.views.watch import sparkline, sweep_view, watch_sweep
from fer_bench.core.spec import Noise, Recipe, RunSpec
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.record import Sweep, find_sweep
from tests.helpers.commands import call

EPOCHS = 4


class Store:
    """A store with a sweep of runs that are trained by hand."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folders: dict[str, RunFolder] = {}
        self.specs: dict[str, RunSpec] = {}

    def add(self, name: str, method: str = "alpha") -> RunFolder:
        seed = len(self.folders)
        spec = RunSpec("faces", "f" * 64, method, "c" * 64, {}, Noise("none"), seed=seed, recipe=Recipe(epochs=EPOCHS))
        self.specs[name], self.folders[name] = spec, RunFolder.of(self.out, spec)
        return self.folders[name]

    def train(self, name: str, accuracies: list[float], seconds: float = 10.0) -> None:
        folder = self.folders[name]
        folder.start(self.specs[name], {})
        records = [
            {"epoch": k + 1, "test": {"overall": value}, "seconds": {"train": 0.9 * seconds, "evaluate": 0.1 * seconds}}
            for k, value in enumerate(accuracies)
        ]
        folder.save_epochs(records)
        if len(accuracies) == EPOCHS:
            folder.finish({"seconds": EPOCHS * seconds}, {})

    def sweep(self) -> Sweep:
        folder = self.out / "sweeps" / "mine"
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "name": "mine", "command": "", "skipped": ["lanet: needs landmarks"], "classes": {},
            "runs": [str(each.path.relative_to(self.out)) for each in self.folders.values()],
            "names": {each.path.name: name for name, each in self.folders.items()},
        }  # fmt: skip
        (folder / "sweep.json").write_text(json.dumps(content))
        return find_sweep(self.out, "mine")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    for name in ("done", "running", "failed", "interrupted", "waiting"):
        made.add(name, method="beta" if name == "waiting" else "alpha")
    made.train("done", [0.2, 0.5, 0.8, 0.9])
    made.train("running", [0.2, 0.4])
    made.train("interrupted", [0.1])
    made.folders["failed"].start(made.specs["failed"], {})
    made.folders["failed"].fail("NonFiniteLoss: loss is nan", "Traceback …")
    (made.folders["failed"].path / "log.txt").write_text("epoch 1\nwarning: [b]gradient[/b] of 1e30\n\n")
    return made


def text(sweep: Sweep, looks: list[RunSnapshot], height: int | None = None, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(sweep_view(sweep, looks, height))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_every_state_is_seen_through_the_store(store: Store) -> None:
    with store.folders["running"].claim():
        looks = {look.name: look for look in SweepWatcher(store.sweep()).snapshots()}
    assert {name: look.state for name, look in looks.items()} == {
        "done": "done", "running": "running", "failed": "failed", "interrupted": "interrupted", "waiting": "new",
    }  # fmt: skip
    assert looks["running"].accuracies == (0.2, 0.4) and looks["running"].seconds == pytest.approx(10)
    assert looks["failed"].reason == "NonFiniteLoss: loss is nan | warning: [b]gradient[/b] of 1e30"
    assert looks["done"].share == 1 and looks["interrupted"].share == 0.25 and looks["waiting"].share == 0


def test_progress_moves_within_an_epoch_and_never_past_it(store: Store) -> None:
    path = store.folders["running"].path / "epochs.jsonl"
    now = [path.stat().st_mtime]
    for name in ("spec.json", "epochs.jsonl"):
        os.utime(path.with_name(name), (now[0], now[0]))
    watcher = SweepWatcher(store.sweep(), clock=lambda: now[0])
    shares = []
    with store.folders["running"].claim():
        for later in (0, 5, 500):
            now[0] = path.stat().st_mtime + later
            shares.append(watcher.snapshots()[1].share)
    assert shares == pytest.approx([2 / 4, 2.5 / 4, 2.95 / 4])


def test_time_left_is_shared_by_those_who_work() -> None:
    done = RunSnapshot("a", "alpha", "done", (0.5,) * 4, 4, 10.0, spent=40.0)
    slow = RunSnapshot("b", "beta", "done", (0.5,) * 4, 4, 20.0, spent=80.0)
    running = RunSnapshot("c", "alpha", "running", (0.1, 0.2), 4, 10.0)
    waiting = [RunSnapshot("d", "alpha", "new"), RunSnapshot("e", "beta", "new"), RunSnapshot("f", "gamma", "new")]
    assert seconds_left([done, slow]) == 0
    assert seconds_left([done, slow, running]) == pytest.approx(20)
    assert seconds_left([done, slow, running, *waiting]) == pytest.approx(20 + 40 + 80 + 160 / 3, rel=0.2)
    assert seconds_left([running, running]) == pytest.approx(20)
    assert seconds_left([done, waiting[0]]) is None, "nobody works"
    assert seconds_left([RunSnapshot("c", "alpha", "running", epochs=4)]) is None, "nothing is measured yet"


def test_lock_is_tried_seldom(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    state = RunFolder.state.fget  # type: ignore[attr-defined]

    def counted(folder: RunFolder) -> str:
        tried.append(folder.path.name)
        return state(folder)

    monkeypatch.setattr(RunFolder, "state", property(counted))
    now = [1e9]
    watcher = SweepWatcher(store.sweep(), clock=lambda: now[0])
    watcher.snapshots()
    first = len(tried)
    watcher.snapshots()
    assert first == 4 and len(tried) == first, "done runs are not asked, and nobody twice in a moment"
    store.train("running", [0.2, 0.4, 0.6])
    os.utime(store.folders["running"].path / "epochs.jsonl", (2e9, 2e9))
    assert watcher.snapshots()[1].accuracies == (0.2, 0.4, 0.6)
    assert tried[first:] == [store.folders["running"].path.name], "what has changed is asked again"
    now[0] += CLAIM_SECONDS + 1
    watcher.snapshots()
    assert len(tried) == first + 1 + 4, "and all of them after a while: a lock leaves no trace when it is let go"


def test_screen_shows_progress_curves_and_failures(store: Store) -> None:
    sweep = store.sweep()
    with store.folders["running"].claim():
        shown = text(sweep, SweepWatcher(sweep).snapshots())
    lines = shown.splitlines()
    assert "1 done  1 running  1 failed  1 interrupted  1 waiting" in lines[0] and "left" in lines[0]
    assert [line.split()[0] for line in lines[2:7]] == ["running", "failed", "interrupted", "done", "waiting"]
    assert "epoch 2/4" in lines[2] and "▂▄" in lines[2] and "40.0 %" in lines[2]
    assert "[b]gradient[/b] of 1e30" in lines[3], "a log is no markup"
    assert lines[-1] == "skipped: lanet: needs landmarks"


@pytest.mark.parametrize("height", [10, 24])
def test_screen_fits_the_terminal_and_hides_the_least(tmp_path: Path, height: int) -> None:
    store = Store(tmp_path)
    for number in range(60):
        store.add(f"run {number}")
    store.train("run 59", [0.5])
    sweep = store.sweep()
    with store.folders["run 59"].claim():
        shown = text(sweep, SweepWatcher(sweep).snapshots(), height).splitlines()
    assert len(shown) <= height and "run 59" in shown[2]
    hidden = next(line for line in shown if line.startswith("and "))
    assert int(hidden.split()[1]) + sum(line.startswith(("waiting", "running")) for line in shown) == 60


def test_sparkline_has_one_scale() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█" and sparkline([]) == ""
    thinned = sparkline([k / 99 for k in range(100)], 10)
    assert len(thinned) == 10 and (thinned[0], thinned[-1]) == ("▁", "█")


def test_last_line_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    assert last_lines(path) == []
    path.write_bytes(b"x" * 10_000 + b"\nthe end \xff\n\n \n")
    assert last_lines(path) == ["the end \N{REPLACEMENT CHARACTER}"]


def test_watching_ends_when_the_sweep_does(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    def work(seconds: float) -> None:
        slept.append(seconds)
        for name in ("running", "interrupted", "waiting"):
            store.train(name, [0.3] * (len(slept) + 2))

    monkeypatch.setattr(watching.time, "sleep", work)
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=20)
    assert watch_sweep(store.sweep(), console) == 1
    assert len(slept) == 2 and all_ended(SweepWatcher(store.sweep()).snapshots())
    assert "4 done" in console.file.getvalue()  # type: ignore[attr-defined]


def test_interrupt_leaves_quietly(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", press)
    console = Console(file=io.StringIO(), width=120)
    assert watch_sweep(store.sweep(), console) == 1
    assert "stopped watching" in console.file.getvalue()  # type: ignore[attr-defined]


def test_command_shows_it_once(store: Store) -> None:
    store.sweep()
    done = call("watch", "mine", "--out", store.out, "--once")
    assert done.returncode == 1 and "NonFiniteLoss" in done.stdout and "4 done" not in done.stdout, done.stderr
    assert "no sweep 'mime'" in call("watch", "mime", "--out", store.out, "--once").stderr


def test_a_sweep_that_is_about_to_exist_is_waited_for(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add("done")
    store.train("done", [0.2, 0.5, 0.8, 0.9])
    appears = threading.Timer(0.3, store.sweep)
    appears.start()
    found = CliRunner().invoke(main, ["watch", "mine", "--out", str(tmp_path), "--timeout", "20"])
    appears.join()
    assert found.exit_code == 0, found.output
    assert "no sweep in" in found.output and "waiting until it is there; Ctrl-C stops" in found.output
    assert "1 done" in found.output


def test_waiting_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = CliRunner().invoke(main, ["watch", "mine", "--out", str(tmp_path), "--timeout", "0.2"])
    assert found.exit_code == 1 and "waited for 0.2 s" in found.output
    found = CliRunner().invoke(main, ["watch", "mine", "--out", str(tmp_path), "--once"])
    assert found.exit_code == 2 and "waiting until" not in found.output

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    found = CliRunner().invoke(main, ["watch", "mine", "--out", str(tmp_path)])
    assert found.exit_code == 130 and "stopped waiting" in found.output
