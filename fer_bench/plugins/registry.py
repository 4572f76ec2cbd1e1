"""Discovery of methods: built-in files, entry points, and ``--plugins`` folders, in one map, without importing any.

A plugin that cannot be loaded stays listed with its error and harms no other.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.errors import PluginError, SpecError, nearest, require
from fer_bench.core.presets import read_toml
from fer_bench.core.schema import build
from fer_bench.plugins.code_hash import code_hash
from fer_bench.plugins.ranges import Range, read_ranges

if TYPE_CHECKING:
    from fer_bench.method import Method

BUILT_IN = "fer_bench_methods"

GROUP = "fer_bench.methods"

KEY = re.compile(r"[a-z][a-z0-9_]*")

TABLES = {"preset": "presets are tables [preset.DATASET]", "search": "ranges are entries of a table [search]"}
"""Tables that ``<key>.toml`` beside a plugin may have."""

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
    """Where a method is, and why it cannot be used if it cannot."""

    key: str
    path: Path
    origin: str
    """"built in", "package NAME" or the folder."""
    error: str = ""

    @property
    def code(self) -> str:
        """12 hexadecimal digits that change with the plugin's code, not with its layout, its comments and docstrings,
        ``info`` and ``remarks``."""
        return code_hash(self.path.read_bytes())

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
            PluginError: The plugin or its presets are broken, or the file holds other code.
        """
        if self.error:
            raise PluginError(self.error)
        try:
            source = self.path.read_bytes()
        except OSError as error:
            raise PluginError(f"{self.path} cannot be read ({error.strerror})") from None
        if code and code_hash(source) != code:
            raise PluginError(f"{self.path} was changed since the sweep was planned; start the command again")
        method = _load(self.key, self.path, self.path.resolve(), source)
        try:
            _check_presets(self.path.with_suffix(".toml"), self.presets(), method.Config)
            self._ranges(method.Config)
        except SpecError as error:
            raise PluginError(str(error)) from None
        return method

    def presets(self) -> dict[str, Any]:
        """The ``[preset.*]`` tables of ``<key>.toml`` beside the plugin, {} without one."""
        return self._table("preset")

    @property
    def search(self) -> Mapping[str, Range]:
        """Ranges of the searched settings, by name: the table ``[search]`` of ``<key>.toml``, {} without one.

        Raises:
            PluginError: The plugin is broken, or its table is.
        """
        return self._ranges(self.load().Config)

    def _ranges(self, config_class: type) -> Mapping[str, Range]:
        return read_ranges(self._table("search"), config_class, f"{self.path.with_suffix('.toml')}: [search]")

    def _table(self, name: str) -> dict[str, Any]:
        """One of TABLES, {} if the file has none."""
        path = self.path.with_suffix(".toml")
        content = read_toml(path) if path.exists() else {}
        for other in content:
            require(other in TABLES, f"{path}: unknown table [{other}]; presets are [preset.DATASET], ranges [search]")
        table = content.get(name, {})
        require(isinstance(table, Mapping), f"{path}: {TABLES[name]}")
        return table

    def configure(self, dataset: str, noise: str, settings: Mapping[str, Any]) -> Any:
        """The method's Config: its defaults, under its presets for the data set and noise, under ``settings``.

        SpecError names an unknown key or a wrong type, and the nearest key.
        """
        config_class = self.load().Config
        preset = self.presets().get(dataset, {})
        names = {field.name for field in fields(config_class)}
        values = {key: entry["value"] for key, entry in preset.items() if key in names}  # the others are noises
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
        if key in found and found[key].path.resolve() == path.resolve():
            return  # one file, named twice
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
            reason = f"no module {entry.module}"
        except (Exception, SystemExit) as error:  # its parent package is missing or broken, and is run to look inside
            module, reason = None, f"no module {entry.module} ({type(error).__name__}: {error})"
        package = entry.dist.name if entry.dist else "?"
        if module is None or module.origin is None:
            add(
                entry.name,
                Path(entry.value),
                f"package {package}",
                f"entry point {entry.name}: {reason}",
            )
        else:
            add(entry.name, Path(module.origin), f"package {package}")
    for place in map(Path, folders):
        if not place.exists():
            raise SpecError(f"--plugins {place}: no such file or folder")
        require(place.is_dir() or place.suffix == ".py", f"--plugins {place}: neither a folder nor a .py file")
        for path in _python_files(place) if place.is_dir() else [place]:
            add(path.stem, path, str(place))
    return dict(sorted(found.items()))


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
            matches = _of_family(pattern.removeprefix(FAMILY), plugins)
        else:
            matches = fnmatch.filter(plugins, pattern)
        if not matches:
            raise SpecError(f"unknown method {pattern!r}{nearest(pattern, plugins)}")
        chosen.update(matches)
    if not chosen:
        raise SpecError("no method was named; see `fer-bench methods`")
    return sorted(chosen)


def _of_family(name: str, plugins: Mapping[str, Plugin]) -> list[str]:
    """The methods of a family. Those that cannot be loaded belong to none."""
    from fer_bench.method import FAMILIES

    require(name in FAMILIES, f"unknown family {name!r}{nearest(name, FAMILIES)}")
    found = []
    for key, plugin in plugins.items():
        with contextlib.suppress(PluginError):
            if plugin.load().info.family == name:
                found.append(key)
    return found


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


@cache
def _load(key: str, path: Path, _place: Path, source: bytes) -> type[Method]:
    """The class in a file; anew where the file was edited, as in a notebook, or another folder is the current one."""
    from fer_bench.method import Info, Method

    name = f"fer_bench_plugin_{key}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # what was hashed, and no older byte code
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"{path}: {type(error).__name__}: {error}{_lines(error, path)}") from None
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == name
    ]
    if len(classes) != 1:
        raise PluginError(f"{path} must define exactly one subclass of fer_bench.method.Method, not {len(classes)}")
    if not isinstance(getattr(classes[0], "info", None), Info):
        raise PluginError(f"{path}: {classes[0].__name__}.info must be a fer_bench.method.Info")
    _check_class(classes[0], path)
    return classes[0]


def _lines(error: BaseException, path: Path) -> str:
    """The lines of the file, one below the other, that led to an error in it."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return "".join(f"\n  line {frame.lineno} in {frame.name}: {frame.line}" for frame in mine)


def _check_class(method: type[Method], path: Path) -> None:
    """PluginError for what would only fail, or be ignored, once training has begun."""
    from fer_bench.method import Method, Needs

    for name, base in vars(Method).items():
        own = inspect.getattr_static(method, name)
        plain = inspect.isfunction(base) or isinstance(base, classmethod)
        if own is base or not plain or isinstance(own, staticmethod) or not callable(getattr(method, name)):
            continue
        wanted = inspect.signature(getattr(Method, name)).parameters.values()
        names = [p.name for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD]
        signature = inspect.signature(getattr(method, name))
        try:
            signature.bind(*names)
        except TypeError:
            kind = "@classmethod " if isinstance(base, classmethod) else ""
            raise PluginError(
                f"{path}: {method.__name__}.{name}{signature} cannot be called as {kind}{name}({', '.join(names)})"
            ) from None
    try:
        needs = method.needs(method.Config())
    except Exception as error:
        raise PluginError(
            f"{path}: needs(Config()) raises {type(error).__name__}: {error} (every setting needs a default)"
        ) from None
    if not isinstance(needs, Needs):
        raise PluginError(f"{path}: needs() must return a fer_bench.method.Needs, not {type(needs).__name__}")


def _check_presets(path: Path, presets: Mapping[str, Any], config_class: type) -> None:
    """SpecError for a preset that fits no setting: dropped in silence, it would look as if it had been used."""
    from fer_bench.data.noise.kinds import KINDS

    names = {field.name for field in fields(config_class)}
    for dataset, table in presets.items():
        where = f"{path}: [preset.{dataset}]"
        require(
            isinstance(table, Mapping) and "value" not in table,
            f"{path}: presets belong to a data set: [preset.DATASET], then {dataset} = …",
        )
        noises = {n: e for n, e in table.items() if n not in names and isinstance(e, Mapping) and "value" not in e}
        for noise in noises:
            near = nearest(noise, [*names, *KINDS])
            example = f'{where[:-1]}."symmetric-0.3"]'.removeprefix(f"{path}: ")
            require(_is_noise(noise, KINDS), f"{where}: {noise!r} is no setting and no noise (as in {example}){near}")
        plain = {name: entry for name, entry in table.items() if name not in noises}
        for part, entries in ((where, plain), *((f"{where[:-1]}.{n}]", {**plain, **e}) for n, e in noises.items())):
            for name, entry in entries.items():
                require(
                    name not in names or (isinstance(entry, Mapping) and "value" in entry),
                    f'{part}: write {name} = {{ value = …, source = "…" }}',
                )
            values = {
                name: entry.get("value") if isinstance(entry, Mapping) else entry for name, entry in entries.items()
            }
            build(config_class, values, part)


def _is_noise(name: str, kinds: Iterable[str]) -> bool:
    """Whether ``name`` is a noise as run names have it, with a dash: "clean", "human", "symmetric-0.3"."""
    kind, _, rate = name.rpartition("-")
    if name == "clean" or name in kinds:
        return True
    try:
        return kind in kinds and float(rate) > 0 and rate == f"{float(rate):g}"
    except ValueError:
        return False


def plugin_folders(given: Sequence[str]) -> list[str]:
    """The folders of ``--plugins`` and of the variable FER_BENCH_PLUGINS."""
    return [*given, *filter(None, os.environ.get("FER_BENCH_PLUGINS", "").split(os.pathsep))]
