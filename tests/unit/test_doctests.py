"""The examples in the docstrings of the metrics and of the pieces that methods share."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import fer_bench.ops

OPS = [f"fer_bench.ops.{module.name}" for module in pkgutil.iter_modules(fer_bench.ops.__path__)]


@pytest.mark.parametrize("name", ["fer_bench.metrics", *OPS])
def test_examples_are_right(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), extraglobs={"torch": importlib.import_module("torch")})
    assert found.attempted and not found.failed
