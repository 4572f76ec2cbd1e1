"""The command as a person runs it, in processes of its own, on a small folder of images."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer_bench.plugins.registry import discover
from fer_bench.report.footnotes import LETTERS
from tests.helpers.commands import COMMAND, call, numbers
from tests.helpers.plugins import LOSS, plugin_source

# one worker: the tests share trained sweeps
pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.xdist_group("e2e")]
KEYS = ["ce", "coteaching", "crt", "eac", "face2exp", "jocor", "man", "mentornet", "nla", "scn"]
"""The methods of the main job, and some of every kind: told the noise rate, two networks, a stage of another method,
unlabelled images, settings that a footnote states. tests/conformance trains all methods."""
PLUGINS = discover()
NAMES = [PLUGINS[key].described.name for key in KEYS]
SLOW = (
    LOSS
    + """
def on_epoch_start(self, run):
    __import__("time").sleep(0.5)
"""
)


def options(data: Path, out: Path, methods: str = "ce,scn", noise: str = "0.3") -> list[str | Path]:
    return [
        *("run", "--dataset", data, "--out", out, "--methods", methods, "--noise", noise, "--image-size", "32"),
        *("--batch-size", "32", "--device", "cpu"),
    ]


@pytest.fixture(scope="module")
def finished(
    faces_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The methods, clean and with noise, two epochs, two jobs."""
    out = tmp_path_factory.mktemp("all")
    result = call(*options(faces_folder, out, ",".join(KEYS), "0,0.3"), "--epochs", "2", "--jobs", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    return out, result


def table_of(output: str) -> list[str]:
    """The lines of the printed table, from its first block to its notes."""
    lines = [line.rstrip() for line in output.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("Test results"))
    return [line for line in lines[start:] if not line.startswith(("nothing to train", "next:"))]


def test_methods_train_and_are_tabled(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, result = finished
    assert sorted(key.split("/")[0] for key in numbers(out)) == sorted(KEYS * 2)
    printed = "\n".join(table_of(result.stdout))
    assert (
        all(re.search(rf"^{re.escape(name)}( \(baseline\))?[†¶◊{LETTERS}]* ", printed, re.MULTILINE) for name in NAMES)
        and "symmetric 0.3" in printed
        and "clean" in printed
    )
    sweep = next((out / "sweeps").iterdir())
    assert {"sweep.json", "runs.csv", "table.csv", "table.md", "table.tex", "table.html", "plots"} <= {
        p.name for p in sweep.iterdir()
    }
    with (sweep / "runs.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2 * len(KEYS)
    wrong = {float(row["realised_rate"]) for row in rows if row["noise_kind"] == "symmetric"}
    assert wrong == {0.3}, "120 images: exactly 36 wrong labels for every method"


def test_a_second_call_trains_nothing_and_prints_the_same(
    finished: tuple[Path, subprocess.CompletedProcess[str]], faces_folder: Path
) -> None:
    out, first = finished
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/*/*")}
    again = call(*options(faces_folder, out, ",".join(reversed(KEYS)), "0.3,0"), "--epochs", "2", "--jobs", "1")
    assert again.returncode == 0 and "nothing to train" in again.stdout
    assert table_of(again.stdout) == table_of(first.stdout), "the order on the command line changes nothing"
    assert {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/*/*")} == before
    assert len(list((out / "sweeps").iterdir())) == 1


def test_status_and_table(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    from click.testing import CliRunner

    from fer_bench.cli.main import main

    out, _ = finished
    runner = CliRunner()

    def ask(*words: str) -> str:
        result = runner.invoke(main, [*words, "--out", str(out)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert f"{2 * len(KEYS)} done" in ask("status")
    markdown = ask("table", "--format", "markdown")
    assert all(f"| {name}" in markdown for name in NAMES)
    rows = list(csv.reader(ask("table", "--format", "csv").splitlines()))
    assert set(KEYS) <= {value for row in rows for value in row}
    assert r"\begin{tabular}" in ask("table", "--format", "latex") and "<table" in ask("table", "--format", "html")
    assert "Overall accuracy" in ask("table")
    drawn = list(next((out / "sweeps").iterdir()).glob("plots/*.png"))
    assert drawn and all(path.stat().st_size > 1000 for path in drawn)


def test_python_gives_the_numbers_of_the_command(
    finished: tuple[Path, subprocess.CompletedProcess[str]], faces_folder: Path, tmp_path: Path
) -> None:
    import fer_bench

    out, _ = finished
    loaded = fer_bench.load_runs(out).set_index(["method", "noise_rate"])
    runs = fer_bench.run(
        ["ce"],
        noise=[0.3],
        dataset=str(faces_folder),
        out=tmp_path,
        epochs=2,
        image_size=32,
        batch_size=32,
        jobs=1,
        device="cpu",
    )
    assert list(runs["key"]) == [loaded.loc[("ce", 0.3), "key"]]
    for name in ("test_overall", "test_nll", "memorised", "detection_auroc"):
        assert runs[name].iloc[0] == loaded.loc[("ce", 0.3), name], name
    key = runs["key"].iloc[0]
    assert numbers(tmp_path)[f"ce/{key}"] == numbers(out)[f"ce/{key}"]
    mine, other = (np.load(next(folder.glob(f"runs/*/ce/{key}/scores.npz"))) for folder in (tmp_path, out))
    assert all(mine[name].tobytes() == other[name].tobytes() for name in mine.files)


def test_one_job_and_two_give_the_same_numbers(
    finished: tuple[Path, subprocess.CompletedProcess[str]], faces_folder: Path, tmp_path: Path
) -> None:
    alone = call(*options(faces_folder, tmp_path, "scn,jocor,eac"), "--epochs", "2", "--jobs", "1")
    assert alone.returncode == 0, alone.stderr
    both = numbers(finished[0])
    assert len(numbers(tmp_path)) == 3
    for key, epochs in numbers(tmp_path).items():
        assert epochs == both[key]


def test_a_dry_run_trains_nothing(faces_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(*options(faces_folder, out, "c*"), "--epochs", "2", "--dry-run")
    assert result.returncode == 0, result.stderr
    expected = [key for key in discover() if key.startswith("c")]
    assert f"{len(expected)} runs: 0 done, {len(expected)} to train" in " ".join(result.stdout.split())
    assert result.stdout.count("to train") == len(expected) + 1 and not out.exists()


def test_synthetic_faces_need_nothing(tmp_path: Path) -> None:
    result = call(
        "run", "--methods", "ce", "--epochs", "2", "--train-size", "140", "--image-size", "32", "--out", tmp_path
    )
    assert result.returncode == 0, result.stdout + result.stderr
    final = json.loads(next(tmp_path.glob("runs/synthetic/ce/*/final.json")).read_text())
    assert final["train_images"] == 140


# --- stopping -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Callable[[Path], list[str]], Path]:
    """A command that takes seconds (four epochs of two seeds of a slow plugin), and a folder where it ended."""
    plugins = tmp_path_factory.mktemp("plugins")
    (plugins / "slow.py").write_text(plugin_source(SLOW))

    def command(out: Path) -> list[str]:
        words = [
            *options(faces_folder, out, "slow"),
            "--plugins",
            plugins,
            "--epochs",
            "4",
            "--jobs",
            "2",
            "--seeds",
            "0,1",
        ]
        return [*COMMAND, *map(str, words)]

    whole = tmp_path_factory.mktemp("whole")
    subprocess.run(command(whole), check=True, capture_output=True, timeout=240)
    assert len(numbers(whole)) == 2
    return command, whole


def start(command: list[str], out: Path) -> subprocess.Popen[str]:
    """The command in a process group of its own, running until both of its runs have an epoch and none is done."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=dict(os.environ)
    )
    for _ in range(2400):
        if len(list(out.glob("runs/*/*/*/epochs.jsonl"))) == 2 or process.poll() is not None:
            break
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    assert not list(out.glob("runs/*/*/*/final.json"))
    return process


def test_a_killed_sweep_goes_on_to_the_same_numbers(
    slow: tuple[Callable[[Path], list[str]], Path], tmp_path: Path
) -> None:
    command, whole = slow
    process = start(command(tmp_path), tmp_path)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    halted = {key: len(epochs) for key, epochs in numbers(tmp_path).items()}
    assert len(halted) == 2 and all(1 <= count < 4 for count in halted.values())
    again = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=240)
    assert again.returncode == 0, again.stderr
    assert numbers(tmp_path) == numbers(whole)
    for path in whole.glob("runs/*/*/*/scores.npz"):
        mine, other = np.load(path), np.load(tmp_path / path.relative_to(whole))
        assert all(mine[name].tobytes() == other[name].tobytes() for name in mine.files)
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("checkpoint.pt"))


@pytest.mark.parametrize("how", ["Ctrl-C", "Ctrl-C twice", "preempted"])
def test_an_interrupted_sweep_says_how_to_go_on(
    how: str, slow: tuple[Callable[[Path], list[str]], Path], tmp_path: Path
) -> None:
    command, whole = slow
    process = start(command(tmp_path), tmp_path)
    if how == "preempted":
        process.terminate()
    else:  # a terminal sends it to all processes
        os.killpg(process.pid, signal.SIGINT)
    if how == "Ctrl-C twice":
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    assert "stopped; finished epochs are kept. Go on with:" in errors
    assert f"fer-bench run --dataset {command(tmp_path)[5]}" in errors and "Traceback" not in output + errors
    assert "resource_tracker" not in errors
    assert all(1 <= len(epochs) < 4 for epochs in numbers(tmp_path).values())
    again = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=240)
    assert again.returncode == 0, again.stderr
    assert numbers(tmp_path) == numbers(whole)


# --- quick help ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [(), ("run",), ("status",), ("table",), ("methods",), ("datasets",), ("data", "check")]
)
def test_help_loads_no_heavy_library(words: tuple[str, ...]) -> None:
    program = (
        "import sys\nfrom fer_bench.cli.main import main\n"
        f"try:\n    main({[*words, '--help']})\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([name for name in ('torch', 'pandas', 'numpy', 'timm', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and "Usage:" in result.stdout, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
