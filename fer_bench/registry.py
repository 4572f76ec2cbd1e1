"""Discovery of methods: built-in files, entry points, and ``--plugins`` folders, in one map, without importing any.

A plugin that cannot be loaded stays listed with its error and harms no other.
"""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.spec import SpecError, build, nearest, read_toml

if TYPE_CHECKING:
    from fer_bench.method import Method

BUILT_IN = "fer_bench_methods"
GROUP = "fer_bench.methods"
KEY = re.compile(r"[a-z][a-z0-9_]*")


class PluginError(Exception):
    """A plugin cannot be used: it is broken, or two places claim its key."""


@dataclass(frozen=True)
class Plugin:
    """Where a method is, and why it cannot be used if it cannot."""

    key: str
    path: Path
    origin: str
    """"built in", "package NAME" or the folder."""
    error: str = ""

    @property
    def code(self) -> str:
        """12 hexadecimal digits that change with the plugin's code, not with its comments, docstrings or layout."""
        return _code_hash(self.path.read_text(encoding="utf-8"))

    def load(self) -> type[Method]:
        """The plugin's one Method subclass. PluginError with the reason and traceback if it is broken."""
        if self.error:
            raise PluginError(self.error)
        return _load(self.key, self.path)

    def presets(self) -> dict[str, Any]:
        """The ``[preset.*]`` tables of ``<key>.toml`` beside the plugin, {} without one."""
        path = self.path.with_suffix(".toml")
        return read_toml(path).get("preset", {}) if path.exists() else {}

    def configure(self, dataset: str, noise: str, settings: Mapping[str, Any]) -> Any:
        """The method's Config: its defaults, under its presets for the data set and noise, under ``settings``.

        SpecError names an unknown key or a wrong type, and the nearest key.
        """
        config_class = self.load().Config
        preset = self.presets().get(dataset, {})
        names = {field.name for field in fields(config_class)}
        values = {key: entry["value"] for key, entry in preset.items() if key in names}
        special = preset.get(noise.replace(" ", "-"), {})
        values |= {key: entry["value"] for key, entry in special.items()}
        return build(config_class, {**values, **settings}, self.key)

    def restore_config(self, values: Mapping[str, Any]) -> Any:
        """The Config that a spec holds as plain values."""
        return build(self.load().Config, values, self.key)


def discover(folders: Sequence[str | Path] = ()) -> dict[str, Plugin]:
    """All plugins by key: built in, entry points of the group ``fer_bench.methods``, then ``folders`` (or files)."""
    found: dict[str, Plugin] = {}

    def add(key: str, path: Path, origin: str, error: str = "") -> None:
        if not KEY.fullmatch(key):
            error = f"{path}: {key!r} is no method key (lower-case letters, digits and _)"
        if key in found:
            error = f"two plugins claim the key {key!r}: {found[key].path} ({found[key].origin}) and {path} ({origin})"
            path, origin = found[key].path, found[key].origin
        found[key] = Plugin(key, path, origin, error)

    built_in = importlib.util.find_spec(BUILT_IN)
    for folder in built_in.submodule_search_locations or [] if built_in else []:
        for path in _python_files(Path(folder)):
            add(path.stem, path, "built in")
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            module = importlib.util.find_spec(entry.module)
        except (ImportError, ValueError):  # its parent package is missing or broken
            module = None
        package = entry.dist.name if entry.dist else "?"
        if module is None or module.origin is None:
            add(
                entry.name,
                Path(entry.value),
                f"package {package}",
                f"entry point {entry.name}: no module {entry.module}",
            )
        else:
            add(entry.name, Path(module.origin), f"package {package}")
    for place in map(Path, folders):
        if not place.exists():
            raise SpecError(f"--plugins {place}: no such file or folder")
        for path in _python_files(place) if place.is_dir() else [place]:
            add(path.stem, path, str(place))
    return dict(sorted(found.items()))


def choose(patterns: Iterable[str], plugins: Mapping[str, Plugin]) -> list[str]:
    """Keys that match the given keys and globs (``all`` = every usable one), sorted. SpecError names the nearest."""
    chosen: set[str] = set()
    for pattern in patterns:
        if pattern == "all":
            matches = [key for key, plugin in plugins.items() if not plugin.error]
        else:
            matches = fnmatch.filter(plugins, pattern)
        if not matches:
            raise SpecError(f"unknown method {pattern!r}{nearest(pattern, plugins)}")
        chosen.update(matches)
    if not chosen:
        raise SpecError("no method was named; see `fer-bench methods`")
    return sorted(chosen)


def settings_by_method(assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``key.field=value`` strings as {key: {field: value}}; values are TOML, and a bare word is a string."""
    import tomllib

    settings: dict[str, dict[str, Any]] = {}
    for text in assignments:
        target, equals, value = text.partition("=")
        key, dot, name = target.strip().partition(".")
        if not (equals and dot and key and name):
            raise SpecError(f"--set {text!r} is not of the form method.field=value")
        try:
            parsed = tomllib.loads(f"x = {value}")["x"]
        except tomllib.TOMLDecodeError:
            parsed = value.strip()
        settings.setdefault(key, {})[name] = parsed
    return settings


def describe_config(config: Any) -> dict[str, Any]:
    """A Config as plain values, for the spec."""
    return asdict(config)


def _python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", "test_", "conftest")))


def _code_hash(source: str) -> str:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return hashlib.sha256(source.encode()).hexdigest()[:12]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            del body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]


@cache
def _load(key: str, path: Path) -> type[Method]:
    from fer_bench.method import Info, Method

    name = f"fer_bench_plugin_{key}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"{path}: {type(error).__name__}: {error}\n{traceback.format_exc()}") from None
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == name
    ]
    if len(classes) != 1:
        raise PluginError(f"{path} must define exactly one subclass of fer_bench.method.Method, not {len(classes)}")
    if not isinstance(getattr(classes[0], "info", None), Info):
        raise PluginError(f"{path}: {classes[0].__name__}.info must be a fer_bench.method.Info")
    return classes[0]


def plugin_folders(given: Sequence[str]) -> list[str]:
    """The folders of ``--plugins`` and of the variable FER_BENCH_PLUGINS."""
    return [*given, *filter(None, os.environ.get("FER_BENCH_PLUGINS", "").split(os.pathsep))]
