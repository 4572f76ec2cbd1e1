"""Who trains a run: one owner at a time, on any number of hosts that share a folder.

A folder that is being written holds ``claim/<token>/owner.json``. Three renames of folders do everything:

claim      A folder that was prepared beside it is renamed to ``claim``. A rename onto a folder that is not empty fails,
           so one process wins.
take over  The ``claim/<token>`` of a silent owner is renamed away, which succeeds once. Then the folder is claimed.
write      Each part lies in the owner's ``claim/<token>`` and is renamed from there. An owner that was stopped, even
           between its check and its write, finds no part to rename after it was replaced, and stops.

There is no check-then-act race: every transition is one atomic rename. No lock of the file system and no clock of
another host is trusted. An owner touches its file again and again. Another host takes over when it has seen no *change*
of the file for a lease of its own time. On one host (one boot, one namespace of processes) a dead process is known at
once; a stopped one is silent.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_bench.core.errors import FerBenchError
from fer_bench.core.files import Content, write_atomically
from fer_bench.store.process import FIELDS, machine, start_time, this_process

LEASE = 60.0
"""Seconds without a sign of life after which an owner is replaced: as long as a network file system may cache."""

BEATS = 12
"""Signs of life in a lease."""

PATIENCE = 3
"""Leases for which :func:`hold_folder` waits: a silent owner is replaced after one."""

AGAIN = 0.1
"""Seconds between two of its tries."""

OWNER = "owner.json"

_heard: dict[str, tuple[int, float]] = {}
"""By token: the last sign of life of an owner elsewhere, and when this process first saw it (monotonic seconds)."""


class Busy(FerBenchError):
    """Another process is training this run."""


class TakenOver(FerBenchError):
    """This process was silent for so long that another one trains the run now. Stored files are unchanged."""


@dataclass(frozen=True)
class Owner:
    """The process that holds a claim.

    Attributes:
        path: Its folder ``claim/<token>``.
        process: Its name, as :func:`fer_bench.store.process.this_process` gives it; empty where its file is damaged.
        beat: Its last sign of life: the time of its file, in nanoseconds.
    """

    path: Path
    process: dict[str, Any]
    beat: int

    @property
    def dead(self) -> bool:
        """Whether the process is known to have ended; False for one on another host, of which nothing is known."""
        return self._is_here and start_time(self.process["pid"]) not in (self.process["started"], None)

    @property
    def seems_alive(self) -> bool:
        """For people only: by the process table here, by the clocks of two machines elsewhere."""
        if self._is_here:
            return not self.dead
        return time.time() - self.beat / 1e9 < 2 * LEASE

    @property
    def _is_here(self) -> bool:
        return self.process.get("machine") == machine()

    def silent(self, lease: float) -> bool:
        """Whether this process has watched the owner for ``lease`` seconds without a sign of life."""
        beat, since = _heard.get(self.path.name, (None, 0.0))
        if beat != self.beat:
            _heard[self.path.name] = (self.beat, time.monotonic())
            return False
        return time.monotonic() - since >= lease

    def __str__(self) -> str:
        return f"{self.process['host']} pid {self.process['pid']}" if self.process else "an unknown process"


def owner_of(folder: Path) -> Owner | None:
    """The owner of a folder; None if it has no owner. Does not take it and does not wait."""
    try:
        path = next((folder / "claim").iterdir(), None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if path is None:
        return None
    try:
        with (path / OWNER).open("rb") as file:  # opening asks a file server anew, where stat may answer from a cache
            beat, text = os.fstat(file.fileno()).st_mtime_ns, file.read()
    except (FileNotFoundError, NotADirectoryError):
        return Owner(path, {}, 0) if path.exists() else None
    try:
        found = json.loads(text)
        return Owner(path, {name: kind(found[name]) for name, kind in FIELDS.items()}, beat)
    except (ValueError, TypeError, KeyError, RecursionError):  # torn
        return Owner(path, {}, beat)


class Claim:
    """The right to write into ``folder``, from :func:`claim_folder` until :meth:`release` or a take-over.

    Attributes:
        folder: The folder.
        path: Folder of this owner, ``claim/<token>``.
        lost: Turns true, soon after it happened, when another process took over or the folder was deleted.
    """

    def __init__(self, folder: Path, token: str, lease: float) -> None:
        self.folder, self.path = folder, folder / "claim" / token
        self.lost = False
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._live, args=(lease / BEATS,), daemon=True)
        self._thread.start()

    def write(self, path: Path, content: Content) -> None:
        """Replaces a file of the folder.

        Raises:
            TakenOver: Another process owns the folder.
            FileNotFoundError: The folder was deleted.
        """
        try:
            write_atomically(path, content, parts=self.path)
        except FileNotFoundError:
            self.check()
            raise

    def discard(self, path: Path) -> None:
        """Removes a file of the folder if it is there. Raises as :meth:`write` does."""
        away = self.path / path.name
        try:
            path.replace(away)
            away.unlink()
        except FileNotFoundError:
            self.check()

    def check(self) -> None:
        """Raises as :meth:`write` does, unless the claim stands."""
        if self.path.exists():
            return
        self.lost = True
        if not self.folder.exists():
            raise FileNotFoundError(errno.ENOENT, "the folder was deleted while the run was trained", str(self.folder))
        raise TakenOver(f"taken over by {owner_of(self.folder) or 'another process, which has ended since'}")

    def release(self) -> None:
        """Gives the claim back; does nothing if it was taken over."""
        self._released.set()
        self._thread.join()
        with suppress(OSError):
            _remove(self.path)
            self.path.parent.rmdir()

    def _live(self, pause: float) -> None:
        while not self._released.wait(pause):
            try:
                os.utime(self.path / OWNER, follow_symlinks=False)
            except FileNotFoundError:
                self.lost = True
                return
            except OSError:
                continue  # a file server that is away for a moment; if for long, others take over


def claim_folder(folder: Path, lease: float | None = None) -> Claim:
    """Takes the claim of a folder, which is made if it is not there.

    A live owner on another host and a silent one look the same at first: the same process has to ask again.

    Args:
        folder: The folder.
        lease: Seconds without a sign of life after which its owner is replaced; None for LEASE.

    Raises:
        Busy: Its owner may be alive.
    """
    lease = LEASE if lease is None else lease
    token = secrets.token_hex(8)
    folder.mkdir(parents=True, exist_ok=True)
    prepared = folder / f".claim-{token}"
    try:
        try:
            write_atomically(prepared / token / OWNER, json.dumps(this_process()).encode())
        except FileNotFoundError:
            raise Busy(f"{folder} is being trained by another process") from None  # which has tidied up
        _become_owner(folder, prepared, lease)
    except BaseException:
        shutil.rmtree(prepared, ignore_errors=True)
        raise
    _remove_leftovers(folder)
    return Claim(folder, token, lease)


@contextmanager
def hold_folder(folder: Path, lease: float | None = None) -> Iterator[Claim]:
    """Holds a folder for a short write. Waits for another process that holds it.

    Raises:
        Busy: Another process has held it for :data:`PATIENCE` leases.
    """
    ends = time.monotonic() + PATIENCE * (LEASE if lease is None else lease)
    while True:
        try:
            claim = claim_folder(folder, lease)
            break
        except Busy:
            if time.monotonic() >= ends:
                raise Busy(f"{folder} is held by {owner_of(folder) or 'another process'}; try again later") from None
        time.sleep(AGAIN)
    try:
        yield claim
    finally:
        claim.release()


def _become_owner(folder: Path, prepared: Path, lease: float) -> None:
    """Renames a prepared folder to ``claim``. Busy if the owner may be alive, or another process was quicker."""
    target, token = folder / "claim", prepared.name.removeprefix(".claim-")
    while True:
        with suppress(OSError):
            target.rmdir()  # an empty one, over which not every file system renames
        try:
            prepared.rename(target)
            return
        except OSError as error:
            if (target / token).exists():  # done, though a file server's answer was lost
                return
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT):
                raise
        _remove_silent(folder, lease)
        if not prepared.exists():
            raise Busy(f"{folder} is being trained by another process")


def _remove_leftovers(folder: Path) -> None:
    """Removes what processes left that were killed while they claimed."""
    for left in folder.glob(".claim-*"):
        with suppress(OSError):
            left.rename(folder / f".gone-{left.name}")  # one that only comes too late learns it by this
    for gone in folder.glob(".gone-*"):
        shutil.rmtree(gone, ignore_errors=True)


def _remove_silent(folder: Path, lease: float) -> None:
    """Ends the claim of an owner that is dead or silent. Busy if it may be alive."""
    owner = owner_of(folder)
    if owner is None:
        return
    if not owner.dead and not owner.silent(lease):
        raise Busy(f"{folder} is being trained by {owner}")
    with suppress(FileNotFoundError):  # another process was quicker
        _remove(owner.path)


def _remove(path: Path) -> None:
    """Renames an owner's folder away, which ends its writing, and deletes it."""
    away = path.parent.parent / f".gone-{path.name}"
    path.rename(away)
    for _ in range(5):  # a file server lets a folder that was renamed be written into until it is deleted
        shutil.rmtree(away, ignore_errors=True)
        if not away.exists():
            return
        time.sleep(0.05)
