"""Which runs belong together: the rows (methods) and columns (conditions) of every table and plot."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.spec import Noise
from fer_bench.store.folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

UNITS = {"train_size": "{} images", "epochs": "{} epochs", "image_size": "{} px", "backbone": "{}"}
"""How a setting that differs between runs is named; the others as "setting value"."""


def arrange(runs: pd.DataFrame, titles: Mapping[str, str] | None = None, order: Iterable[str] = ()) -> pd.DataFrame:
    """The runs, sorted, each with the names of its row and of its column.

    row        method title; with the settings that differ where one condition holds several variants of a method
    condition  everything that was asked of the run but its seeds: data set if there are several, noise, imbalance,
               and any other setting (image size, epochs, ...) in which the runs differ
    context, setting   the condition without its noise, and without its imbalance: what is fixed in a sweep of the other
    family     the kind of noise, without its rate; "" for clean labels, which are rate 0 of every kind
    base       the condition without noise and imbalance
    told       whether any run of the row was told the noise rate

    Methods come in the given order, then by key. A run that only repeats another (rate 0 of two kinds of noise with the
    same seeds) is dropped. ValueError where runs are of different versions of the protocol: their numbers do not
    compare.
    """
    import pandas as pd

    if runs.empty:
        raise ValueError("there are no finished runs to report")
    versions = sorted(runs["protocol"].unique())
    if len(versions) > 1:
        raise ValueError(f"runs of different protocol versions ({', '.join(map(str, versions))}) cannot share a table")
    frame = runs.reset_index(drop=True).copy()
    specs = [RunFolder(Path(path)).spec or {} for path in frame["path"]]
    settings = pd.DataFrame(
        [_settings(run, spec) for run, spec in zip(frame.to_dict("records"), specs, strict=True)], index=frame.index
    )
    clean = (frame["noise_kind"] == "none") | ((frame["noise_rate"] == 0) & (frame["realised_rate"] == 0))
    modes = settings.loc[~clean, ["noise_mode", "noise_file"]].fillna("")
    named = [name for name in modes if modes[name].nunique() > 1]
    kinds, noises = [], []
    details = settings[named].to_dict("records")
    for kind, rate, plain, detail in zip(frame["noise_kind"], frame["noise_rate"], clean, details, strict=True):
        suffix = "".join(f" {_short(value)}" for value in detail.values() if value)
        kinds.append("" if plain else kind + suffix)
        noises.append("clean" if plain else Noise(kind, rate).label + suffix)
    frame["family"], frame["noise"] = kinds, noises
    frame["imbalance"] = [
        "" if factor == 1 else f"{kind} {factor:g}"
        for kind, factor in zip(frame["imbalance_kind"], frame["imbalance_factor"], strict=True)
    ]
    frame["data"] = [Path(name).name for name in frame["dataset"]]
    different = settings.drop(columns=["noise_mode", "noise_file"]).loc[:, lambda s: s.nunique() > 1]
    frame["extra"] = [
        ", ".join(
            UNITS.get(name, f"{name} {{}}").format(_short(value)) for name, value in row.items() if pd.notna(value)
        )
        for row in different.astype(object).to_dict("records")
    ]
    data = frame["data"] if frame["dataset"].nunique() > 1 else pd.Series("", index=frame.index)

    def join(*columns: Any) -> list[str]:
        return [", ".join(part for part in parts if part) for parts in zip(*columns, strict=True)]

    frame["base"] = join(data, frame["extra"])
    frame["context"] = join(data, frame["imbalance"], frame["extra"])
    frame["setting"] = join(data, frame["noise"], frame["extra"])
    frame["condition"] = join(data, frame["noise"], frame["imbalance"], frame["extra"])
    frame["row"] = _rows(frame, specs, titles or {})
    frame["told"] = frame.groupby("row")["uses_noise_rate"].transform("any")
    rank = {method: place for place, method in enumerate(order)}
    frame["_rank"] = frame["method"].map(lambda method: rank.get(method, len(rank)))
    columns = ["data", "extra", "imbalance_factor", "imbalance", "family", "noise_rate", "_rank", "method", "row"]
    frame = frame.sort_values([*columns, "data_seed", "seed"], kind="stable")
    frame = frame.drop_duplicates(["condition", "row", "data_seed", "seed"]).drop(columns="_rank")
    return frame.reset_index(drop=True)


def unique(frame: pd.DataFrame, column: str) -> list[str]:
    """The values of a column in the order of the arranged runs."""
    return list(dict.fromkeys(frame[column]))


def row_order(frame: pd.DataFrame, order: Iterable[str] = ()) -> list[str]:
    """The rows: methods in the given order, then by key; the first condition need not hold all of them."""
    rank = {method: place for place, method in enumerate(order)}
    pairs = {(rank.get(m, len(rank)), m, row) for m, row in zip(frame["method"], frame["row"], strict=True)}
    return [row for _, _, row in sorted(pairs)]


def _settings(run: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a condition besides data set, noise kind and rate, and imbalance: flat, from the full specification,
    because a row holds no augmentation and no hashes."""
    values: dict[str, Any] = {"noise_mode": run["noise_mode"], "noise_file": spec.get("noise", {}).get("file", "")}
    size = run["train_size"]
    values["train_size"] = "all" if size is None or math.isnan(size) else int(size)
    for name, value in spec.get("recipe", {}).items():
        if isinstance(value, Mapping):
            values |= {f"{name}.{key}": each for key, each in value.items()}
        else:
            values[name] = str(value) if isinstance(value, list) else value
    # a data set of one name with other contents is another data set
    values[f"{Path(run['dataset']).name} data"] = spec.get("fingerprint", "")
    return values


def _rows(frame: pd.DataFrame, specs: list[dict[str, Any]], titles: Mapping[str, str]) -> list[str]:
    """The row of each run. Settings chosen by condition (a preset for each data set) leave a method in one row; two
    variants in one condition are two rows."""
    taken: dict[str, str] = {}
    for method in sorted(frame["method"].unique()):
        title = titles.get(method, method)
        taken[method] = f"{title} ({method})" if title in taken.values() else title
    codes = [spec.get("code", "") for spec in specs]
    labels = [taken[method] for method in frame["method"]]
    places = list(zip(frame["condition"], frame["seed"], frame["data_seed"], strict=True))
    for method, group in frame.groupby("method"):
        variants = {index: (frame.at[index, "config"], codes[index]) for index in group.index}
        cells: dict[tuple[Any, ...], set[tuple[str, str]]] = {}
        for index, variant in variants.items():
            cells.setdefault(places[index], set()).add(variant)
        if max(map(len, cells.values())) == 1:
            continue
        configs = {config: json.loads(config) for config, _ in variants.values()}
        keys = sorted({key for config in configs.values() for key in config})
        apart = [key for key in keys if len({str(config.get(key)) for config in configs.values()}) > 1]
        for index, (config, code) in variants.items():
            parts = [f"{key}={configs[config].get(key)}" for key in apart]
            if len({code for _, code in variants.values()}) > 1:
                parts.append(f"code {code[:8]}")
            labels[index] = f"{taken[str(method)]} ({', '.join(parts)})"
    return labels


def _short(value: Any) -> str:
    """A setting as text; of a hash its beginning."""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value).removeprefix("sha256:")
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:8]
    return text
