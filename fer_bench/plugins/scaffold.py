"""A method of the user: writes one that runs at once, and checks one against the contract."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
from pathlib import Path

from fer_bench.core.errors import nearest, require
from fer_bench.plugins.registry import KEY, discover, plugin_folders

TEMPLATES = ("loss", "two-networks")

_FILES = {
    "{key}.py": "{template}.py.txt",
    "{key}.toml": "{template}.toml.txt",
    "test_{key}.py": "{template}_test.py.txt",
}

_HERE = Path(__file__).with_name("templates")


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
        with path.open("x", encoding="utf-8") as file:  # a link that leads nowhere is not followed
            file.write(text.replace("my_method", key).replace("MyMethod", class_name))
    return list(targets)


def next_commands(key: str, folder: Path) -> str:
    """What to type after :func:`new_method`."""
    text = (_HERE / "next.txt").read_text(encoding="utf-8").rstrip()
    file = shlex.quote(str(folder / f"{key}.py"))
    return text.format(file=file, folder=shlex.quote(str(folder)), key=key)


def _check_key(key: str) -> None:
    simple = re.sub(r"\W+|(?<=[a-z0-9])(?=[A-Z])", "_", key).strip("_").lower()
    hint = f"; {simple!r} is one" if KEY.fullmatch(simple) else ""
    require(bool(KEY.fullmatch(key)), f"{key!r} is not a method key (lower-case letters, digits and _){hint}")
    require(not key.startswith(("test_", "conftest")), f"{key!r}: files of that name are tests, which discovery skips")
    require(not keyword.iskeyword(key), f"{key!r} is a keyword of Python")
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
