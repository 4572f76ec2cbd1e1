"""What a person may get wrong: a clear message, an exit code that is not zero, and nothing lost."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.launch.task import Task, train_run
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.request import Request
from tests.bad_input.cases import SECTIONS
from tests.bad_input.seen import QUIET, Case, place, plain, see
from tests.bad_input.table import BEGIN, DOCUMENT, END, line
from tests.bad_input.world import SCRIPT, results, run_folder
from tests.helpers.commands import COMMAND, call, numbers
from tests.helpers.plugins import LOSS, plugin_source

pytestmark = [pytest.mark.xdist_group("bad input"), pytest.mark.slow]  # one worker: the tests share trained runs
RUN = ("run", "--methods", "ce", "--image-size", "32", "--epochs", "1", "--device", "cpu", "--jobs", "1")


CASES = [(title, case) for title, cases in SECTIONS.items() for case in cases]


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[f"{title}: {case.what}" for title, case in CASES])
def test_a_case_is_refused_as_the_document_says(case: Case) -> None:
    seen = see(case)
    said = plain(seen.said)
    assert seen.error is None, f"{seen.error!r} after: {said}"
    assert seen.code == case.code, said
    assert not seen.ran_code, "code of a file was run"
    for part in case.says:
        assert part in said, f"{part!r} is not in: {said}"
    for part in ("Traceback", "Warning: ", "\x1b", *case.absent):
        assert part not in said, f"{part!r} is in: {said}"
    assert line(case, seen) in DOCUMENT.read_text(encoding="utf-8"), (
        f"docs/development/bad-input.md does not have this line (python -m tests.bad_input.table):\n{line(case, seen)}"
    )


def test_the_document_has_every_case_once_and_no_other() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    rows = [row.split(" | ")[0].removeprefix("| ") for row in text.splitlines() if row.startswith("| ")]
    assert [row for row in rows if row != "case"] == [case.what for _, case in CASES]
    assert f"(bad-input.md) | {len(CASES)} |" in DOCUMENT.with_name("robustness.md").read_text(encoding="utf-8")


def test_the_page_and_the_tables_hold_no_markup_of_data() -> None:
    """A class, and the command of a sweep, are called like a script."""
    with place() as here:
        results(here)
        for words in (("report", "named"), ("table", "named")):
            result = CliRunner().invoke(main, words, env=QUIET)
            assert result.exit_code == 0, result.output
        folder = here / "results" / "sweeps" / "named"
        page, table = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "table.html"))
    for text in (page, table):
        assert "alert(1)" in text and SCRIPT not in text
        assert not re.search(r"<script>\s*alert", text)


def test_a_run_that_may_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An administrator may read everything, so the system's answer is made."""
    read = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path == secret:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    with place() as here:
        results(here)
        secret = run_folder(Path("results").parent) / "spec.json"
        monkeypatch.setattr(Path, "read_bytes", refused)
        said = CliRunner().invoke(main, ["status", "mine"], env=QUIET)
    assert said.exit_code == 0 and "1 unreadable" in said.output and "Permission denied" in said.output, said.output


LONG = {
    "a seed of 400 digits": ("--seeds " + "7" * 400, "seeds is too large: a whole number has at most 128 bits"),
    "a seed of 5,000 digits": ("--seeds " + "7" * 5000, "is not a whole number"),
    "a number of epochs of 400 digits": ("--epochs " + "7" * 400, "epochs is too large"),
    "a rate of 400 digits": ("--noise " + "7" * 400, "noise = inf is not finite"),
    "a learning rate of 5,000 digits": ("--lr " + "7" * 5000, "lr = inf is not finite"),
    "a setting of 400 digits": ("--set nla.lam_a=" + "7" * 400, "nla.lam_a is too large"),
    "a setting of 5,000 digits": ("--set nla.lam_a=" + "7" * 5000, "--set nla.lam_a: the value cannot be read"),
    "a recipe with 400 digits": ("--preset 400.toml", "preset 400.toml.epochs is too large"),
    "a recipe with 5,000 digits": ("--preset 5000.toml", "5000.toml is not valid TOML"),
    "a recipe with 5,000 brackets": ("--preset brackets.toml", "brackets.toml is not valid TOML"),
    "a folder with a name of 300 letters": ("--dataset " + "d" * 300, f"File name too long: '{'d' * 300}'"),
}


@pytest.mark.parametrize("what", LONG)
def test_what_is_far_too_long_is_named_in_one_line(what: str) -> None:
    option, message = LONG[what]
    with place() as here:
        for name, value in {"400": "7" * 400, "5000": "7" * 5000, "brackets": "[" * 5000}.items():
            (here / f"{name}.toml").write_text(f"epochs = {value}\n")
        words = ["run", "--methods", "nla", "--dataset", "faces", *option.split(), "--dry-run"]
        said = CliRunner().invoke(main, words, env=QUIET)
    assert isinstance(said.exception, SystemExit) and said.exit_code in (1, 2), said.exception
    assert message in said.output and "Traceback" not in said.output, said.output[:400]


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
    words_of_a_plan = [*RUN, "--dataset", str(faces_folder), "--dry-run", "--out", str(tmp_path / "other")]
    CliRunner().invoke(main, words_of_a_plan, catch_exceptions=False)  # the cache is filled without the limit

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    full = subprocess.run(words, capture_output=True, text=True, timeout=240, preexec_fn=limit)
    said = " ".join((full.stdout + full.stderr).split())
    assert full.returncode == 1, said
    assert "File too large" in said and "Traceback" not in said
    assert not list(tmp_path.rglob("final.json")) and not list(tmp_path.rglob("*.part"))
    planned = make_plan(Request(["ce"], str(faces_folder), overrides={"epochs": 2, "image_size": 32}))
    assert train_here(planned, tmp_path)["state"] == "done"
    assert [len(epochs) for epochs in numbers(tmp_path).values()] == [2]


def test_a_damaged_checkpoint_is_trained_again_with_a_note(faces_folder: Path, tmp_path: Path) -> None:
    planned = make_plan(Request(["ce"], str(faces_folder), overrides={"epochs": 1, "image_size": 32}))
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
    return train_run(Task(planned, planned.runs[0], out, "cpu"))
