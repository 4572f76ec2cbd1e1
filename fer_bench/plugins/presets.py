"""Settings of a method for a data set and a noise: the ``[preset.*]`` tables of ``<key>.toml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from fer_bench.core.errors import nearest, require
from fer_bench.core.presets import read_toml
from fer_bench.core.schema import build
from fer_bench.plugins.ranges import Range, read_ranges

TABLES = {"preset": "presets are tables [preset.DATASET]", "search": "ranges are entries of a table [search]"}
"""Tables that ``<key>.toml`` beside a plugin may have."""


def read_table(path: Path, name: str) -> dict[str, Any]:
    """One of TABLES from the file ``path``, {} if it has none or is not there.

    Raises:
        SpecError: The file is no TOML, or holds another table.
    """
    content = read_toml(path) if path.exists() else {}
    for other in content:
        require(other in TABLES, f"{path}: unknown table [{other}]; presets are [preset.DATASET], ranges [search]")
    table = content.get(name, {})
    require(isinstance(table, Mapping), f"{path}: {TABLES[name]}")
    return table


def read_search(path: Path, config_class: type) -> Mapping[str, Range]:
    """Ranges of the searched settings, by name: the table ``[search]``. SpecError for one that fits no setting."""
    return read_ranges(read_table(path, "search"), config_class, f"{path}: [search]")


def preset_values(presets: Mapping[str, Any], config_class: type, dataset: str, noise: str) -> dict[str, Any]:
    """The settings of the presets for a data set, and over them those for a noise ("clean", "symmetric 0.3")."""
    preset = presets.get(dataset, {})
    names = {field.name for field in fields(config_class)}
    values = {key: entry["value"] for key, entry in preset.items() if key in names}  # the others are noises
    special = preset.get(noise.replace(" ", "-"), {})
    return values | {key: entry["value"] for key, entry in special.items()}


def check_presets(path: Path, config_class: type) -> None:
    """Checks all presets: one that is dropped without a word would look as if it had been used.

    Raises:
        SpecError: A preset fits no setting, or has no value.
    """
    names = {field.name for field in fields(config_class)}
    for dataset, table in read_table(path, "preset").items():
        require(
            isinstance(table, Mapping) and "value" not in table,
            f"{path}: presets belong to a data set: [preset.DATASET], then {dataset} = …",
        )
        for where, entries in _parts(path, dataset, table, names):
            for name, entry in entries.items():
                require(
                    name not in names or (isinstance(entry, Mapping) and "value" in entry),
                    f'{where}: write {name} = {{ value = …, source = "…" }}',
                )
            values = {n: entry.get("value") if isinstance(entry, Mapping) else entry for n, entry in entries.items()}
            build(config_class, values, where)


def _parts(path: Path, dataset: str, table: Mapping[str, Any], names: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, entries) of the settings for a data set, and for each noise of it on top of them."""
    from fer_bench.data.noise.kinds import KINDS

    start = f"[preset.{dataset}"
    noises = {n: e for n, e in table.items() if n not in names and isinstance(e, Mapping) and "value" not in e}
    plain = {name: entry for name, entry in table.items() if name not in noises}
    for noise in noises:
        require(
            _is_noise(noise),
            f'{path}: {start}]: {noise!r} is no setting and no noise (as in {start}."symmetric-0.3"])'
            + nearest(noise, [*names, *KINDS]),
        )
    yield f"{path}: {start}]", plain
    for noise, entries in noises.items():
        yield f"{path}: {start}.{noise}]", {**plain, **entries}


def _is_noise(name: str) -> bool:
    """Whether ``name`` is a noise as run names have it, with a dash: "clean", "human", "symmetric-0.3"."""
    from fer_bench.data.noise.kinds import KINDS

    kind, _, rate = name.rpartition("-")
    if name == "clean" or name in KINDS:
        return True
    try:
        return kind in KINDS and float(rate) > 0 and rate == f"{float(rate):g}"
    except ValueError:
        return False
