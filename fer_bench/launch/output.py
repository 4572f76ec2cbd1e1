"""Sends what a plugin, its native code and its child processes print to the log of the run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO


@contextmanager
def redirected(log: TextIO) -> Iterator[None]:
    """Sends messages of fer-bench, and standard output and standard error of this process, to ``log``.

    It is written at once, so that the output does not tear the display and is there after a kill.
    """
    with (
        redirect_stdout(log),
        redirect_stderr(log),
        _descriptor(1, log.fileno()),
        _descriptor(2, log.fileno()),
    ):
        handler, logger = logging.StreamHandler(log), logging.getLogger("fer_bench")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)


@contextmanager
def _descriptor(number: int, target: int) -> Iterator[None]:
    """Lets a file descriptor of the process lead to ``target``."""
    before = os.dup(number)
    os.dup2(target, number)
    try:
        yield
    finally:
        os.dup2(before, number)
        os.close(before)
