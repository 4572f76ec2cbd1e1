"""Claims under faults: races, owners that are stopped at the worst moment, other hosts, clocks that differ."""

from __future__ import annotations

import errno
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fer_bench.store import lease
from fer_bench.store.lease import Busy, Claim, TakenOver, claim_folder, owner_of
from fer_bench.store.process import start_time, this_process
from tests.helpers.stored import pretend

COUNT = """
import sys, time
from pathlib import Path
from fer_bench.store.lease import Busy, claim_folder
folder = Path(sys.argv[1])
done = 0
while done < 25:
    try:
        held = claim_folder(folder)
    except Busy:
        time.sleep(0.001)
        continue
    number = int((folder / "count").read_text()) if (folder / "count").exists() else 0
    held.write(folder / "count", str(number + 1).encode())
    held.release()
    done += 1
"""
HOLD = """
import sys, time
from pathlib import Path
from fer_bench.store.lease import TakenOver, claim_folder
folder = Path(sys.argv[1])
held = claim_folder(folder, lease=0.5)
number = 0
try:
    while True:
        held.write(folder / "result", f"owner {number}".encode())
        print("wrote", flush=True)
        number += 1
        time.sleep(0.01)
except TakenOver as other:
    print(other, flush=True)
held.release()
"""


def child(source: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", source, str(folder)], stdout=subprocess.PIPE, text=True)


def take(folder: Path, seconds: float) -> Claim:
    """Asks until it has the claim."""
    for _ in range(1000):
        try:
            return claim_folder(folder, seconds)
        except Busy:
            time.sleep(0.02)
    raise AssertionError("never got the claim")


def test_of_processes_that_race_one_at_a_time_owns(tmp_path: Path) -> None:
    children = [child(COUNT, tmp_path) for _ in range(4)]
    assert [process.wait(120) for process in children] == [0] * 4
    assert (tmp_path / "count").read_text() == "100"
    assert [path.name for path in tmp_path.iterdir()] == ["count"], "nothing is left of the claims"


def test_a_stopped_owner_is_replaced_and_cannot_write_when_it_goes_on(tmp_path: Path) -> None:
    owner = child(HOLD, tmp_path)
    assert owner.stdout is not None and owner.stdout.readline() == "wrote\n"
    os.kill(owner.pid, signal.SIGSTOP)
    began = time.monotonic()
    mine = take(tmp_path, 0.5)
    assert time.monotonic() - began >= 0.5
    mine.write(tmp_path / "result", b"mine")
    os.kill(owner.pid, signal.SIGCONT)
    said = owner.communicate(timeout=60)[0].splitlines()[-1]
    assert owner.returncode == 0 and said == f"taken over by {platform.node()} pid {os.getpid()}"
    assert (tmp_path / "result").read_bytes() == b"mine"
    mine.write(tmp_path / "result", b"still mine")
    mine.release()
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


@pytest.mark.slow
def test_an_owner_on_another_host_that_dies_is_replaced_after_its_lease(tmp_path: Path) -> None:
    """Another namespace of process numbers stands for another host: nothing is known of its processes here."""
    elsewhere = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    try:
        allowed = subprocess.run([*elsewhere, "true"], capture_output=True, timeout=60).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("no namespaces here")
    command = [*elsewhere, sys.executable, "-c", HOLD, str(tmp_path)]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None and owner.stdout.readline() == "wrote\n"
    for _ in range(2):
        with pytest.raises(Busy, match=r"pid 1$"):
            claim_folder(tmp_path, lease=0.5)
        time.sleep(0.6)
    owner.kill()
    owner.wait()
    with pytest.raises(Busy):
        claim_folder(tmp_path, lease=0.5)
    began = time.monotonic()
    mine = take(tmp_path, 0.5)
    assert time.monotonic() - began >= 0.4
    mine.release()


@pytest.mark.parametrize("released", [False, True], ids=["the other works", "the other is done"])
def test_an_owner_that_was_stopped_before_its_rename_changes_nothing(
    released: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment: the part is written and flushed, and the owner sleeps there while another one takes over."""
    late, flush, others = claim_folder(tmp_path), os.fsync, list[Claim]()

    def sleep_there(_: int) -> None:
        monkeypatch.setattr(os, "fsync", flush)
        others.append(take(tmp_path, 0))
        others[0].write(tmp_path / "final.json", b"theirs")
        if released:
            others[0].release()
            others.append(claim_folder(tmp_path))  # and a third one owns the folder now

    monkeypatch.setattr(os, "fsync", sleep_there)
    with pytest.raises(TakenOver, match=f"pid {os.getpid()}"):
        late.write(tmp_path / "final.json", b"late")
    assert (tmp_path / "final.json").read_bytes() == b"theirs"
    with pytest.raises(TakenOver):
        late.discard(tmp_path / "final.json")
    late.release()
    others[-1].write(tmp_path / "more", b"")  # the release of a lost claim takes nobody's
    others[-1].release()


def test_a_lost_claim_is_noticed_without_writing(tmp_path: Path) -> None:
    late = claim_folder(tmp_path, lease=0.1)
    late._released.set()  # it is stopped
    late._thread.join()
    late._released.clear()
    other = take(tmp_path, 0)
    late._live(0.01)
    assert late.lost and not other.lost
    other.release()


def test_clocks_of_other_hosts_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, now = pretend(tmp_path), [1000.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    for wall in (0, 4e9, 1e9, 1e9 - 3600):  # signs of life that come late, early, and go backwards
        os.utime(path, (wall, wall))
        for later in (0, 30, 29):
            now[0] += later
            with pytest.raises(Busy, match="far pid 1"):
                claim_folder(tmp_path, lease=60)
    now[0] += 2
    claim_folder(tmp_path, lease=60).release()


@pytest.mark.parametrize(
    ("facts", "free"),
    [
        ({"pid": 2**22 + 1}, True),
        ({"pid": os.getpid(), "started": "12"}, True),  # the number of a process that ended is another one's now
        ({"pid": os.getpid()}, False),
        ({"pid": 2**22 + 1, "machine": "of another namespace"}, False),
    ],
    ids=["dead", "number used again", "alive", "elsewhere"],
)
def test_a_dead_owner_on_this_machine_is_replaced_at_once(facts: dict[str, Any], free: bool, tmp_path: Path) -> None:
    pretend(tmp_path, **{**this_process(), **facts})
    if free:
        claim_folder(tmp_path).release()
        return
    with pytest.raises(Busy):
        claim_folder(tmp_path)


def test_a_process_of_another_user_that_the_system_hides_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(tmp_path, **{**this_process(), "pid": 2**22 + 1})

    def kill(*_: int) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", kill)
        with pytest.raises(Busy):
            claim_folder(tmp_path)
    claim_folder(tmp_path).release()


def test_a_process_that_ended_and_is_not_yet_waited_for_is_dead(tmp_path: Path) -> None:
    process = child("", tmp_path)
    assert process.stdout is not None and process.stdout.read() == ""
    for _ in range(200):
        if not start_time(process.pid):
            break
        time.sleep(0.02)
    else:
        raise AssertionError("a zombie passes for alive")
    process.wait()


TORN = {
    "empty": b"",
    "half": b'{"host"',
    "no text": b"\xff\0",
    "no object": b"[]",
    "no process": b'{"host": "x"}',
    "deep": b"[" * 99_999,
}


@pytest.mark.parametrize("content", TORN.values(), ids=TORN)
def test_an_owner_whose_file_is_torn_has_its_lease(content: bytes, tmp_path: Path) -> None:
    pretend(tmp_path).write_bytes(content)
    with pytest.raises(Busy, match="an unknown process"):
        claim_folder(tmp_path, lease=0)
    claim_folder(tmp_path, lease=0).release()


def test_a_claim_that_a_file_server_granted_without_saying_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def lose_the_answer(path: Path, target: Path) -> Path:
        rename(path, target)
        raise OSError(errno.ENOENT, "No such file or directory")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lose_the_answer)
        held = claim_folder(tmp_path)
    held.write(tmp_path / "x", b"x")
    with pytest.raises(Busy):
        claim_folder(tmp_path)
    held.release()
    assert owner_of(tmp_path) is None


def test_what_was_left_by_processes_killed_in_claiming_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".claim-dead" / "dead").mkdir(parents=True)
    (tmp_path / ".gone-dead").mkdir()
    (tmp_path / "claim").mkdir()
    claim_folder(tmp_path).release()
    assert not list(tmp_path.iterdir())


def test_a_deleted_folder_is_said_and_not_made_again(tmp_path: Path) -> None:
    import shutil

    held = claim_folder(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="the folder was deleted while the run was trained"):
        held.write(tmp_path / "run" / "x", b"x")
    held.release()
    assert not (tmp_path / "run").exists()
