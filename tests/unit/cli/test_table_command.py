"""``fer-bench table`` asks finished runs another question: each option changes what is printed, nothing is trained."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fer_bench.cli.main import main
from tests.helpers.runs import CLASSES, CLEAN, NOISY, finish


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored sweep: two methods, clean and noisy labels, four seeds."""
    folder = tmp_path_factory.mktemp("out")
    runs = [
        finish(folder, method, noise, seed=seed, skill=skill)
        for method, skill in (("alpha", 0.9), ("beta", 0.6))
        for noise in (CLEAN, NOISY)
        for seed in range(4)
    ]
    content = {
        "name": "s",
        "command": "fer-bench run",
        "runs": [str(run.path.relative_to(folder)) for run in runs],
        "names": {run.path.name: run.path.name for run in runs},
        "skipped": [],
        "classes": {"faces": CLASSES},
    }
    (folder / "sweeps" / "s").mkdir(parents=True)
    (folder / "sweeps" / "s" / "sweep.json").write_text(json.dumps(content))
    return folder


def ask(out: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["table", "s", "--out", str(out), *words])


def markdown(out: Path, *words: str) -> str:
    result = ask(out, "--format", "markdown", *words)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def usual(out: Path) -> str:
    return markdown(out)


def test_the_default_is_the_last_epoch_with_the_gap_to_the_oracle(usual: str) -> None:
    assert "## Overall accuracy (%), last epoch" in usual and "## Gap to the oracle epoch" in usual
    assert "best epoch on the test set" not in usual and "sign-flip" in usual and "± standard deviation" in usual


def test_a_folder_that_cannot_be_written_still_shows_its_table(
    out: Path, usual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise OSError(30, "Read-only file system", "table.md")

    monkeypatch.setattr("fer_bench.report.outputs.write_table", locked)
    result = ask(out, "--format", "markdown")
    assert result.exit_code == 1 and usual.strip() in result.output and "Read-only file system" in result.output


@pytest.mark.slow
def test_selections_and_metrics(out: Path) -> None:
    said = markdown(out, "--select", "mean_last_5,best_test", "--metrics", "worst,ece,detection_auroc")
    for heading in (
        "## Worst-class accuracy (%), mean of the last 5 epochs",
        "## Worst-class accuracy (%), best epoch on the test set (oracle)",
        "## Expected calibration error (%), best epoch on the test set (oracle)",
        "## Detection of wrong labels, AUROC (%)",
    ):
        assert heading in said
    assert "## Overall accuracy" not in said and "last epoch" not in said
    rows = list(csv.DictReader(io.StringIO(ask(out, "--format", "csv", "--metrics", "all").output)))
    assert {"test_overall", "test_macro_f1", "test_worst", "test_ece", "detection_ap", "memorised"} <= {
        row["metric"] for row in rows
    }


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--baseline", "beta"), ("beta",)),
        (("--test", "wilcoxon"), ("Wilcoxon",)),
        (("--unit", "draw"), ("No test was made with 2 pairs",)),
        (("--spread", "interval"), ("95 % interval", "[")),
        (("--spread", "interval", "--interval", "bootstrap"), ("bootstrap",)),
    ],
    ids=lambda value: "=".join(value[-2:]) if value[0].startswith("--") else "",
)
def test_an_option_changes_the_table_and_is_named_in_it(
    words: tuple[str, ...], parts: tuple[str, ...], usual: str, out: Path
) -> None:
    said = markdown(out, *words)
    assert said != usual
    changed = "\n".join(set(said.splitlines()) - set(usual.splitlines()))
    for part in parts:
        assert part in changed, f"{part!r} is not among what changed: {changed}"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("--protocol", "best_tset"), "did you mean 'best_test'"),
        (("--metrics", "overal"), "did you mean 'overall'"),
        (("--baseline", "gama"), "gama"),
        (("--test", "wilcoxn"), "did you mean 'wilcoxon'"),
        (("--unit", "sed"), "did you mean 'seed'"),
        (("--spread", "intervl"), "did you mean 'interval'"),
        (("--interval", "bootstap"), "did you mean 'bootstrap'"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_wrong_value_is_named_with_the_nearest(words: tuple[str, str], answer: str, out: Path) -> None:
    result = ask(out, *words)
    said = " ".join((result.output + getattr(result, "stderr", "")).split())
    assert result.exit_code == 2 and answer in said and words[1] in said, said


def test_what_was_asked_for_is_written(out: Path) -> None:
    markdown(out, "--protocol", "best_test", "--metrics", "mean")
    folder = out / "sweeps" / "s"
    for name in ("table.md", "table.csv", "table.tex", "table.html"):
        assert "best_test" in (text := (folder / name).read_text()) or "oracle" in text, name


@pytest.mark.slow
def test_missing_plots_are_drawn_and_present_ones_kept(out: Path) -> None:
    plots = out / "sweeps" / "s" / "plots"
    shutil.rmtree(plots, ignore_errors=True)
    markdown(out)
    (first, *_) = sorted(plots.glob("*.png"))
    first.write_bytes(b"kept")
    markdown(out)
    assert first.read_bytes() == b"kept"
    result = CliRunner().invoke(main, ["plot", "s", "--out", str(out)])
    assert result.exit_code == 0 and str(first) in result.output and first.read_bytes() != b"kept"
    assert "plot " in CliRunner().invoke(main, ["--help"]).output


def test_protocol_is_an_alias_of_select(out: Path) -> None:
    assert markdown(out, "--protocol", "best_test") == markdown(out, "--select", "best_test")
