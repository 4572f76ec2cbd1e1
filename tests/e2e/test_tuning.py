"""A tuning as a person runs it: search, table, settings file, and the sweep that uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.commands import call

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("e2e")]


def test_a_tuning_and_the_sweep_that_uses_it(faces_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    usual = ("--dataset", faces_folder, "--out", out, "--noise", "0.4", "--image-size", "32", "--epochs", "1",
             "--device", "cpu", "--jobs", "2")  # fmt: skip
    search = ("tune", *usual, "--methods", "ce,eac", "--budget", "4", "--studies", "2", "--name", "tuned")

    planned = call(*search, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "12 runs: 0 done, 12 to train" in planned.stdout and not out.exists()
    assert "lr, weight_decay" in planned.stdout

    searched = call(*search)
    assert searched.returncode == 0, searched.stdout + searched.stderr
    folder = out / "sweeps" / "tuned"
    for part in ("tuned (noisy validation)", "oracle (best on test)", "4 of 4", "2 of 2"):
        assert part in searched.stdout, part
    assert {"settings.toml", "table.md", "runs.csv", "records.jsonl.gz"} <= {path.name for path in folder.iterdir()}
    assert (folder / "plots" / "trials.png").exists()
    specs = [json.loads(path.read_text()) for path in out.glob("runs/*/*/*/spec.json")]
    assert {spec["validation"] for spec in specs} == {"held-out"} and {spec["seed"] for spec in specs} == {1000, 1001}

    again = call(*search)
    assert again.returncode == 0 and "[1/" not in again.stdout, "everything is done"
    assert "12 done" in call("status", "tuned", "--out", out).stdout

    settings = folder / "settings.toml"
    settings.write_text(settings.read_text() + "\n[methods.nla]\nrecipe = { lr = 0.004 }\n")
    used = call("run", *usual, "--methods", "nla,scn", "--settings", settings, "--vary", "nla.lam_c=0,0.5")
    assert used.returncode == 0, used.stdout + used.stderr
    for part in (
        "NLA (lam_c=0.0)◊",
        "NLA (lam_c=0.5)◊",
        "SCN ",
        "◊ uses the settings of a file (settings.toml, sha256",
    ):
        assert part in used.stdout, part
    assert "nla (lam_c=0.0): lr 0.004; nla (lam_c=0.5): lr 0.004" in " ".join(used.stdout.split())
    plain = call("run", *usual, "--methods", "nla,scn", "--settings", "default")
    assert plain.returncode == 0 and "◊" not in plain.stdout
