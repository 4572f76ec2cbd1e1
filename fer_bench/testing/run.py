"""Runs the checks on a plugin: ``fer-bench test-method``."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fer_bench.core.errors import PluginError, nearest, require
from fer_bench.plugins.registry import Plugin, discover, plugin_folders

LOADS = (
    "loads",
    "The file can be imported and defines one Method with an Info. Its hooks and its TOML file fit the contract.",
)
"""The check that comes before those of the contract, and what it proves."""


class Result(NamedTuple):
    """The result of one check.

    Attributes:
        check: Name of the check.
        proves: What it proves.
        error: What is wrong, None if nothing is.
    """

    check: str
    proves: str
    error: str | None


def find_plugin(name: str, folders: Sequence[str] = ()) -> Plugin:
    """The plugin in a file, or with a key. SpecError names the nearest."""
    path, searched = Path(name), plugin_folders(folders)
    require(not path.is_dir(), f"{name} is a folder; name one file in it")
    if path.suffix == ".py":
        require(path.is_file(), f"{name}: no such file")
        return discover([*searched, path])[path.stem]
    found = discover(searched)
    file = path.with_name(f"{path.name}.py")
    hint = f"; did you mean the file {file}?" if file.is_file() else nearest(name, found)
    require(name in found, f"unknown method {name!r}{hint}")
    return found[name]


def run_checks(plugin: Plugin, on_start: Callable[[str, str], None] = lambda check, proves: None) -> Iterator[Result]:
    """Tries a plugin on a fresh problem in a temporary folder.

    Args:
        plugin: The method. If it cannot be loaded, the first check fails and no other is tried.
        on_start: Called with the name of each check, and what it proves, before it is tried.

    Yields:
        The result of each check: LOADS, then those of the conformance suite in their order.
    """
    on_start(*LOADS)
    try:
        plugin.load()
    except PluginError as error:
        yield Result(*LOADS, str(error).strip())
        return
    yield Result(*LOADS, None)
    from fer_bench.testing.bench import Bench
    from fer_bench.testing.checks import CHECKS

    reasons: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for check in CHECKS.values():
            on_start(check.name, check.proves)
            try:
                check(plugin, bench)
            except AssertionError as error:
                reason = (str(error).strip() or "an assertion failed") + _line(error, plugin.path)
                known = reasons.setdefault(reason, check.name)
                yield Result(check.name, check.proves, reason if known == check.name else f"as in {known}")
            else:
                yield Result(check.name, check.proves, None)


def check_plugin(plugin: Plugin) -> list[Result]:
    """The result of every check, as :func:`run_checks` yields it."""
    return list(run_checks(plugin))


def _line(error: BaseException, path: Path) -> str:
    """The line of the plugin that an error came from, if it came from there."""
    frames = [
        frame
        for cause in (error.__cause__, error)
        if cause is not None
        for frame in traceback.extract_tb(cause.__traceback__)
        if Path(frame.filename).resolve() == path.resolve()
    ]
    return f"\n{path}:{frames[-1].lineno} in {frames[-1].name}: {frames[-1].line}" if frames else ""
