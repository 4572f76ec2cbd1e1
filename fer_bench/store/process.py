"""Names a process so that other processes, also of other machines, can tell whether it still runs."""

from __future__ import annotations

import functools
import os
import platform
import secrets
from pathlib import Path
from typing import Any

FIELDS = {"host": str, "machine": str, "pid": int, "started": str}
"""What names a process, and the types."""


def this_process() -> dict[str, Any]:
    """The name of this process, with :data:`FIELDS`."""
    pid = os.getpid()
    return {"host": platform.node(), "machine": machine(), "pid": pid, "started": start_time(pid)}


@functools.cache
def machine() -> str:
    """Names this boot of this machine and the namespace of its process numbers.

    Where the system tells neither, the name is random: no process is known to be dead, and its lease decides.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return secrets.token_hex(16)


def start_time(pid: int) -> str | None:
    """When a process of this machine began, in ticks since the boot.

    "" for a process that has ended, None for one of another user that the system hides.
    """
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
