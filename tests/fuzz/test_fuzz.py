"""Some inputs of each target in every test run, the same ones each time; run.py tries more."""

from __future__ import annotations

import pytest

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS

pytestmark = [pytest.mark.xdist_group("bad input"), pytest.mark.slow]  # one worker: the targets share trained runs


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_ends_with_a_traceback(name: str) -> None:
    fuzz(name, TARGETS[name].usual, again=True)
