"""Completion of the shell: the script for bash, commands, options, and methods after a comma."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from fer_bench.cli.main import main


def completed(words: list[str], begun: str) -> list[str]:
    found = BashComplete(main, {}, "fer-bench", "_FER_BENCH_COMPLETE").get_completions(words, begun)
    return [item.value for item in found]


def test_commands_options_and_choices_are_completed() -> None:
    assert completed([], "tab") == ["table"]
    assert "--methods" in completed(["run"], "--me") and "csv" in completed(["export", "--to"], "")


@pytest.mark.parametrize(
    ("begun", "said"),
    [("nl", ["nla"]), ("ce,nl", ["ce,nla"]), ("ce,joc", ["ce,jocor"]), ("ce,zz", []), ("al", ["all"])],
)
def test_the_last_method_of_a_list_is_completed(begun: str, said: list[str]) -> None:
    assert completed(["run", "--methods"], begun) == said
    assert completed(["tune", "--methods"], begun) == said


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_documented_line(tmp_path: Path) -> None:
    command = tmp_path / "fer-bench"
    command.write_text(f"#!{sys.executable}\nfrom fer_bench.cli.main import main\nmain(prog_name='fer-bench')\n")
    command.chmod(0o755)
    script = (
        'eval "$(_FER_BENCH_COMPLETE=bash_source fer-bench)"; '
        "COMP_WORDS=(fer-bench run --methods ce,nl); COMP_CWORD=3; "
        '_fer_bench_completion fer-bench; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["ce,nla"], done.stderr
