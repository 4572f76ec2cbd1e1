"""The hash of a method's code, which is part of the key of its runs.

It does not depend on layout, comments, docstrings or the version of Python, and it leaves out what a method only says
of itself: ``info`` and ``remarks``.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

DIGITS = 12


def code_hash(path: Path, source: bytes | None = None) -> str:
    """The hash of the method in a file, and of the modules beside it that it imports, directly or not.

    Args:
        path: The file.
        source: What was read of it, if it was read before.

    Returns:
        12 hexadecimal digits.

    Raises:
        OSError: A file cannot be read.
    """
    return _hash(hashed_text(path, source))


def source_hash(source: str) -> str:
    """The hash of a file with this source that imports nothing from its own folder."""
    return _hash(_serialized(source.encode())[0])


def hashed_text(path: Path, source: bytes | None = None) -> str:
    """What is hashed: the serialized program, then name and program of each helper, in the order of their names."""
    folder = path.parent
    texts: dict[Path, str] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        texts[file], tree = _serialized(source if file == path and source is not None else file.read_bytes())
        beside = {_beside(name, folder) for name in _imported(tree)}
        waiting += [helper for helper in beside if helper and helper not in (*texts, *waiting)]
    helpers = sorted((file.relative_to(folder).as_posix(), text) for file, text in texts.items() if file != path)
    return "\n".join([texts[path], *(part for helper in helpers for part in helper)])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:DIGITS]


def _serialized(source: bytes) -> tuple[str, ast.Module | None]:
    """What is hashed of a file, and its syntax tree; the source and None where it cannot be parsed."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source.decode(errors="surrogateescape"), None
    _remove_words(tree)
    return serialize(tree), tree


def serialize(value: object) -> str:
    """A syntax tree as text: the types of its nodes and their fields that are not empty, in order.

    Unlike ``ast.dump``, whose format and defaults change between versions of Python, this gives one text for one
    program: fields that a later version adds are empty where the program does not use them.
    """
    if isinstance(value, ast.Constant):
        return f"Constant({type(value.value).__name__} {value.value!a})"
    if isinstance(value, ast.JoinedStr):  # Python 3.12 leaves empty texts in format specifications
        parts = (serialize(part) for part in value.values if not _is_empty(part))
        return f"JoinedStr({', '.join(parts)})"
    if isinstance(value, ast.AST):
        fields = ((name, getattr(value, name, None)) for name in value._fields)
        inside = ", ".join(f"{name}={serialize(each)}" for name, each in fields if each is not None and each != [])
        return f"{type(value).__name__}({inside})"
    if isinstance(value, list):
        return f"[{', '.join(map(serialize, value))}]"
    return ascii(value)


def _is_empty(part: ast.expr) -> bool:
    return isinstance(part, ast.Constant) and part.value == ""


def _remove_words(tree: ast.Module) -> None:
    """Removes docstrings, and from the method's class ``info`` and ``remarks``."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [part for part in body if not _is_docstring(part)]
    method = method_class(tree)
    if method is not None:
        method.body[:] = [part for part in method.body if not _only_describes(part)]


def method_class(tree: ast.Module) -> ast.ClassDef | None:
    """The one class of a file that is derived from ``Method``; None if there are none or several."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and _is_method(node)]
    return classes[0] if len(classes) == 1 else None


def _is_docstring(part: ast.AST) -> bool:
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)


def _is_method(node: ast.ClassDef) -> bool:
    return any(_last_name(base) == "Method" for base in node.bases)


def _only_describes(part: ast.stmt) -> bool:
    """Whether a statement of the method's class is ``info = Info(...)`` or defines ``remarks``."""
    if isinstance(part, ast.FunctionDef):
        return part.name == "remarks"
    return info_call(part) is not None


def info_call(part: ast.stmt) -> ast.Call | None:
    """``Info(...)`` of the statement ``info = Info(...)``; None for any other statement."""
    if not isinstance(part, ast.Assign) or not isinstance(part.value, ast.Call):
        return None
    is_info = [_last_name(target) for target in part.targets] == ["info"] and _last_name(part.value.func) == "Info"
    return part.value if is_info else None


def _last_name(node: ast.AST) -> str:
    """``Method`` of ``Method`` and of ``fer_bench.method.Method``, "" of anything else."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _imported(tree: ast.Module | None) -> Iterator[str]:
    """Names of modules that a file may import, with their parents; a name that is no module leads to no file."""
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            names = [start, *(f"{start}.{alias.name}".lstrip(".") for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _beside(name: str, folder: Path) -> Path | None:
    """The file of a module in a folder, None if it is not there.

    A module is named from the folder (``helper``), or from the top of the package that the folder belongs to
    (``package.methods.helper``).
    """
    package: list[str] = []
    top = folder
    while (top / "__init__.py").is_file():
        package.insert(0, top.name)
        top = top.parent
    parts = name.split(".")
    if package and parts[: len(package)] == package:
        parts = parts[len(package) :]
    if not parts or parts[0] in ("", "fer_bench"):  # fer-bench has a version of its own
        return None
    base = folder.joinpath(*parts)
    found = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in found if file.is_file()), None)
