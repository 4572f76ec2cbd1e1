"""A method of one's own: writes one that runs at once, and checks one against the contract."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from fer_bench.registry import KEY, Plugin, PluginError, discover, plugin_folders
from fer_bench.spec import nearest, require

TEMPLATES = ("loss", "two-networks")
_FILES = {
    "{key}.py": "{template}.py.txt",
    "{key}.toml": "{template}.toml.txt",
    "test_{key}.py": "{template}_test.py.txt",
}
_HERE = Path(__file__).with_name("templates")
LOADS = (
    "loads",
    "the file can be imported and defines one Method with an Info; its hooks and presets fit the contract",
)


def new_method(key: str, template: str = "loss", folder: Path = Path()) -> list[Path]:
    """Writes ``<key>.py``, ``<key>.toml`` and ``test_<key>.py`` from a template. SpecError rather than overwrite."""
    require(template in TEMPLATES, f"unknown template {template!r}{nearest(template, TEMPLATES)}")
    targets = {folder / name.format(key=key): source.format(template=template) for name, source in _FILES.items()}
    for path in targets:
        require(not path.exists(), f"{path} exists already; nothing was written")
    _check_key(key)
    # The templates are plugins called my_method themselves, so each can be read, and tested, as it is.
    texts = {path: (_HERE / source).read_text(encoding="utf-8") for path, source in targets.items()}
    class_name = _class_name(key, "".join(texts.values()))
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text.replace("my_method", key).replace("MyMethod", class_name), encoding="utf-8")
    return list(targets)


def next_commands(key: str, folder: Path) -> str:
    """What to type after :func:`new_method`."""
    text = (_HERE / "next.txt").read_text(encoding="utf-8").rstrip()
    file = shlex.quote(str(folder / f"{key}.py"))
    return text.format(file=file, folder=shlex.quote(str(folder)), key=key)


def _check_key(key: str) -> None:
    simple = re.sub(r"\W+|(?<=[a-z0-9])(?=[A-Z])", "_", key).strip("_").lower()
    hint = f"; {simple!r} is one" if KEY.fullmatch(simple) else ""
    require(bool(KEY.fullmatch(key)), f"{key!r} is no method key (lower-case letters, digits and _){hint}")
    require(not key.startswith(("test_", "conftest")), f"{key!r}: files of that name are tests, which discovery skips")
    require(not keyword.iskeyword(key), f"{key!r} is a word of Python's own")
    known = discover(plugin_folders(()))
    require(key not in known, f"there is a method {key!r} already: {known[key].path if key in known else ''}")
    taken = importlib.util.find_spec(key)
    require(taken is None, f"{key!r} is the name of a Python module, which a file {key}.py could hide")


def _class_name(key: str, text: str) -> str:
    """CamelCase, and no name that the template uses already."""
    name = "".join(part.capitalize() for part in key.split("_"))
    return (
        f"{name}Method" if keyword.iskeyword(name) or re.search(rf"\b{name}\b", text.replace("MyMethod", "")) else name
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
    from fer_bench.testing import CHECKS, Bench

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
