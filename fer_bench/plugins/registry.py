"""Discovery of methods: built-in files, entry points, and ``--plugins`` folders, in one map, without importing any.

A plugin that cannot be loaded stays listed with its error and harms no other.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib.metadata
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.assignments import parse_assignment
from fer_bench.core.errors import PluginError, SpecError, nearest, require
from fer_bench.core.schema import build
from fer_bench.plugins.code_hash import code_hash
from fer_bench.plugins.described import Described, described
from fer_bench.plugins.loading import load_method
from fer_bench.plugins.presets import check_presets, preset_values, read_search, read_table
from fer_bench.plugins.ranges import Range

if TYPE_CHECKING:
    from fer_bench.method import Method

BUILT_IN = "fer_bench_methods"
"""Package of the built-in methods."""

GROUP = "fer_bench.methods"
"""Entry points of methods in other packages."""

KEY = re.compile(r"[a-z][a-z0-9_]*")

FAMILY = "family:"
"""How a pattern begins that asks for a family of methods."""

GOLDEN = "golden.json"
"""File beside methods: {key: {"code": hash, "cases": number}} of those that reproduced the official code's numbers."""


@dataclass(frozen=True)
class Golden:
    """How many golden cases a method passed, and whether with the code that it has now."""

    cases: int
    current: bool

    def __str__(self) -> str:
        return f"{self.cases} cases" if self.current else "not for this code"


@dataclass(frozen=True)
class Plugin:
    """A method in a file.

    Attributes:
        key: Its name on the command line.
        path: The file.
        origin: "built in", "package NAME" or the folder.
        error: Why it cannot be used, "" if nothing is known yet.
    """

    key: str
    path: Path
    origin: str
    error: str = ""

    @property
    def code(self) -> str:
        """The hash of its code: :func:`fer_bench.plugins.code_hash.code_hash`."""
        return code_hash(self.path)

    @property
    def described(self) -> Described:
        """What its file says of it, read without running it."""
        return described(self.key, self.path)

    @property
    def golden(self) -> Golden | None:
        """What ``golden.json`` beside the plugin records of it, None if nothing."""
        path = self.path.with_name(GOLDEN)
        if not path.exists():
            return None
        try:
            entry = json.loads(path.read_text(encoding="utf-8")).get(self.key)
            return None if entry is None else Golden(int(entry["cases"]), entry["code"] == self.code)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise SpecError(f"{path} is no record of golden cases ({error}): remove it") from None

    def load(self, code: str = "") -> type[Method]:
        """The plugin's one Method subclass.

        Args:
            code: Hash of the code that a run was planned with (:attr:`code`); "" for whatever the file holds.

        Raises:
            PluginError: The plugin or its TOML file is broken, or the file holds other code.
        """
        if self.error:
            raise PluginError(self.error)
        method = load_method(self.key, self.path, code)
        try:
            check_presets(self._toml, method.Config)
            read_search(self._toml, method.Config)
        except SpecError as error:
            raise PluginError(str(error)) from None
        return method

    def presets(self) -> dict[str, Any]:
        """The ``[preset.*]`` tables of ``<key>.toml`` beside the plugin, {} without one."""
        return read_table(self._toml, "preset")

    @property
    def search(self) -> Mapping[str, Range]:
        """Ranges of the searched settings, by name: the table ``[search]`` of ``<key>.toml``, {} without one.

        Raises:
            PluginError: The plugin is broken, or its table is.
        """
        return read_search(self._toml, self.load().Config)

    @property
    def _toml(self) -> Path:
        return self.path.with_suffix(".toml")

    def configure(self, dataset: str, noise: str, settings: Mapping[str, Any]) -> Any:
        """The method's Config: its defaults, under its presets for the data set and noise, under ``settings``.

        SpecError names an unknown key or a wrong type, and the nearest key.
        """
        config_class = self.load().Config
        values = preset_values(self.presets(), config_class, dataset, noise)
        return build(config_class, {**values, **settings}, self.key)

    def restore_config(self, values: Mapping[str, Any]) -> Any:
        """The Config that a spec holds as plain values."""
        return build(self.load().Config, values, self.key)


def discover(folders: Sequence[str | Path] = ()) -> dict[str, Plugin]:
    """All plugins by key: built in, entry points of the group ``fer_bench.methods``, then ``folders`` (or files).

    Raises:
        SpecError: One of ``folders`` is not there.
    """
    found: dict[str, Plugin] = {}
    for plugin in (*_built_in(), *_entry_points(), *_in_folders(folders)):
        known = found.get(plugin.key)
        if known is None:
            found[plugin.key] = plugin
        elif known.path.resolve() != plugin.path.resolve():  # otherwise one file was named twice
            error = (
                f"two plugins claim the key {plugin.key!r}: {known.path} ({known.origin}) and {plugin.path} "
                f"({plugin.origin})"
            )
            found[plugin.key] = Plugin(plugin.key, known.path, known.origin, error)
    return dict(sorted(found.items()))


def _plugin(key: str, path: Path, origin: str, error: str = "") -> Plugin:
    if not KEY.fullmatch(key):
        error = f"{path}: {key!r} is not a method key (lower-case letters, digits and _)"
    return Plugin(key, path, origin, error)


def _built_in() -> Iterator[Plugin]:
    package = importlib.util.find_spec(BUILT_IN)
    for folder in (package.submodule_search_locations or []) if package else []:
        for path in _python_files(Path(folder)):
            yield _plugin(path.stem, path, "built in")


def _entry_points() -> Iterator[Plugin]:
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            module = importlib.util.find_spec(entry.module)
            reason = f"no module {entry.module}"
        except (Exception, SystemExit) as error:  # its parent package is missing or broken, and is run to look inside
            module, reason = None, f"no module {entry.module} ({type(error).__name__}: {error})"
        origin = f"package {entry.dist.name if entry.dist else '?'}"
        if module is None or module.origin is None:
            yield _plugin(entry.name, Path(entry.value), origin, f"entry point {entry.name}: {reason}")
        else:
            yield _plugin(entry.name, Path(module.origin), origin)


def _in_folders(folders: Sequence[str | Path]) -> Iterator[Plugin]:
    for folder in map(Path, folders):
        require(folder.exists(), f"--plugins {folder}: no such file or folder")
        require(folder.is_dir() or folder.suffix == ".py", f"--plugins {folder}: neither a folder nor a .py file")
        for path in _python_files(folder) if folder.is_dir() else [folder]:
            yield _plugin(path.stem, path, str(folder))


def _python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.name.startswith(("_", "test_", "conftest")))


def unknown_method(name: str, known: Iterable[str]) -> str:
    """The message on an unknown method: the nearest keys, and how to name a method of the user."""
    file = Path(name if name.endswith(".py") else f"{name}.py")
    if file.is_file():
        return f"unknown method {name!r}; a file is named with --plugins {file}, and its method is {file.stem!r}"
    near = nearest(name, known)
    joint = " A" if near.endswith("?") else "; a"
    return f"unknown method {name!r}{near}{joint} method of your own needs --plugins FILE"


def choose(patterns: Iterable[str], plugins: Mapping[str, Plugin]) -> list[str]:
    """The methods that are asked for, sorted.

    Args:
        patterns: Keys, globs, ``family:NAME`` for the methods of a family, or ``all`` for every usable method.
        plugins: All methods.

    Raises:
        SpecError: A pattern matches no method, or there is no such family; it names the nearest.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        if pattern == "all":
            matches = [key for key, plugin in plugins.items() if not plugin.error]
        elif pattern.startswith(FAMILY):
            family = pattern.removeprefix(FAMILY)
            matches = _of_family(family, plugins)
            require(bool(matches), f"no method of the family {family!r}; there are: {', '.join(plugins)}")
        else:
            matches = fnmatch.filter(plugins, pattern)
        if not matches:
            raise SpecError(unknown_method(pattern, plugins))
        chosen.update(matches)
    if not chosen:
        raise SpecError("no method was named; see `fer-bench methods`")
    return sorted(chosen)


def _of_family(name: str, plugins: Mapping[str, Plugin]) -> list[str]:
    """The methods of a family. Those that cannot be loaded belong to none."""
    from fer_bench.core.families import FAMILIES

    require(name in FAMILIES, f"unknown family {name!r}{nearest(name, FAMILIES)}")
    found = []
    for key, plugin in plugins.items():
        with contextlib.suppress(PluginError):
            if plugin.load().info.family == name:
                found.append(key)
    return found


def settings_by_method(assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``key.field=value`` strings as {key: {field: value}}. SpecError for a string of another form."""
    form = "method.field=value"
    settings: dict[str, dict[str, Any]] = {}
    for text in assignments:
        target, value = parse_assignment(text, "--set", form)
        key, _, name = target.partition(".")
        require(bool(key and name), f"--set {text!r} is not of the form {form}")
        values = settings.setdefault(key, {})
        require(name not in values, f"--set gives {target} twice")
        values[name] = value
    return settings


def describe_config(config: Any) -> dict[str, Any]:
    """A Config as plain values, for the spec."""
    return asdict(config)


def plugin_folders(given: Sequence[str]) -> list[str]:
    """The folders of ``--plugins`` and of the variable FER_BENCH_PLUGINS."""
    return [*given, *filter(None, os.environ.get("FER_BENCH_PLUGINS", "").split(os.pathsep))]
