"""Imports the method in a plugin's file and checks it against the contract."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from fer_bench.core.errors import PluginError
from fer_bench.plugins.code_hash import code_hash

if TYPE_CHECKING:
    from fer_bench.method import Method


def load_method(key: str, path: Path, code: str = "") -> type[Method]:
    """The one Method subclass of a file.

    Args:
        key: Name of the method, for messages.
        path: The file.
        code: Hash of the code that the file must hold; "" for any.

    Raises:
        PluginError: The file cannot be read or imported, holds other code, or its class does not fit the contract.
    """
    return _load(key, path, path.resolve(), read_source(path, code))


def read_source(path: Path, code: str = "") -> bytes:
    """The content of a file. PluginError where it cannot be read or holds other code than that of the hash."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PluginError(f"{path} cannot be read ({error.strerror})") from None
    if code and code_hash(path, source) != code:
        raise PluginError(f"{path} was changed since the sweep was planned; start the command again")
    return source


@cache
def _load(key: str, path: Path, _resolved: Path, source: bytes) -> type[Method]:
    """The class in a file. It is loaded again if the file was edited or the current folder is another one."""
    from fer_bench.method import Info, Method

    module = import_file(key, path, source)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise PluginError(f"{path} must define exactly one subclass of fer_bench.method.Method, not {len(classes)}")
    if not isinstance(getattr(classes[0], "info", None), Info):
        raise PluginError(f"{path}: {classes[0].__name__}.info must be a fer_bench.method.Info")
    _check_hooks(classes[0], path)
    _check_needs(classes[0], path)
    return classes[0]


def import_file(key: str, path: Path, source: bytes) -> ModuleType:
    """Runs what was read of a file as a module. PluginError names the lines of the file that led to an error."""
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
    return module


def _lines(error: BaseException, path: Path) -> str:
    """The lines of the file, one below the other, that led to an error in it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return "".join(f"\n  line {frame.lineno} in {frame.name}: {frame.line}" for frame in own)


def _check_hooks(method: type[Method], path: Path) -> None:
    """PluginError for a hook that the engine could not call."""
    from fer_bench.method import Method

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


def _check_needs(method: type[Method], path: Path) -> None:
    """PluginError unless the method needs something with its default settings."""
    from fer_bench.method import Needs

    try:
        needs = method.needs(method.Config())
    except Exception as error:
        raise PluginError(
            f"{path}: needs(Config()) raises {type(error).__name__}: {error} (every setting needs a default)"
        ) from None
    if not isinstance(needs, Needs):
        raise PluginError(f"{path}: needs() must return a fer_bench.method.Needs, not {type(needs).__name__}")
