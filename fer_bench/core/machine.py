"""What of this machine a process may use: cores, memory, instruction sets, and folders that it can write to."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")

EXTENSIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16", "i8mm")
"""Instruction sets that matter for networks, by Linux's names (x86-64 and 64-bit Arm)."""


@dataclass(frozen=True)
class Cores:
    """How many cores there are; None where there is no limit, or none is known.

    Attributes:
        online: Of the machine.
        affinity: That this process may run on.
        cgroup: That its control group gets time of, on average.
    """

    online: int
    affinity: int | None
    cgroup: float | None

    @property
    def usable(self) -> int:
        """Whole cores that this process can keep busy, at least 1."""
        limits = (self.affinity, self.cgroup)
        return max(1, int(min(self.online, *(limit for limit in limits if limit is not None))))


@dataclass(frozen=True)
class Memory:
    """Bytes of memory; None where they are not known.

    Attributes:
        total: Of the machine.
        available: Free, or can be freed without swapping.
        cgroup: The limit of the control group; None for no limit.
        cgroup_left: What is left of it.
    """

    total: int | None
    available: int | None
    cgroup: int | None
    cgroup_left: int | None

    @property
    def usable(self) -> int | None:
        """Bytes that this process can take; None if nothing is known."""
        known = [each for each in (self.available, self.cgroup_left) if each is not None]
        return min(known) if known else None


@dataclass(frozen=True)
class Folder:
    """A folder that fer-bench writes to.

    Attributes:
        path: The folder. It need not exist.
        problem: Why nothing can be written there; "" if something can.
        free: Free bytes of its disk; None if they are not known.
    """

    path: str
    problem: str
    free: int | None


def cores(group: Path = CGROUP) -> Cores:
    """The cores of this machine that this process may use; ``group`` is where control groups are."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return Cores(os.cpu_count() or 1, allowed, _cgroup_cores(group))


def _cgroup_cores(group: Path) -> float | None:
    words = _words(group / "cpu.max")  # version 2: "200000 100000", or "max 100000"
    if not words:  # version 1, in which -1 is no limit
        words = _words(group / "cpu/cpu.cfs_quota_us") + _words(group / "cpu/cpu.cfs_period_us")
    try:
        quota, period = (int(word) for word in words)
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def memory(proc: Path = PROC, group: Path = CGROUP) -> Memory:
    """The memory of this machine that this process may use."""
    found = {}
    for line in _lines(proc / "meminfo"):
        name, _, value = line.partition(":")
        if value.split()[1:] == ["kB"] and value.split()[0].isdigit():
            found[name] = 1024 * int(value.split()[0])
    total = found.get("MemTotal")
    version_2 = (group / "memory.max", group / "memory.current")
    version_1 = (group / "memory/memory.limit_in_bytes", group / "memory/memory.usage_in_bytes")
    limit, used = (_number(path) for path in (version_2 if version_2[0].exists() else version_1))
    if limit is None or (total is not None and limit >= total):  # version 1 writes a huge number for no limit
        limit = None
    left = None if limit is None else max(0, limit - (used or 0))
    return Memory(total, found.get("MemAvailable"), limit, left)


def load() -> float | None:
    """How many programs wanted to run in the last minute, on average; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def processor(proc: Path = PROC) -> str:
    """The name of the processor, as far as the machine tells it."""
    names = (line.split(":", 1)[1].strip() for line in _lines(proc / "cpuinfo") if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def extensions(proc: Path = PROC) -> list[str]:
    """The instruction sets of EXTENSIONS that the processor has; none where Linux does not list them."""
    flags: set[str] = set()
    for line in _lines(proc / "cpuinfo"):
        if line.startswith(("flags", "Features")):
            flags |= set(line.partition(":")[2].split())
    return [name for name in EXTENSIONS if name in flags]


def folder(path: Path) -> Folder:
    """Whether files can be written to a folder, or to the one that it would be made in."""
    there = path.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    problem, free = "", None
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        problem = f"{there}: {error.strerror or error}"
    return Folder(str(path), problem, free)


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path) for word in line.split()]


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if words and words[0].isdigit() else None


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return ()
