"""Writes the records of a sweep while it is trained, so that its compact file is never far behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from fer_bench.core.errors import FerBenchError
from fer_bench.sweep.record import Sweep

PAUSE = 60.0
"""Seconds between two writes, at least."""

SHARE = 50
"""The pause is also this many times as long as a write takes: a write reads every finished run."""


class RecordKeeper:
    """Writes the compact file of a sweep now and then.

    Args:
        sweep: The sweep. Its cache of records is not used.
        clock: Seconds of a clock that only goes forward.
    """

    def __init__(self, sweep: Sweep, clock: Callable[[], float] = time.monotonic) -> None:
        self._sweep, self._clock = sweep, clock
        self._next = clock() + PAUSE

    def run_ended(self) -> None:
        """Writes what is finished, if the last write is long enough ago."""
        started = self._clock()
        if started >= self._next:
            self.save()
            ended = self._clock()
            self._next = ended + max(PAUSE, SHARE * (ended - started))

    def save(self) -> None:
        """Writes what is finished. If this fails, training continues, and the last write of the sweep says why."""
        sweep = self._sweep
        with suppress(FerBenchError, OSError):
            Sweep(sweep.name, sweep.folder, sweep.content).save_records()
