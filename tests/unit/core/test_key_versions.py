"""The key of a run is the same under every version of Python that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fer_bench
from fer_bench.core.spec import Imbalance, Noise, Recipe, RunSpec, key_of

RECORDED = {"é": [0.1, 1e-05, 1e16, -0.0], "n": {"a": None, "b": True}, "t": "line\nend \udcff"}
"""Values whose text might depend on the version."""

KEY = "1abfc14c78a6bae5"
"""Their key. It may change with this project only, never with Python."""

PROGRAM = f"""
import sys
from fer_bench.core.spec import Imbalance, Noise, Recipe, RunSpec, key_of
noise, imbalance = Noise("symmetric", 0.3), Imbalance("exp", 10)
spec = RunSpec("d", "f" * 64, "m", "c" * 12, {{"a": 0.1}}, noise, imbalance, recipe=Recipe())
print("{{}}.{{}}".format(*sys.version_info), spec.key, key_of({RECORDED!r}))
"""


@pytest.mark.parametrize("version", [f"3.{minor}" for minor in range(11, 15)])
def test_keys_are_those_of_every_version(version: str) -> None:
    spec = RunSpec(
        "d", "f" * 64, "m", "c" * 12, {"a": 0.1}, Noise("symmetric", 0.3), Imbalance("exp", 10), recipe=Recipe()
    )
    assert key_of(RECORDED) == KEY
    mine = version == f"3.{sys.version_info.minor}"
    command = [sys.executable if mine else f"python{version}", "-c", PROGRAM]
    try:
        environment = {
            **os.environ,
            "PYENV_VERSION": version,
            "PYTHONPATH": str(Path(fer_bench.__file__).parents[1]),
        }
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"Python {version} is not installed")
    if ran.returncode == 127:  # pyenv has a command of that name and not that version
        pytest.skip(f"Python {version} is not installed")
    assert not ran.returncode, ran.stderr
    assert ran.stdout.split() == [version, spec.key, KEY]
