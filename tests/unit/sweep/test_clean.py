"""Cleaning: what may go, what never does, and what is asked before."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from fer_bench.cli.main import main
from fer_bench.cli.views import leftovers
from fer_bench.core.spec import RunSpec
from fer_bench.plugins.registry import Plugin
from fer_bench.store.folder import RunFolder
from fer_bench.sweep import clean
from tests.helpers.plugins import LOSS
from tests.helpers.stored import SPEC, contents, finished_with_logits, pretend, record


@pytest.fixture
def plugin(toy: Callable[[str, str], Plugin]) -> Plugin:
    return toy("m", LOSS)


class Store:
    """One run of each kind under ``out``; those of ``m`` have the plugin's present code, those of ``other`` are of a
    method that nobody knows."""

    def __init__(self, out: Path, plugin: Plugin) -> None:
        self.out, self.plugins = out, {"m": plugin}
        self.spec = replace(SPEC, code=plugin.code)
        self.done = finished_with_logits(out, code=plugin.code)
        self.outdated = finished_with_logits(out, code="0" * 12, seed=1)
        self.unknown = finished_with_logits(out, method="other", seed=2)
        self.failed = self.begun(seed=3)
        self.failed.fail("ValueError: no [b]markup[/b]", "Traceback …")
        self.interrupted = self.begun(seed=4)
        self.running = self.begun(seed=5)
        self.empty = RunFolder.of(out, replace(self.spec, seed=6))
        self.empty.path.mkdir(parents=True)

    def begun(self, seed: int) -> RunFolder:
        spec: RunSpec = replace(self.spec, seed=seed)
        folder = RunFolder.of(self.out, spec)
        folder.start(spec, {})
        folder.save_epochs([record(1, 0.5)])
        return folder

    def found(self, outdated: bool = False) -> dict[Path, str]:
        return {waste.path: waste.why for waste in clean.find(self.out, self.plugins, outdated)}


def records(out: Path) -> dict[str, bytes]:
    """All files but the claims of those who train."""
    return {name: text for name, text in contents(out).items() if "claim" not in Path(name).parts}


@pytest.fixture
def store(tmp_path: Path, plugin: Plugin) -> Store:
    return Store(tmp_path / "out", plugin)


def test_failed_and_given_up_runs_may_go_and_others_stay(store: Store) -> None:
    with store.running.claim():
        assert store.found() == {
            store.failed.path: "failed: ValueError: no [b]markup[/b]",
            store.interrupted.path: "interrupted",
            store.empty.path: "never begun",
        }
        found = store.found(outdated=True)
    assert found[store.outdated.path] == "the code of its method has changed"
    assert store.done.path not in found and store.unknown.path not in found and store.running.path not in found


def test_an_unfinished_run_of_old_code_says_so(store: Store) -> None:
    spec = replace(store.spec, seed=9, code="0" * 12)
    folder = RunFolder.of(store.out, spec)
    folder.start(spec, {})
    folder.save_epochs([record(1, 0.5)])
    assert store.found()[folder.path] == "interrupted; the code of its method has changed"


def test_another_protocol_is_outdated(store: Store) -> None:
    folder = finished_with_logits(store.out, method="other", protocol=0, seed=7)
    assert folder.path not in store.found()
    assert store.found(outdated=True)[folder.path] == "the protocol has changed"


def test_a_run_whose_specification_is_not_one_stays_if_it_is_done(store: Store) -> None:
    for folder in (store.done, store.interrupted):
        (folder.path / "spec.json").write_text('{"method": ["m"]}')
    found = store.found(outdated=True)
    assert store.done.path not in found and "method" in found[store.interrupted.path]


def test_left_over_files_may_go_and_young_ones_outside_of_runs_stay(store: Store) -> None:
    part, checkpoint = store.done.path / ".final.json.1a2b.part", store.done.path / "checkpoint.pt"
    young, old = store.out / ".unpack-1", store.out / ".unpack-2"
    for path in (part, checkpoint):
        path.write_bytes(b"x" * 10)
    for path in (young, old):
        path.mkdir()
        (path / "file").write_bytes(b"x" * 10)
    os.utime(old, (time.time() - 2 * clean.YOUNG,) * 2)
    found = store.found()
    assert {part, checkpoint, old} <= set(found) and young not in found
    wastes = [w for w in clean.find(store.out, store.plugins) if w.path in (part, checkpoint, old)]
    assert [w.size for w in wastes] == [10, 10, 10]
    before = contents(store.done.path)
    assert clean.remove(wastes, store.out) == (3, 0)
    assert set(before) - set(contents(store.done.path)) == {part.name, checkpoint.name} and not old.exists()


def test_what_is_removed_is_gone_and_nothing_else(store: Store) -> None:
    gone = [str(each.path.relative_to(store.out)) for each in (store.failed, store.interrupted)]
    kept = {name: text for name, text in records(store.out).items() if not name.startswith(tuple(gone))}
    with store.running.claim():
        assert clean.remove(clean.find(store.out, store.plugins), store.out) == (3, 0)
        assert records(store.out) == kept
    assert not any(f.path.exists() for f in (store.failed, store.interrupted, store.empty))
    assert not list(store.out.glob(".trash-*"))


def test_a_run_that_a_lost_machine_has_left_goes_after_a_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads as interrupted by the clocks alone; one that gives signs of life, with a clock that is wrong, stays."""
    for folder in (store.interrupted, store.failed):
        owner = pretend(folder.path)
        os.utime(owner, (1e9, 1e9))
    now = [time.monotonic()]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        os.utime(owner, (1e9 + 5, 1e9 + 5))

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    found = [w for w in clean.find(store.out, store.plugins) if w.path in (store.interrupted.path, store.failed.path)]
    assert len(found) == 2
    assert clean.remove(found, store.out) == (1, 1)
    assert store.failed.path.exists() and not store.interrupted.path.exists()


def test_a_run_that_somebody_took_up_meanwhile_stays(store: Store) -> None:
    found = [w for w in clean.find(store.out, store.plugins) if w.path in (store.interrupted.path, store.failed.path)]
    store.failed.start(replace(store.spec, seed=3), {})  # tried again: it is no longer failed
    with store.interrupted.claim():
        assert clean.remove(found, store.out) == (0, 2)
    assert store.interrupted.epochs() and store.failed.epochs()


def test_a_run_that_is_finished_in_the_last_moment_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [w for w in clean.find(store.out, store.plugins) if w.path == store.interrupted.path]
    for name in ("sums.json", "final.json"):
        (store.interrupted.path / name).write_bytes((store.done.path / name).read_bytes())
    monkeypatch.setattr(RunFolder, "state", property(lambda self: "interrupted"))
    assert clean.remove(found, store.out) == (0, 1) and store.interrupted.final


def test_the_list_shows_names_as_they_are(store: Store) -> None:
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(leftovers.leftover_list(clean.find(store.out, store.plugins)))
    text = console.export_text()
    assert "failed: ValueError: no [b]markup[/b]" in text and "4 to remove" in text


def test_the_command_asks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_bench.plugins.registry.discover", lambda folders: store.plugins)

    def ask(*words: str, answer: str = "") -> str:
        result = CliRunner().invoke(main, ["clean", "--out", str(store.out), *words], input=answer)
        assert result.exit_code == 0, result.output
        return result.output

    before = records(store.out)
    with store.running.claim():
        assert "3 to remove" in ask("--dry-run") and records(store.out) == before
        assert "nothing was removed" in ask(answer="n\n") and records(store.out) == before
        assert "3 removed" in ask(answer="y\n")
        assert "nothing to remove" in ask()
        assert "1 removed" in ask("--outdated", "--yes")
    assert store.done.path.exists() and store.running.path.exists() and not store.outdated.path.exists()
