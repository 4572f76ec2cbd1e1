"""Checks of a method against the contract, for the command ``fer-bench test-method`` and for test suites."""

from fer_bench.testing.bench import Bench
from fer_bench.testing.checks import CHECKS
from fer_bench.testing.run import check_plugin, run_checks

__all__ = ["CHECKS", "Bench", "check_plugin", "run_checks"]
