"""No terminal ends a command: narrow encodings, dumb terminals, names that are not UTF-8."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import COMMAND, call

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.xdist_group("terminals")]
QUICK = ("--epochs", "1", "--image-size", "32", "--device", "cpu", "--jobs", "1")
ENCODINGS = ("ascii", "latin-1", "cp1252")
SHOWING = (
    "methods", "methods mentornet", "run --help", "status mine", "table mine", "watch mine --once", "reproduce --list"
)  # fmt: skip


@pytest.fixture(scope="module")
def out(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep, ``mine``, of a method with a footnote, trained where only ASCII can be written."""
    folder = tmp_path_factory.mktemp("out")
    words = ("run", "--dataset", faces_folder, "--methods", "coteaching", "--noise", "0.2", "--name", "mine")
    done = subprocess.run(
        [*COMMAND, *map(str, (*words, "--out", folder, *QUICK))],
        capture_output=True, timeout=240, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert b"coteaching" in done.stdout
    return folder


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_narrow_encoding_ends_no_command(encoding: str, out: Path) -> None:
    """All commands in one process, whose streams are reset before each, because to import takes longest."""
    program = """
import sys
from fer_bench.cli.main import main
for command in sys.argv[2:]:
    sys.stdout.reconfigure(errors="strict")
    sys.stderr.reconfigure(errors="strict")
    words = command.split()
    try:
        main(words + ["--out", sys.argv[1]] if "mine" in words else words)
    except SystemExit as end:
        assert not end.code, command
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(out), *SHOWING],
        capture_output=True, timeout=120, env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "100"},
    )  # fmt: skip
    text = (done.stdout + done.stderr).decode(encoding, "replace")  # click writes UTF-8 where ASCII is asked for
    assert done.returncode == 0 and "Traceback" not in text, text
    assert "Usage: " in text and "Overall accuracy" in text and "Jiang" in text


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_a_sweep_is_shown_on_any_terminal(term: str, out: Path, faces_folder: Path) -> None:
    """On a terminal of its own, where progress bars move the cursor."""
    words = ["run", "--dataset", faces_folder, "--methods", "ce", "--out", out, *QUICK]
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)], stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": term}
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(terminal)
    assert process.wait(timeout=120) == 0, text.decode(errors="replace")
    assert b"Overall accuracy" in text and b"Traceback" not in text


def test_names_of_folders_that_are_not_utf8(faces_folder: Path, tmp_path: Path) -> None:
    """Such names come out of archives that were made with another encoding."""
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xbd\xe1\xb9\xfb \x1b[31m")
    words = ("run", "--dataset", faces_folder, "--methods", "ce", "--out", folder, *QUICK)
    done = call(*words)
    assert done.returncode == 0, done.stderr
    assert r"\xbd\xe1\xb9\xfb" in done.stdout and "\x1b" not in done.stdout + done.stderr
    again = call("table", "--out", folder)
    assert again.returncode == 0, again.stderr
