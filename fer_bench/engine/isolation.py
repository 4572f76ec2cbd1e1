"""Isolates the process from what a plugin sets: random states, threads, precision, environment."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Plugins may use the global generators; they are the same after a resume as without one."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


@contextmanager
def contained(threads: int) -> Iterator[None]:
    """Starts as every run starts and leaves the process as it was, even if a plugin changes its settings.

    That is what SETTINGS lists, random states, environment, working folder, warning filters and output streams. A
    plugin that replaces functions of a library is not contained.
    """
    numpy, python = np.random.get_state(), random.getstate()  # noqa: NPY002
    environment, folder, filters = dict(os.environ), Path.cwd(), list(warnings.filters)
    streams, before = (sys.stdout, sys.stderr), [setting.get() for setting in SETTINGS]
    try:
        with torch.random.fork_rng():
            _set(setting.start for setting in SETTINGS)
            torch.set_num_threads(threads)
            torch.set_flush_denormal(False)
            yield
    finally:
        _set(before)
        torch.set_flush_denormal(False)  # it cannot be asked for
        np.random.set_state(numpy)  # noqa: NPY002
        random.setstate(python)
        sys.stdout, sys.stderr = streams
        warnings.filters[:] = filters  # type: ignore[index]
        os.chdir(folder)
        if environment != os.environ:
            os.environ.clear()
            os.environ.update(environment)


class Setting(NamedTuple):
    """A part of the state of the process that changes numbers or ends runs, and what it is when a run starts."""

    get: Callable[[], Any]
    set: Callable[[Any], Any]
    start: Any


def _attribute(module: Any, name: str, start: Any) -> Setting:
    return Setting(partial(getattr, module, name), partial(setattr, module, name), start)


CPU = torch.device("cpu")

SETTINGS = (
    Setting(torch.get_num_threads, torch.set_num_threads, 1),
    Setting(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    Setting(torch.get_default_device, lambda device: torch.set_default_device(None if device == CPU else device), CPU),
    Setting(torch.is_grad_enabled, torch.set_grad_enabled, True),
    Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
    Setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
    Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False),
    *(
        Setting(partial(torch.is_autocast_enabled, kind), partial(torch.set_autocast_enabled, kind), False)
        for kind in ("cpu", "cuda")
    ),
    _attribute(torch.backends.cudnn, "deterministic", True),
    _attribute(torch.backends.cudnn, "benchmark", False),
    _attribute(torch.backends.cudnn, "enabled", True),
    _attribute(torch.backends.cudnn, "allow_tf32", True),
    Setting(np.geterr, lambda errors: np.seterr(**errors), np.geterr()),
)


def _set(values: Iterable[Any]) -> None:
    for setting, value in zip(SETTINGS, values, strict=True):
        if setting.get() != value:  # a default device, even the usual one, slows every call
            setting.set(value)
