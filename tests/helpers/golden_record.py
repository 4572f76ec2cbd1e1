"""``pytest tests/golden --record-golden`` (``make golden``) writes ``methods/golden.json``, which cards and lists show.

Of each method whose golden cases all passed: the hash of its code, and how many cases there were.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from fer_bench.core.files import write_atomically
from fer_bench.plugins.registry import GOLDEN, discover

CASE = re.compile(r"test_golden\[(\w+)::([^\]]*)\]")
METHODS = Path(__file__).parents[2] / "methods"

BESIDE = {"balanced_softmax": "meta_"}
"""How cases are called that run no line of the method and are not counted: those of the Meta Sampler."""


def counts(key: str, case: str) -> bool:
    """Whether a golden case says something about a method."""
    return key not in BESIDE or not case.startswith(BESIDE[key])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-golden", action="store_true", help="write which methods pass their golden cases")


class Recorder:
    """Collects outcomes where reports arrive: in the main process, also with worker processes."""

    def __init__(self) -> None:
        self.passed: dict[str, list[bool]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        case = CASE.search(report.nodeid)
        if case and counts(*case.groups()) and (report.when == "call" or report.failed):
            self.passed[case[1]].append(report.passed)

    def pytest_sessionfinish(self) -> None:
        built_in = {key: plugin for key, plugin in discover().items() if plugin.origin == "built in"}
        record = {
            key: {"code": built_in[key].code, "cases": len(outcomes)}
            for key, outcomes in sorted(self.passed.items())
            if key in built_in and all(outcomes)
        }
        write_atomically(METHODS / GOLDEN, (json.dumps(record, indent=1) + "\n").encode())


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record-golden", False) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())
