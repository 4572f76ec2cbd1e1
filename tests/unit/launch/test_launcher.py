"""Launchers and their options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fer_bench.core.errors import SpecError
from fer_bench.launch import devices
from fer_bench.launch.launcher import choose_launcher, parse_options

submitit = pytest.importorskip("submitit")


def test_options_are_typed() -> None:
    assert parse_options(["partition=gpu", "minutes=30", "address=auto", "gpus=0.5"]) == {
        "partition": "gpu", "minutes": 30, "address": "auto", "gpus": 0.5
    }  # fmt: skip
    assert choose_launcher().local and not choose_launcher("slurm", ["minutes=30"]).local


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("slrum", [], "--launcher 'slrum'; did you mean 'slurm'"),
        ("slurm", ["partitoin=gpu"], "no setting 'partitoin'; did you mean 'partition'"),
        ("slurm", ["minutes=soon"], "minutes = 'soon' is not of type int"),
        ("slurm", ["minutes=0"], "minutes = 0: at least 1"),
        ("slurm", ["partition"], "not of the form KEY=VALUE"),
        ("local", ["cpus=2"], "has no options"),
    ],
)
def test_a_wrong_option_is_named(name: str, options: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message.replace("(", r"\(")):
        choose_launcher(name, options)


@pytest.mark.parametrize(("name", "extra"), [("ray", "fer-bench[ray]"), ("slurm", "fer-bench[slurm]")])
def test_a_missing_package_is_named_with_its_extra(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError) as error:
        choose_launcher(name)
    assert f"pip install '{extra}'" in str(error.value)


def test_options_of_the_local_pool_are_refused_elsewhere() -> None:
    with pytest.raises(SpecError, match="--jobs, --jobs-per-device and --device are for --launcher local"):
        devices.devices_for(choose_launcher("slurm"), "auto", 2, 4)
    with pytest.raises(SpecError, match="--jobs-per-device and --device"):
        devices.devices_for(choose_launcher("slurm"), "cuda", None, 4)
    assert devices.devices_for(choose_launcher("slurm"), "auto", None, 4) == []


def test_the_command_trains_with_another_launcher_and_hides_nothing(faces_folder: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from fer_bench.cli.main import main

    words = ["run", "--methods", "ce", "--dataset", str(faces_folder), "--out", str(tmp_path), "--epochs", "1"]
    result = CliRunner().invoke(main, [*words, "--launcher", "slurm", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "1 to train" in result.output and "trained by slurm" in " ".join(result.output.split())
    wrong = CliRunner().invoke(main, [*words, "--launcher", "slurm", "--launcher-option", "gpu=1"])
    assert wrong.exit_code == 2 and "did you mean 'gpus'" in wrong.output + (wrong.stderr if wrong.stderr_bytes else "")


@pytest.mark.slow
def test_help_does_not_load_the_launchers() -> None:
    program = (
        "import sys\nfrom fer_bench.cli.main import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('ray', 'submitit', 'torch') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "[]"
