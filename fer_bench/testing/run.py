"""Runs the checks on a plugin: ``fer-bench test-method``."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from fer_bench.core.errors import PluginError, nearest, require
from fer_bench.plugins.registry import Plugin, discover, plugin_folders
from fer_bench.testing.bench import Bench
from fer_bench.testing.checks import CHECKS

LOADS = (
    "loads",
    "the file can be imported and defines one Method with an Info; its hooks and presets fit the contract",
)


def find_plugin(name: str, folders: Sequence[str] = ()) -> Plugin:
    """The plugin in a file, or with a key. SpecError names the nearest."""
    path, places = Path(name), plugin_folders(folders)
    require(not path.is_dir(), f"{name} is a folder; name one file in it")
    if path.suffix == ".py":
        require(path.is_file(), f"{name}: no such file")
        return discover([*places, path])[path.stem]
    found = discover(places)
    file = path.with_name(f"{path.name}.py")
    hint = f"; did you mean the file {file}?" if file.is_file() else nearest(name, found)
    require(name in found, f"unknown method {name!r}{hint}")
    return found[name]


def examine(plugin: Plugin) -> Iterator[tuple[str, str, str | None]]:
    """Yields (check, what it proves, "") before each check, and the same with what is wrong, or with None, after it.

    The checks are those of the conformance suite. A plugin that cannot be loaded fails the first; no other is tried.
    """
    yield (*LOADS, "")
    try:
        plugin.load()
    except PluginError as error:
        yield (*LOADS, str(error).strip())
        return
    yield (*LOADS, None)
    from fer_bench.testing.bench import Bench
    from fer_bench.testing.checks import CHECKS

    reasons: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for check in CHECKS.values():
            yield check.name, check.proves, ""
            try:
                check(plugin, bench)
            except AssertionError as error:
                reason = (str(error).strip() or "an assertion failed") + _place(error, plugin.path)
                known = reasons.setdefault(reason, check.name)
                yield check.name, check.proves, reason if known == check.name else f"as in {known}"
            else:
                yield check.name, check.proves, None


def _place(error: BaseException, path: Path) -> str:
    """The line of the plugin that an error came from, if it came from there."""
    frames = [
        frame
        for cause in (error.__cause__, error)
        if cause is not None
        for frame in traceback.extract_tb(cause.__traceback__)
        if Path(frame.filename).resolve() == path.resolve()
    ]
    return f"\n{path}:{frames[-1].lineno} in {frames[-1].name}: {frames[-1].line}" if frames else ""


def check_plugin(plugin: Plugin) -> list[tuple[str, str, str | None]]:
    """(check, what it proves, what is wrong or None) for every check, on a fresh problem in a temporary folder."""
    results: list[tuple[str, str, str | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for check in CHECKS.values():
            try:
                check(plugin, bench)
            except AssertionError as error:
                results.append((check.name, check.proves, str(error) or "failed"))
            else:
                results.append((check.name, check.proves, None))
    return results
