"""Findings as lines of JSON, each on the disk before the next is looked for, and the time that a part has."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "findings.jsonl"


@dataclass
class Part:
    """One part of the check.

    Attributes:
        name: Its name, in every finding.
        out: Folder of the findings.
        device: What is checked: cuda:0, or cpu for a rehearsal.
        small: Whether everything is scaled down for a rehearsal.
        seconds: How long the part may take.
    """

    name: str
    out: Path
    device: str
    small: bool
    seconds: float

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self._began)

    def found(self, what: str, **values: Any) -> None:
        """Writes a finding, and waits until it is on the disk."""
        line = {"part": self.name, "what": what, "after": round(time.monotonic() - self._began, 1), **values}
        with (self.out / FILE).open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        print(f"{self.name}: {what} {json.dumps(values)[:160]}", file=sys.stderr, flush=True)

    def enough_time(self, what: str) -> bool:
        """Whether there is time for more; a finding says so if not."""
        if self.left <= 0:
            self.found("not reached", at=what)
        return self.left > 0

    @contextmanager
    def failures_found(self, what: str, **values: Any) -> Iterator[None]:
        """An exception becomes a finding, and the part goes on."""
        try:
            yield
        except Exception as error:
            reason = (str(error).strip().splitlines() or [""])[0]
            self.found(what, **values, error=f"{type(error).__name__}: {reason}", trace=traceback.format_exc()[-1500:])


def read(out: Path) -> list[dict[str, Any]]:
    """The findings of a folder; a last line that was cut off is left out."""
    found = []
    for line in (out / FILE).read_text().splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found
