"""Tries many inputs of each target: ``python -m tests.fuzz.run --inputs 20000 [--only WORD]``."""

from __future__ import annotations

import argparse
import time

from tests.fuzz.targets import TARGETS
from tests.fuzz.test_fuzz import fuzz


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
