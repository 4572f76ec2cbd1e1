"""What a person may get wrong: a clear message, an exit code that is not zero, and nothing lost."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import COMMAND, LOSS, call, numbers, plugin_source

from fer_bench.cli import main
from fer_bench.launch.local import train_one
from fer_bench.store import RunFolder
from fer_bench.sweep import Plan, Request, plan

pytestmark = pytest.mark.xdist_group("bad input")  # one worker: the tests share trained runs
RUN = ("run", "--methods", "ce", "--image-size", "32", "--epochs", "1", "--device", "cpu", "--jobs", "1")


def ask(out: Path, *words: str | Path) -> Result:
    """The command in this process: enough where nothing is to be trained."""
    result = CliRunner().invoke(main, [*map(str, words), "--out", str(out)])
    assert not list(out.glob("runs/**/final.json")), "something was trained"
    return result


def refused(result: Result, *parts: str, code: int = 2) -> None:
    """Ends with ``code`` and one message that holds ``parts``; no traceback."""
    said = " ".join((result.output + getattr(result, "stderr", "")).split())
    assert result.exit_code == code, said
    assert isinstance(result.exception, (SystemExit, type(None))), repr(result.exception)
    assert "Traceback" not in said
    for part in parts:
        assert part in said, f"{part!r} is not in: {said}"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--methods", "jocr"), ("unknown method 'jocr'", "did you mean 'jocor'")),
        (("--methods", ""), ("no method was named",)),
        (("--noise", "1.2"), ("--noise 1.2", "out of range: 0 to 1")),
        (("--noise", "-0.1"), ("--noise -0.1", "out of range: 0 to 1")),
        (("--noise", "nan"), ("--noise nan", "out of range: 0 to 1")),
        (("--noise", "abc"), ("'abc' is not a number",)),
        (("--noise", "0.1,"), ("'' is not a number",)),
        (("--noise", "0.6", "--noise-type", "pair"), ("--noise 0.6", "less than 0.5")),
        (("--noise-type", "symetric"), ("unknown --noise-type 'symetric'", "did you mean 'symmetric'")),
        (("--noise-type", "human", "--noise", "0.1"), ("--noise gives rates, but human has its own",)),
        (("--noise-type", "human"), ("noise 'human' needs human",)),
        (("--noise-type", "confusion", "--noise", "0.1"), ("needs file", "--noise-file")),
        (("--noise-file", "absent.txt"), ("--noise-file absent.txt: no such file",)),
        (("--imbalance", "0.5"), ("imbalance factor = 0.5",)),
        (("--seeds", "0.5"), ("'0.5' is not a whole number",)),
        (("--seeds", "-1"), ("a seed is 0 or more",)),
        (("--set", "ce.lamda=1"), ("ce has no setting 'lamda'",)),
        (("--set", "nla.lam_d=1", "--methods", "nla"), ("nla has no setting 'lam_d'", "did you mean")),
        (("--set", "nal.lam_a=1"), ("unknown method 'nal'", "'nla'")),
        (("--set", "lam_a=1"), ("not of the form method.field=value",)),
        (("--backbone", "resnet81"), ("unknown backbone 'resnet81'", "did you mean", "resnet")),
        (("--preset", "quik"), ("unknown preset 'quik'", "did you mean 'quick'")),
        (("--preset", "absent.toml"), ("cannot read absent.toml",)),
        (("--epochs", "0"), ("epochs = 0 is out of range",)),
        (("--batch-size", "1"), ("batch_size = 1 is out of range",)),
        (("--lr", "-1"), ("lr = -1.0",)),
        (("--image-size", "4"), ("image_size = 4 is out of range",)),
        (("--pretrained", "absent.pt"), ("--pretrained absent.pt: no such file",)),
        (("--train-size", "2"), ("--train-size 2",)),
        (("--train-size", "100000"), ("100000", "120")),
        (("--jobs", "0"), ("--jobs 0",)),
        (("--jobs", "two"), ("'two'",)),
        (("--device", "gpu"), ("--device 'gpu'", "auto, cpu, cuda")),
        (("--device", "cuda:99"), ("--device cuda:99", "CUDA devices")),
        (("--plugins", "absent"), ("--plugins absent: no such file or folder",)),
        (("--dataset", "synthetc"), ("synthetc", "synthetic")),
        (("--dataset", "/no/such/folder"), ("/no/such/folder",)),
        (("--epoch", "3"), ("No such option", "--epochs")),
    ],
    ids=lambda value: "=".join(value[:2]) if isinstance(value, tuple) and value[0].startswith("--") else "",
)  # fmt: skip
def test_a_wrong_option_is_named(
    words: tuple[str, ...], parts: tuple[str, ...], faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = () if "--dataset" in words else ("--dataset", faces_folder)
    refused(ask(tmp_path / "out", *RUN, *dataset, *words), *parts)


def test_a_missing_data_root_says_what_is_expected_where(tmp_path: Path) -> None:
    refused(
        ask(tmp_path / "out", *RUN, "--dataset", "rafdb", "--data-root", tmp_path / "nowhere"),
        str(tmp_path / "nowhere"),
        "Expected layout",
    )


@pytest.mark.parametrize("command", ["status", "table", "plot"])
def test_there_is_no_sweep_yet(command: str, tmp_path: Path) -> None:
    refused(ask(tmp_path / "out", command), "no sweep in", "fer-bench run")


def test_an_unknown_sweep_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "sweeps" / "noise-table").mkdir(parents=True)
    (tmp_path / "sweeps" / "noise-table" / "sweep.json").write_text("{half")
    refused(ask(tmp_path, "status", "noise-tabel"), "no sweep 'noise-tabel'", "did you mean 'noise-table'")
    refused(ask(tmp_path, "status", "noise-table"), "sweep.json is damaged", "run the sweep's command again")


# --- damaged data -------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(faces_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(faces_folder, tmp_path / "copy"))


def test_a_truncated_image_is_named(copy: Path, tmp_path: Path) -> None:
    path = copy / "train" / "anger" / "003.png"
    path.write_bytes(path.read_bytes()[:200])
    refused(ask(tmp_path / "out", *RUN, "--dataset", copy), "train/anger/003.png")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("path,lable,split\na.png,anger,train\n")
    refused(ask(tmp_path / "out", *RUN, "--dataset", path), "no column 'label'", "did you mean 'lable'")


def test_a_class_without_training_images_is_named(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "train" / "happiness")
    refused(ask(tmp_path / "out", *RUN, "--dataset", copy), "no training image of happiness")


def test_a_folder_without_a_test_split_is_named(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "test")
    refused(ask(tmp_path / "out", *RUN, "--dataset", copy), "test does not exist")


# --- plugins that misbehave ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def misbehaved(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    """One sweep of a sound plugin and of several that fail, each in its own way."""
    folder, out = tmp_path_factory.mktemp("plugins"), tmp_path_factory.mktemp("out")
    raises = "\ndef on_epoch_end(self, run):\n    {}\n"
    for key, body in {
        "sound": LOSS,
        "raises": LOSS + raises.format("raise ValueError('the method is at fault')"),
        "infinite": "def loss(self, batch, run):\n    return self.net(batch.view()).sum() * float('nan')",
        "leaves": LOSS + raises.format("__import__('sys').exit(0)"),
        "dies": LOSS + raises.format("os.kill(os.getpid(), 9)"),
        "talks": LOSS + raises.format("print('spoken by the method')"),
    }.items():
        (folder / f"{key}.py").write_text(plugin_source(body))
    (folder / "syntax.py").write_text("def broken(:")
    (folder / "exits.py").write_text("import sys\nsys.exit(0)")
    words = ("run", "--methods", "sound,raises,infinite,leaves,dies,talks,syntax,exits", "--plugins", folder,
        "--dataset", faces_folder,
             "--image-size", "32", "--epochs", "1", "--device", "cpu", "--jobs", "2", "--out", out)  # fmt: skip
    return out, (call(*words), words)


def test_failed_runs_harm_no_other(misbehaved: tuple[Path, tuple]) -> None:  # type: ignore[type-arg]
    out, (result, _) = misbehaved
    said = " ".join((result.stdout + result.stderr).split())
    assert result.returncode == 1
    done = {path.parts[-3] for path in out.glob("runs/*/*/*/final.json")}
    assert done == {"sound", "talks"}
    for part in (
        "the method is at fault",
        "NonFiniteLoss: the loss became NaN or infinite",
        "SystemExit",
        "SIGKILL",
        "4 runs failed",
    ):
        assert part in said, f"{part!r} is not in: {said}"
    assert "skipped syntax:" in said and "skipped exits:" in said
    assert "Traceback" not in said and "spoken by the method" not in said
    log = next(out.glob("runs/*/talks/*/log.txt"))
    assert "spoken by the method" in log.read_text()


def test_status_tells_why(misbehaved: tuple[Path, tuple]) -> None:  # type: ignore[type-arg]
    out, _ = misbehaved
    said = " ".join(CliRunner().invoke(main, ["status", "--out", str(out)], catch_exceptions=False).output.split())
    for part in (
        "2 done",
        "4 failed",
        "ValueError: the method is at fault",
        "in on_epoch_end",
        "skipped: syntax",
        "skipped: exits",
    ):
        assert part in said, f"{part!r} is not in: {said}"


def test_methods_lists_the_broken_ones(misbehaved: tuple[Path, tuple]) -> None:  # type: ignore[type-arg]
    _, (_, words) = misbehaved
    said = CliRunner().invoke(main, ["methods", "--plugins", str(words[4])], catch_exceptions=False).output
    assert "syntax" in said and "SyntaxError" in said and "sound" in said


def test_no_space_left_is_said_and_loses_nothing(faces_folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the checkpoint does not fit, everything smaller does."""
    words = [*COMMAND, *RUN, "--dataset", str(faces_folder), "--out", str(tmp_path), "--epochs", "2"]
    ask(tmp_path / "other", *RUN, "--dataset", faces_folder, "--dry-run")  # the cache is filled without the limit

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    full = subprocess.run(words, capture_output=True, text=True, timeout=240, preexec_fn=limit)
    said = " ".join((full.stdout + full.stderr).split())
    assert full.returncode == 1, said
    assert "File too large" in said and "Traceback" not in said
    assert not list(tmp_path.rglob("final.json")) and not list(tmp_path.rglob("*.part"))
    planned = plan(Request(["ce"], str(faces_folder), overrides={"epochs": 2, "image_size": 32}))
    assert train_here(planned, tmp_path)["state"] == "done"
    assert [len(epochs) for epochs in numbers(tmp_path).values()] == [2]


def test_a_damaged_checkpoint_is_trained_again_with_a_note(faces_folder: Path, tmp_path: Path) -> None:
    planned = plan(Request(["ce"], str(faces_folder), overrides={"epochs": 1, "image_size": 32}))
    folder = RunFolder.of(tmp_path, planned.runs[0].spec)
    folder.path.mkdir(parents=True)
    (folder.path / "checkpoint.pt").write_bytes(b"torn")
    event = train_here(planned, tmp_path)
    assert event["state"] == folder.state == "done"
    assert (
        "checkpoint.pt is damaged" in event["notes"][0] and event["notes"][0] in (folder.path / "log.txt").read_text()
    )


def train_here(planned: Plan, out: Path) -> dict[str, Any]:
    """The one run of a plan, trained in this process."""
    return train_one(planned, planned.runs[0], out, "cpu", False, lambda: False, lambda event: None)
