"""Tries many inputs of each target: ``python -m tests.fuzz.run --inputs 20000 [--only WORD]``."""

from __future__ import annotations

import argparse
import time

from hypothesis import HealthCheck, given, settings

from tests.fuzz.targets import TARGETS, ready


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--only", default="", help="Targets with this in their name.")
    options = parser.parse_args()
    for name in TARGETS:
        if options.only in name:
            begin = time.monotonic()
            fuzz(name, options.inputs, again=False)
            print(f"{name}: {options.inputs} inputs in {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
