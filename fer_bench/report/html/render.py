"""From the collected values to one HTML file: template, styles, scripts and data in it, and nothing outside it."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

VENDOR = ("vendor/plotly-cartesian.min.js", "vendor/datatables.min.js")

OWN = ("core", "table", "curves", "classes", "detection", "ranks", "labels", "weights", "gallery", "runs", "main")
"""The page's scripts in the order in which they run; each is one section, but for the first and the last."""


def render(content: dict[str, Any]) -> str:
    """The page. Data are JSON in a script element that is not run; the security policy names the hash of each script
    that is, so no text from data can become one, and nothing can be loaded from anywhere."""
    scripts = [_asset(name) for name in VENDOR]
    scripts.append("\n".join(['"use strict";', *(_asset(f"assets/{name}.js") for name in OWN)]))
    scripts = [_unclosed(script) for script in scripts]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("assets/page.html")).render(
        title=f"{content['sweep']}: fer-bench",
        policy=policy,
        style=Markup(_asset("assets/page.css")),
        scripts=[Markup(script) for script in scripts],
        data=Markup(embedded(content)),
        content=content,
    )


def embedded(content: Any) -> str:
    """JSON that cannot end the element which holds it."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _unclosed(script: str) -> str:
    """The script as the browser will read it: line ends are \\n, and no end tag inside it."""
    if "</script" in script.lower():
        raise ValueError("a script of the page holds an end tag")
    return script.replace("\r\n", "\n")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
