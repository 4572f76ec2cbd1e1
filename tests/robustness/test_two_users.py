"""Two users of one machine share a folder of results: whose files the other can change, and what a trap leads to.

The test needs root, which alone can become two other users.
"""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fer_bench.core.errors import StoreError
from fer_bench.core.files import write_atomically
from fer_bench.store.folder import RunFolder
from fer_bench.store.lease import Busy
from tests.helpers.stored import FINAL, SPEC, record

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two users")

ALICE, BOB, GROUP = 65101, 65102, 65110
"""Numbers that no account has."""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder of a project: mode 2775, of the group that both users are in."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        out = Path(name) / "results"
        out.mkdir()
        os.chown(out, ALICE, GROUP)
        out.chmod(0o2775)
        yield out


def as_user(user: int, work: Callable[[], object], umask: int) -> str:
    """What ``work`` returns as text, or its exception, in a process of a user."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.setgroups([GROUP])
            os.setresgid(GROUP, GROUP, GROUP)
            os.setresuid(user, user, user)
            os.umask(umask)
            answer = str(work())
        except (OSError, StoreError, Busy) as error:
            answer = f"{type(error).__name__}: {error}"
        except BaseException:
            answer = traceback.format_exc()
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer


def begin(folder: RunFolder) -> str:
    with folder.claim():
        folder.start(SPEC, {"device": "of Alice"})
        folder.note("begun")
        folder.save_epochs([record(1, 0.5)])
        folder.save_checkpoint({})
    return folder.state


def go_on(folder: RunFolder) -> str:
    with folder.claim():
        folder.start(SPEC, {"device": "of Bob"})
        folder.begin_at(2)
        folder.note("resumed")
        folder.save_epochs([record(1, 0.5), record(2, 0.5)])
        folder.finish(FINAL, {})
    return folder.state


def test_with_a_umask_for_groups_one_user_goes_on_where_the_other_stopped(shared: Path) -> None:
    folder = RunFolder.of(shared, SPEC)
    assert as_user(ALICE, lambda: begin(folder), 0o002) == "interrupted"
    assert as_user(BOB, lambda: go_on(folder), 0o002) == "done"
    assert (folder.path / "log.txt").read_text() == "begun\nresumed\n"
    owners = {(folder.path / name).stat().st_uid for name in ("spec.json", "final.json")}
    assert owners == {BOB} and (folder.path / "final.json").stat().st_gid == GROUP
    assert not list(folder.path.glob("*claim*"))
    assert as_user(ALICE, lambda: folder.final is not None and folder.damage == "", 0o002) == "True"


def test_without_it_the_other_user_is_told_which_folder_may_not_be_written(shared: Path) -> None:
    folder = RunFolder.of(shared, SPEC)
    assert as_user(ALICE, lambda: begin(folder), 0o022) == "interrupted"
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    said = as_user(BOB, lambda: go_on(folder), 0o022)
    assert said.startswith("PermissionError: [Errno 13] Permission denied: ") and str(folder.path) in said
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    assert as_user(BOB, lambda: folder.state, 0o022) == "interrupted", "reading is allowed"


def test_a_run_that_the_other_user_trains_is_busy(shared: Path) -> None:
    folder = RunFolder.of(shared, SPEC)

    def hold() -> str:
        with folder.claim():
            return as_bob()

    def as_bob() -> str:
        return "free" if folder.state != "running" else "running"

    assert as_user(ALICE, hold, 0o002) == "running"
    assert as_user(BOB, lambda: begin(folder), 0o002) == "interrupted"


@pytest.mark.parametrize("trap", ["log.txt", "spec.json", "env.json", "epochs.jsonl", "final.json", "status.json"])
def test_a_trap_of_the_other_user_leads_nowhere(trap: str, shared: Path) -> None:
    """Alice prepares the folder of a run with a link to a file that only Bob can write. Bob trains the run."""
    home = shared.parent / "home"
    home.mkdir()
    os.chown(home, BOB, BOB)
    secret = home / "authorized_keys"
    assert as_user(BOB, lambda: write_atomically(secret, b"his own key\n"), 0o077) == "None"
    folder = RunFolder.of(shared, SPEC)

    def prepare() -> None:
        folder.path.mkdir(parents=True)
        (folder.path / trap).symlink_to(secret)

    def work() -> str:
        with folder.claim():
            folder.clear()
            folder.start(SPEC, {"device": "of Bob"})
            folder.note("a key of Alice")
            folder.fail("a key of Alice", "")
            folder.save_epochs([record(1, 0.5), record(2, 0.5)])
            folder.finish(FINAL, {})
        return folder.state

    assert as_user(ALICE, prepare, 0o002) == "None"
    assert as_user(BOB, work, 0o002) == "done"
    assert secret.read_text() == "his own key\n" and not (folder.path / trap).is_symlink()
