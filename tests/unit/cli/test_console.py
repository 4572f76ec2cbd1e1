"""What reaches the terminal: text, newlines and tabs, in any encoding, and one message for each kind of error."""

from __future__ import annotations

import io
import logging
import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fer_bench.cli import console as output
from fer_bench.cli.group import REPORT, Commands
from fer_bench.cli.main import main
from fer_bench.cli.streams import replace_unwritable
from fer_bench.cli.views.terminal import PlainConsole
from fer_bench.core.errors import DataError, SpecError, StoreError

HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x1b[2J\rover\x00\x9b1m\udcbd\ud800"
SHOWN = r"\x1b]0;owned\x07\x1b[31mred\x1b[2J\x0dover\x00\x9b1m\xbd\ud800"

OF_RICH = SHOWN.replace(r"\x07", "").replace(r"\x0d", "")
"""Rich itself drops bells and carriage returns of a text."""


def printed(*things: object, **options: object) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    PlainConsole(file=stream, width=400, **options).print(*things)
    stream.flush()
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


def raising(error: BaseException, *words: str) -> Result:
    """A group with one command that raises."""

    @click.group(cls=Commands)
    @click.option("--debug", is_flag=True)
    def group(debug: bool) -> None: ...

    @group.command()
    def work() -> None:
        raise error

    return CliRunner().invoke(group, [*words, "work"])


# --- what is printed ----------------------------------------------------------------------------------------------


def test_text_newlines_and_tabs_pass_and_all_else_is_written_out() -> None:
    assert OF_RICH in printed(Text(HOSTILE))
    assert OF_RICH in printed(HOSTILE)
    assert printed("a\tb\nc") == "a       b\nc\n"
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    assert printed(Panel(table)).count(r"\x1b[31mred") == 3
    assert "\x1b" not in printed(Panel(table))


def test_styles_of_the_console_itself_pass() -> None:
    styled = printed(Text(HOSTILE, style="bold"), force_terminal=True, color_system="truecolor")
    assert styled.startswith("\x1b[1m") and OF_RICH in styled


def test_text_is_never_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[bold red]x[/bold red] [link=http://x]y[/link] :smile:"
    assert name in printed(name) and name in printed(Text(name))
    with output.status("[/]") as update:
        update("[/nothing]")
    output.echo(name)
    assert capsys.readouterr().out == name + "\n"


def test_messages_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    output.echo(HOSTILE)
    output.warn(HOSTILE)
    with pytest.raises(SystemExit):
        output.fail(HOSTILE, 1)
    said = capsys.readouterr()
    assert said.out == SHOWN + "\n" and said.err == f"warning: {SHOWN}\nerror: {SHOWN}\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_character_that_cannot_be_written_is_replaced(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    monkeypatch.setattr(sys, "stdout", stream)
    replace_unwritable()
    table = Table("Ä", title="† 愤怒")
    table.add_row("63.3 ± 0.2")
    PlainConsole(width=60).print(table)
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)
    assert "63.3" in text and ("愤怒" in text) == (encoding == "utf-8")


def test_a_printed_command_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["run", "--dataset", "my faces; rm -rf $HOME", "--name", "it's"]
    monkeypatch.setattr(sys, "argv", ["fer-bench", *words])
    assert shlex.split(output.command_line()) == ["fer-bench", *words]
    assert shlex.split(output.quoted("fer-bench", "table", Path("a b"))) == ["fer-bench", "table", "a b"]


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SpecError("--lr 0: above 0"), 2),
        (DataError("no such folder"), 2),
        (StoreError("final.json is damaged"), 1),
        (OSError(28, "No space left on device", "x.pt"), 1),
    ],
)
def test_an_expected_error_is_one_line(error: Exception, code: int) -> None:
    result = raising(error)
    assert (result.exit_code, result.output) == (code, f"error: {error}\n")
    result = raising(error, "--debug")
    assert result.exit_code == code and "Traceback" in result.output and result.output.endswith(f"error: {error}\n")


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error: an illegal memory access"), ValueError(HOSTILE), KeyError(1)]
)
def test_any_other_error_shows_its_traceback_and_how_to_report_it(error: Exception) -> None:
    result = raising(error)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "Traceback (most recent call last)" in result.output and type(error).__name__ in result.output
    *_, report, command = result.output.splitlines()
    assert report == REPORT and command.startswith("  fer-bench")
    assert "\x1b" not in result.output


def test_messages_of_click_are_written_out() -> None:
    result = CliRunner().invoke(main, ["run", "--methods", "ce", "--epochs", HOSTILE])
    assert result.exit_code == 2 and "\x1b" not in result.output and "Invalid value" in result.output
    result = CliRunner().invoke(main, [f"\x1b[31m{'x' * 4}"])
    assert result.exit_code == 2 and "\x1b" not in result.output and "No such command" in result.output


def test_warnings_and_logs_of_the_library_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest records what reaches the root logger, and its workers can send no name that is not UTF-8
    monkeypatch.setattr(logging.getLogger("fer_bench"), "propagate", False)

    @click.group(cls=Commands)
    def group() -> None: ...

    @group.command()
    def work() -> None:
        warnings.warn("2 runs were left out", stacklevel=1)
        logging.getLogger("fer_bench.data").warning("%s is old", HOSTILE)
        logging.getLogger("fer_bench.data").info("nobody needs this")

    result = CliRunner().invoke(group, ["work"])
    assert result.output == f"warning: 2 runs were left out\nwarning: {SHOWN} is old\n"
    assert not logging.getLogger("fer_bench").handlers


# --- output that nobody reads, and terminals without a size ---------------------------------------------------------

PIPED = """
import os, sys
from fer_bench.cli.console import console, echo, warn
screen = console()
for number in range(3):
    echo(f"echo {number}"), screen.print(f"print {number}"), warn(f"warning {number}")
open(sys.argv[1], "w").write("went on")
"""


@pytest.mark.parametrize("closed", [1, 2])
def test_work_goes_on_when_nobody_reads_the_output(closed: int, tmp_path: Path) -> None:
    """As after ``fer-bench run … | head -1``."""
    reading, writing = os.pipe()
    os.close(reading)
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    streams[{1: "stdout", 2: "stderr"}[closed]] = writing
    command = [sys.executable, "-c", PIPED, str(tmp_path / "end")]
    ran = subprocess.run(command, **streams, text=True, timeout=60)
    os.close(writing)
    assert ran.returncode == 0 and (tmp_path / "end").read_text() == "went on", ran.stderr
    other = ran.stderr if closed == 1 else ran.stdout
    assert all(f"{word} 2" in other for word in (["warning"] if closed == 1 else ["echo", "print"]))
    assert "Traceback" not in other


@pytest.mark.parametrize("size", ["0", "00"])
def test_a_terminal_of_no_size_still_shows_everything(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", size)
    monkeypatch.setenv("LINES", size)
    stream = io.StringIO()
    PlainConsole(file=stream).print("shown")
    assert stream.getvalue() == "shown\n"
