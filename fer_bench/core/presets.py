"""Presets: whole training recipes in TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from fer_bench.core.errors import SpecError, nearest, require
from fer_bench.core.schema import build
from fer_bench.core.spec import Recipe

PRESETS = ("quick", "faces", "standard", "paper")


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file. SpecError names the file, and the line that is wrong."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read {path}: {error}") from None
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, brackets in brackets
        raise SpecError(f"{path} is not valid TOML: {error}") from None


def load_preset(name: str, **overrides: Any) -> Recipe:
    """Loads a preset.

    Args:
        name: ``quick``, ``faces``, ``standard``, ``paper``, or the path of a TOML file.
        overrides: Settings that replace those of the preset; None leaves a setting as it is.

    Raises:
        SpecError: The preset or a setting is unknown, or a value is wrong.
    """
    path = preset_path(name)
    require(name.endswith(".toml") or name in PRESETS, f"unknown preset {name!r}{nearest(name, PRESETS)}")
    given = {key: value for key, value in overrides.items() if value is not None}
    return build(Recipe, {**_with_base(path), **given}, f"preset {name}")


def _with_base(path: Path) -> dict[str, Any]:
    """The settings of a preset file over those of the preset that it names as its ``base``.

    A table replaces single settings, too: an ``[augmentation]`` with one line leaves the others as in the base.
    """
    values = read_toml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    require(base in PRESETS, f'{path}: base = "{base}" is not a preset of fer-bench{nearest(str(base), PRESETS)}')
    inherited = _with_base(preset_path(base))
    tables = {key: {**inherited.get(key, {}), **value} for key, value in values.items() if isinstance(value, dict)}
    return {**inherited, **values, **tables}


def preset_path(name: str) -> Path:
    """The TOML file of a preset by name, or the file itself where the name is a path."""
    return Path(name) if name.endswith(".toml") else Path(__file__).with_name("recipes") / f"{name}.toml"
