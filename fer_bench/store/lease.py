"""Who trains a run: one owner at a time, on any number of hosts that share a folder, and none that comes too late.

A folder that somebody works in holds ``claim/<token>/owner.json``. Three renames of folders do everything:

claim       a folder prepared beside it becomes ``claim``; a rename onto a folder that is not empty fails, so one wins
take over   the silent owner's ``claim/<token>`` is renamed away, which succeeds once, and then the folder is claimed
write       each part lies in the owner's ``claim/<token>`` and is renamed from there: an owner that was stopped, even
            between looking and writing, and goes on after it was replaced finds no part to rename, and stops

So nothing is checked before it is done, and no lock of the file system and no clock of another host is trusted. An
owner touches its file again and again; another host takes over when it has seen no *change* for a lease of its own
time. On one host (one boot, one namespace of processes) a dead process is known at once. A stopped one is silent.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import platform
import secrets
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_bench.core.errors import FerBenchError
from fer_bench.core.files import Content, write_atomically

LEASE = 60.0
"""Seconds without a sign of life after which an owner is replaced: as long as a network file system caches."""

BEATS = 12
"""Signs of life in a lease."""

OWNER = "owner.json"

FACTS = {"host": str, "machine": str, "pid": int, "started": str}

_heard: dict[str, tuple[int, float]] = {}
"""By token: the last sign of life of an owner elsewhere, and when this process first saw it (monotonic seconds)."""


class Busy(FerBenchError):
    """Another process is training this run."""


class TakenOver(FerBenchError):
    """This process was silent for so long that another one trains the run now; nothing that is stored was touched."""


@dataclass(frozen=True)
class Owner:
    """The process that a folder's claim names. ``beat`` is its last sign of life: the time of its file, nanoseconds."""

    place: Path
    facts: dict[str, Any]
    beat: int

    @property
    def dead(self) -> bool:
        """Whether the process is known to have ended; False for one on another host, of which nothing is known."""
        return self._is_here and _started(self.facts["pid"]) not in (self.facts["started"], None)

    @property
    def seems_alive(self) -> bool:
        """For people only: by the process table here, by the clocks of two machines elsewhere."""
        if self._is_here:
            return not self.dead
        return time.time() - self.beat / 1e9 < 2 * LEASE

    @property
    def _is_here(self) -> bool:
        return self.facts.get("machine") == _machine()

    def silent(self, lease: float) -> bool:
        """Whether this process has watched the owner for ``lease`` seconds without a sign of life."""
        beat, since = _heard.get(self.place.name, (None, 0.0))
        if beat != self.beat:
            _heard[self.place.name] = (self.beat, time.monotonic())
            return False
        return time.monotonic() - since >= lease

    def __str__(self) -> str:
        return f"{self.facts['host']} pid {self.facts['pid']}" if self.facts else "an unknown process"


def owner_of(folder: Path) -> Owner | None:
    """Who holds the claim of a folder; None where nobody does. Takes and waits for nothing."""
    try:
        place = next((folder / "claim").iterdir(), None)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if place is None:
        return None
    try:
        with (place / OWNER).open("rb") as file:  # opening asks a file server anew, where stat may answer from a cache
            beat, text = os.fstat(file.fileno()).st_mtime_ns, file.read()
    except (FileNotFoundError, NotADirectoryError):
        return Owner(place, {}, 0) if place.exists() else None
    try:
        found = json.loads(text)
        return Owner(place, {name: kind(found[name]) for name, kind in FACTS.items()}, beat)
    except (ValueError, TypeError, KeyError, RecursionError):  # torn
        return Owner(place, {}, beat)


class Claim:
    """The right to write into ``folder``, from :func:`claim` until :meth:`release` or a take-over."""

    def __init__(self, folder: Path, token: str, lease: float) -> None:
        self.folder, self.place = folder, folder / "claim" / token
        self.lost = False
        """Turns true, soon after it happened, where another process took over or the folder was deleted."""
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._live, args=(lease / BEATS,), daemon=True)
        self._thread.start()

    def write(self, path: Path, content: Content) -> None:
        """Replaces a file of the folder. TakenOver where another process owns it, FileNotFoundError for no folder."""
        try:
            write_atomically(path, content, parts=self.place)
        except FileNotFoundError:
            self.check()
            raise

    def discard(self, path: Path) -> None:
        """Removes a file of the folder if it is there; errors as for :meth:`write`."""
        away = self.place / path.name
        try:
            path.replace(away)
            away.unlink()
        except FileNotFoundError:
            self.check()

    def check(self) -> None:
        """TakenOver, or FileNotFoundError for a deleted folder, unless the claim stands."""
        if self.place.exists():
            return
        self.lost = True
        if not self.folder.exists():
            raise FileNotFoundError(errno.ENOENT, "the folder was deleted while the run was trained", str(self.folder))
        raise TakenOver(f"taken over by {owner_of(self.folder) or 'another process, which has ended since'}")

    def release(self) -> None:
        """Gives the claim back; nothing where it was taken over."""
        self._released.set()
        self._thread.join()
        with suppress(OSError):
            _remove(self.place)
            self.place.parent.rmdir()

    def _live(self, pause: float) -> None:
        while not self._released.wait(pause):
            try:
                os.utime(self.place / OWNER)
            except FileNotFoundError:
                self.lost = True
                return
            except OSError:
                continue  # a file server that is away for a moment; if for long, others take over


def claim(folder: Path, lease: float | None = None) -> Claim:
    """Takes the claim of a folder, which is made. Busy while its owner lives; ``lease`` is LEASE unless given.

    A live owner elsewhere and a silent one look the same at first sight: the same process has to ask again.
    """
    lease = LEASE if lease is None else lease
    token = secrets.token_hex(8)
    folder.mkdir(parents=True, exist_ok=True)
    prepared, target = folder / f".claim-{token}", folder / "claim"
    try:
        try:
            write_atomically(prepared / token / OWNER, json.dumps(_me()).encode())
        except FileNotFoundError:
            raise Busy(f"{folder} is being trained by another process") from None  # which has tidied up
        while True:
            with suppress(OSError):
                target.rmdir()  # an empty one, over which not every file system renames
            try:
                prepared.rename(target)
            except OSError as error:
                if (target / token).exists():  # done, though a file server's answer was lost
                    break
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT):
                    raise
                _remove_silent(folder, lease)
                if not prepared.exists():
                    raise Busy(f"{folder} is being trained by another process") from None
            else:
                break
    except BaseException:
        shutil.rmtree(prepared, ignore_errors=True)
        raise
    for left in folder.glob(".claim-*"):  # of processes that were killed while they claimed
        with suppress(OSError):
            left.rename(folder / f".gone-{left.name}")  # or of one that comes too late, and learns it by this
    for gone in folder.glob(".gone-*"):
        shutil.rmtree(gone, ignore_errors=True)
    return Claim(folder, token, lease)


def _remove_silent(folder: Path, lease: float) -> None:
    """Ends the claim of an owner that is dead or silent. Busy if it may be alive."""
    owner = owner_of(folder)
    if owner is None:
        return
    if not owner.dead and not owner.silent(lease):
        raise Busy(f"{folder} is being trained by {owner}")
    with suppress(FileNotFoundError):  # another process was quicker
        _remove(owner.place)


def _remove(place: Path) -> None:
    """Renames an owner's folder away, which ends its writing, and deletes it."""
    away = place.parent.parent / f".gone-{place.name}"
    place.rename(away)
    for _ in range(5):  # a file server lets a folder that was renamed be written into until it is deleted
        shutil.rmtree(away, ignore_errors=True)
        if not away.exists():
            return
        time.sleep(0.05)


def _me() -> dict[str, Any]:
    pid = os.getpid()
    return {"host": platform.node(), "machine": _machine(), "pid": pid, "started": _started(pid)}


@functools.cache
def _machine() -> str:
    """Names this boot of this machine and the namespace of its process numbers; unique where the system tells neither,
    so that a lease decides."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return secrets.token_hex(16)


def _started(pid: int) -> str | None:
    """When a process of this machine began, in ticks since the boot; "" for one that has ended, None for one of
    another user that the system hides."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        try:
            os.kill(pid, 0)
        except PermissionError:
            return None
        except (OSError, OverflowError):
            pass
        return ""
    return "" if state in "ZX" else rest[18]
