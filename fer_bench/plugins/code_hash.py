"""The hash of the code of a plugin."""

from __future__ import annotations

import ast
import hashlib


def code_hash(source: bytes) -> str:
    """12 hexadecimal digits that change with the code, not with its layout, comments and docstrings."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return hashlib.sha256(source).hexdigest()[:12]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [part for part in body if not _only_says(part, node)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]


def _only_says(part: ast.AST, parent: ast.AST) -> bool:
    """Docstrings, and what a method's class says for tables and its card, change no number."""
    if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
        return True
    if not isinstance(parent, ast.ClassDef):
        return False
    if isinstance(part, ast.FunctionDef):
        return part.name == "remarks"
    return isinstance(part, ast.Assign) and [ast.unparse(target) for target in part.targets] == ["info"]
