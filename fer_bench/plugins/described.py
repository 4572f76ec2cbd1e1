"""What a method's file says of itself, read without running it: old results are shown without the code of strangers."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from fer_bench.plugins.code_hash import info_call, method_class

BASELINE = "baseline"
"""``Info.kind`` of a method that others are compared with."""


@dataclass(frozen=True)
class Described:
    """What tables and figures say of a method.

    Attributes:
        name: Its usual name; the key where its file gives none.
        baseline: Whether it is a baseline.
        family: A key of FAMILIES; "" for none.
    """

    name: str
    baseline: bool = False
    family: str = ""


def described(key: str, path: Path) -> Described:
    """Reads the method's ``Info(...)``. A file that cannot be read or parsed gives its key."""
    try:
        method = method_class(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError, RecursionError):
        method = None
    calls = [call for part in (method.body if method else ()) if (call := info_call(part))]
    texts = {
        keyword.arg: keyword.value.value
        for call in calls
        for keyword in call.keywords
        if isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }
    return Described(texts.get("name") or key, texts.get("kind") == BASELINE, texts.get("family", ""))
