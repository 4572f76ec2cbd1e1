"""Writes the collected values into one HTML file, with its styles, scripts and data."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

from jinja2 import DictLoader, Environment
from markupsafe import Markup

from fer_bench.core.text import counted

VENDOR = ("vendor/plotly-cartesian.min.js", "vendor/datatables.min.js")

OWN = (
    "core",
    "tuning",
    "table",
    "curves",
    "classes",
    "detection",
    "winners",
    "ranks",
    "labels",
    "weights",
    "gallery",
    "runs",
    "main",
)
"""The page's scripts in the order in which they run. Each is one section, except the first and the last."""


def render(content: dict[str, Any]) -> str:
    """The page as one HTML text.

    Data are JSON in a script element that browsers do not run. The security policy lists the hash of each script that
    is run, so no text from data can become one, and nothing can be loaded from anywhere.

    Args:
        content: From :func:`fer_bench.report.html.collect.collect`.
    """
    scripts = [_asset(name) for name in VENDOR]
    scripts.append("\n".join(['"use strict";', *(_asset(f"assets/{name}.js") for name in OWN)]))
    return _page(
        "page.html",
        [_unclosed(script) for script in scripts],
        title=f"{content['sweep']}: fer-bench",
        data=Markup(embedded(_for_scripts(content))),
        content=content,
    )


def _for_scripts(content: dict[str, Any]) -> dict[str, Any]:
    """What the scripts need. The parts of settings are in ``settings`` alone."""
    settings = content.get("settings", [])
    left_out = {"answer", "index"}.union(*(each["part"] for each in settings))
    found = {name: value for name, value in content.items() if name not in left_out}
    if settings:
        sent = [{**each, "part": {k: v for k, v in each["part"].items() if k != "answer"}} for each in settings]
        found["settings"] = sent
    return found


def render_index(entries: Any, columns: Any, families: Any) -> str:
    """The index of several sweeps as one HTML text, from the values of :mod:`fer_bench.report.html.site`.

    Args:
        entries: Every sweep.
        columns: The sweeps that are compared.
        families: Rows of methods by family.
    """
    theme = (
        "document.documentElement.dataset.theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'"
    )
    ranked = any(row.rank for rows in families.values() for row in rows)
    values = {"entries": entries, "columns": columns, "families": families, "ranked": ranked}
    return _page("index.html", [theme], title="fer-bench", **values)


def _page(name: str, scripts: list[str], **values: Any) -> str:
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    pages = {each: _asset(f"assets/{each}") for each in ("page.html", "answer.html", "index.html")}
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=DictLoader(pages))
    environment.filters["counted"] = counted
    style, scripts_ = Markup(_asset("assets/page.css")), [Markup(script) for script in scripts]
    return environment.get_template(name).render(policy=policy, style=style, scripts=scripts_, **values)


def embedded(content: Any) -> str:
    """The content as JSON that cannot end the element that holds it."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _unclosed(script: str) -> str:
    """The script as browsers read it, with line feeds as line ends. It must hold no end tag of a script."""
    if "</script" in script.lower():
        raise ValueError("a script of the page holds an end tag")
    return script.replace("\r\n", "\n")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
