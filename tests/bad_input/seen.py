"""One case of bad input, and what a person sees of it."""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from click.testing import CliRunner

from fer_bench.cli.main import main
from tests.bad_input.world import CANARY, Step, home

USUAL = "--methods ce --dataset faces --epochs 1 --image-size 32 --device cpu --jobs 1"
"""What the dots of a command stand for."""
QUIET = {"COLUMNS": "200", "FER_BENCH_DATA": "", "FER_BENCH_PLUGINS": "", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Case:
    """Something that is wrong, or looks so.

    what     in words
    command  as it is typed after ``fer-bench``; dots stand for USUAL
    says     what the message must hold; for a code of 0 or a report, the lines that are shown
    code     exit code: 2 for input, 1 for work that failed, 0 for what is no error
    make     puts the file there that is wrong
    foreign  a pattern for what another library words, which the table leaves out
    absent   what must not be said
    """

    what: str
    command: str
    says: tuple[str, ...]
    code: int = 2
    make: Step = lambda here: None
    foreign: str = ""
    absent: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        return shlex.split(self.command.replace("…", USUAL, 1))


@dataclass(frozen=True)
class Seen:
    code: int
    said: str
    error: BaseException | None
    ran_code: bool


def see(case: Case) -> Seen:
    """The command in this process, in a folder of its own with ``faces`` in it. No clock is looked at."""
    with place() as here:
        case.make(here)
        with (
            patch("fer_bench.sweep.estimate.measure_speed", return_value=1000.0),
            patch("fer_bench.api.execute_plan", begun),
            patch("fer_bench.launch.processes.warm_up"),
        ):
            result = CliRunner().invoke(main, case.words, env=QUIET)
        said = re.sub(rf"{re.escape(str(here))}|{re.escape(str(home()))}", "…", result.output)
        error = None if isinstance(result.exception, SystemExit) else result.exception
        return Seen(result.exit_code, said, error, bool(list(here.rglob(CANARY))))


def begun(*_: object) -> None:
    raise AssertionError("training would have begun")


@contextmanager
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fer-bench-case-") as folder:
        here = Path(folder).resolve() / "here"
        shutil.copytree(home() / "faces", here / "faces")
        with chdir(here):
            yield here


def shown(case: Case, seen: Seen) -> str:
    """What the table says of a case: the message, or those lines of a report that hold what the case asks for."""
    before, message = seen.said, ""
    if case.code and (found := re.search(r"^(error|Error): ", seen.said, re.M)):
        before, message = seen.said[: found.start()], plain(seen.said[found.end() :])
    lines = [plain(line) for line in before.splitlines()]
    text = " / ".join([*(line for line in lines if any(part in line for part in case.says)), *filter(None, [message])])
    text = re.sub(r"\b[0-9a-f]{16}\b", "KEY", text)
    return re.sub(case.foreign, "…", text) if case.foreign else text


def plain(text: str) -> str:
    """Words with one blank between them, without the lines of tables."""
    return " ".join(re.sub("[│┃]", " ", text).split())
