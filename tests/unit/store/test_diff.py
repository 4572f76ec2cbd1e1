"""``fer-bench diff``: every field, epoch and result in which two runs differ, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.core.errors import SpecError
from fer_bench.core.spec import Recipe, RunSpec
from fer_bench.store.diff import ABSENT, difference, find_run
from fer_bench.store.folder import RunFolder

SPEC = RunSpec("faces", "f" * 64, "alpha", "c" * 12, {"weight": 1.0})


def store(out: Path, *, epochs: int = 3, change: int = 99, device: str = "x", **settings: Any) -> RunFolder:
    """A run whose confusion matrix differs from ``change`` on."""
    spec = replace(SPEC, **settings)
    folder = RunFolder.of(out, spec)
    folder.start(spec, {"device": device, "packages": {"torch": "2"}})
    records = [
        {
            "epoch": epoch,
            "seconds": {"train": hash((out, epoch)) % 97},
            "test": {"overall": 0.5 + epoch / 100, "confusion": [[8, 2], [3, 7 + (epoch >= change)]]},
        }
        for epoch in range(1, epochs + 1)
    ]
    folder.save_epochs(records)
    cost = {"seconds": 1.0 + len(str(out)), "peak_memory_bytes": 1000 + len(str(out)), "parameters": 5}
    folder.finish({"test": records[-1]["test"], **cost}, {})
    return folder


def call(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["diff", *words], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_equal_numbers_are_identical_whatever_the_time_and_place(tmp_path: Path) -> None:
    a, b = store(tmp_path / "a"), store(tmp_path / "other", device="y")
    found = difference(a, b)
    assert found.identical and found.environment == (("device", "'x'", "'y'"),)
    code, text = call(str(a.path), str(b.path))
    assert code == 0
    assert "the runs are identical" in text and "epochs: identical (3 in common" in text
    assert "seconds" not in text and "peak_memory" not in text


def test_scores_that_an_earlier_version_did_not_keep_are_no_difference(tmp_path: Path) -> None:
    """Such a run was measured in the same way. Scores that both runs kept are compared."""
    older, part, whole, other = (store(tmp_path / name) for name in ("older", "part", "whole", "other"))
    loss = {"auroc": 0.9, "missed": 0.2}
    for folder, scores in (
        (part, {"loss": loss}),
        (whole, {"loss": loss, "mean_margin": loss}),
        (other, {"loss": {**loss, "missed": 0.3}}),
    ):
        final = {**(folder.final or {}), "label_scores": scores}
        folder.finish(final, {})
    assert difference(older, whole).identical and difference(part, whole).identical
    assert difference(whole, other).final == (("label_scores.loss.missed", "0.2", "0.3"),)
    assert not difference(part, other).identical


def test_the_first_epoch_that_differs(tmp_path: Path) -> None:
    a, b = store(tmp_path / "a"), store(tmp_path / "b", change=2)
    found = difference(a, b)
    assert not found.identical
    assert found.epochs == ((2, (("test.confusion[1][1]", "7", "8"),)), (3, (("test.confusion[1][1]", "7", "8"),)))
    assert found.final == (("test.confusion[1][1]", "7", "8"),)
    code, text = call(str(a.path), str(b.path))
    assert code == 1
    assert "2 of 3 common epochs differ; epochs 1 to 1 are identical" in text and "the runs differ" in text


def test_every_setting_that_differs(tmp_path: Path) -> None:
    a = store(tmp_path, config={"weight": 1.0, "old": 2})
    b = store(tmp_path, config={"weight": 1, "new": None}, recipe=Recipe(epochs=9), seed=4, epochs=2)
    found = difference(a, b)
    assert {n: (x, y) for n, x, y in found.spec} == {
        "config.old": ("2", ABSENT), "config.new": (ABSENT, "None"), "recipe.epochs": ("16", "9"), "seed": ("0", "4")
    }  # fmt: skip
    assert found.compared == (3, 2) and not found.identical
    assert "A has 3 epochs, B has 2" in call(a.path.name, b.path.name, "--out", str(tmp_path))[1]


def test_lists_of_other_shapes_and_counts_of_entries(tmp_path: Path) -> None:
    a, b = store(tmp_path / "a"), store(tmp_path / "b")
    for folder, matrix, shares in ((a, [[1, 2], [3, 4]], [1, 2]), (b, [[1, 9], [9, 4]], [1, 2, 3])):
        folder.finish({"matrix": matrix, "shares": shares, "text": str(len(shares))}, {})
    assert difference(a, b).final == (
        ("matrix[0][1] and 1 more of 4", "2", "9"),
        ("shares", "[1, 2]", "[1, 2, 3]"),
        ("text", "'2'", "'3'"),
    )


def test_unfinished_runs_can_be_compared(tmp_path: Path) -> None:
    a, b = store(tmp_path / "a"), store(tmp_path / "b")
    (b.path / "final.json").unlink()
    found = difference(a, b)
    assert found.states == ("done", "interrupted")
    assert ("parameters", "5", ABSENT) in found.final
    (b.path / "epochs.jsonl").unlink()
    assert not difference(b, b).identical, "runs without epochs have shown nothing"


def test_runs_by_key_and_what_is_said_of_a_wrong_one(tmp_path: Path) -> None:
    folder = store(tmp_path)
    key = folder.path.name
    for name in (str(folder.path), key, key[:6]):
        assert find_run(tmp_path, name).path == folder.path
    with pytest.raises(SpecError, match=f"did you mean '{key}'"):
        find_run(tmp_path, ("0" if key[0] != "0" else "1") + key[1:])
    with pytest.raises(SpecError, match=r"no run 'zzzz' in .*\(1 runs\)"):
        find_run(tmp_path, "zzzz")
    with pytest.raises(SpecError, match="is no run"):
        find_run(tmp_path, str(tmp_path))
    with pytest.raises(SpecError, match="no run in"):
        find_run(tmp_path / "empty", key)
    for seed in range(1, 40):
        store(tmp_path, seed=seed, epochs=1)
    first = min(f"{n:x}" for n in range(16) if len(list(tmp_path.glob(f"runs/faces/alpha/{n:x}*"))) > 1)
    with pytest.raises(SpecError, match=f"runs begin with '{first}'"):
        find_run(tmp_path, first)
    code, text = call(key, "nothing", "--out", str(tmp_path))
    assert code == 2 and "no run 'nothing'" in text


def test_a_name_in_a_run_is_not_markup(tmp_path: Path) -> None:
    a, b = store(tmp_path / "a"), store(tmp_path / "b", config={"weight": 1.0, "note": "[red]x[/red]"})
    assert "[red]x[/red]" in call(str(a.path), str(b.path))[1]
    assert json.loads((b.path / "spec.json").read_text())["config"]["note"] == "[red]x[/red]"
