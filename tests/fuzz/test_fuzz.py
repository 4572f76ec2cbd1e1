"""Some inputs of each target in every test run, the same ones each time; run.py tries more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.targets import TARGETS, ready

pytestmark = pytest.mark.xdist_group("bad input")  # one worker: the targets share trained runs


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_ends_with_a_traceback(name: str) -> None:
    fuzz(name, TARGETS[name].usual, again=True)


def fuzz(name: str, inputs: int, again: bool) -> None:
    """Meets the inputs of a target that failed once, then ``inputs`` new ones: the same at each call with ``again``."""
    target = TARGETS[name]
    with ready():
        for each in target.known:
            target.meet(each)
        settings(
            max_examples=inputs, deadline=None, database=None, derandomize=again,
            suppress_health_check=list(HealthCheck),
        )(given(target.inputs)(target.meet))()  # fmt: skip
