"""Which runs belong together: the rows (methods) and columns (conditions) of every table and figure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_bench.core.text import natural_key
from fer_bench.report.wording import correct_labels, wrong_labels
from fer_bench.store.frame import to_frame, variant_columns
from fer_bench.store.model_selection import SELECTIONS

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.plugins.described import Described
    from fer_bench.store.records import Record

UNITS = {"train_size": "images", "epochs": "epochs", "image_size": "px"}
"""Settings that are named by value and unit in a condition. The others are named "setting value"."""

ELSEWHERE = {
    *("dataset", "fingerprint", "noise", "imbalance", "recipe", "train_size"),  # named in their own way
    *("method", "code", "config", "unlabelled", "landmarks"),  # parts of a row
    *("seed", "data_seed", "protocol"),
}
"""Fields of a specification that :func:`_settings` does not copy. Every other field tells conditions apart."""

VARIANT = ("own_settings", "code", "unlabelled", "landmarks")
"""Columns that tell variants of one method apart. ``own_settings`` are its Config and its own part of the recipe."""


@dataclass(frozen=True)
class Runs:
    """Finished runs, arranged for tables and figures.

    Attributes:
        frame: One line for each run: the columns of ``load_runs``, and those that :func:`arrange` adds.
        raw: All runs as ``load_runs`` has them, in the order in which they were given.
        rows: Names of the rows, in order.
        conditions: Names of the conditions, in order.
        classes: Class names by data set.
        repeats: Runs that were left out because they repeat another one.
        names: What tables and figures call a row, by row; the row itself where it is not among them.
        baselines: The rows of baselines.
        families: The key of the family of a row, by row; rows of no family, or of unknown methods, are not among them.
        order: How the rows are sorted, for a note; "" in the order of their keys.
        compared: The runs that methods are compared over, if rows of them are not shown; None for those of ``frame``.
    """

    frame: pd.DataFrame
    raw: pd.DataFrame
    rows: tuple[str, ...]
    conditions: tuple[str, ...]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    repeats: int = 0
    names: Mapping[str, str] = field(default_factory=dict)
    baselines: frozenset[str] = frozenset()
    families: Mapping[str, str] = field(default_factory=dict)
    order: str = ""
    compared: pd.DataFrame | None = None

    def name(self, row: str) -> str:
        """What tables and figures call a row."""
        return self.names.get(row, row)

    @property
    def tested(self) -> pd.DataFrame:
        """The runs that methods are compared over: also those of rows that are not shown."""
        return self.frame if self.compared is None else self.compared

    def show(self, rows: Sequence[str], order: str) -> Runs:
        """These rows in this order. Methods are compared over all rows as before."""
        frame = self.frame[self.frame["row"].isin(rows)].reset_index(drop=True)
        return replace(self, frame=frame, rows=tuple(rows), conditions=tuple(unique(frame, "condition")), order=order,
                       compared=self.tested)  # fmt: skip

    @property
    def wrong(self) -> str:
        """The name of the wrong labels of these runs."""
        return wrong_labels(self.frame["labels"].unique())

    @property
    def correct(self) -> str:
        """The name of the other labels of these runs."""
        return correct_labels(self.frame["labels"].unique())

    @property
    def data(self) -> str:
        """`` on NAME`` for runs of one data set, for titles; "" for several, which the conditions name."""
        names = unique(self.frame, "data")
        return f" on {names[0]}" if len(names) == 1 else ""

    def present(self, part: pd.DataFrame) -> list[str]:
        """The rows that have a run in this part of the frame, in order."""
        found = set(part["row"])
        return [row for row in self.rows if row in found]

    def class_names(self, dataset: str, number: int) -> list[str]:
        """The names of a data set's classes, or their numbers if the names are not known."""
        names = [str(name) for name in self.classes.get(dataset, ())]
        return names if len(names) == number else [str(c) for c in range(number)]


def arrange(
    records: Iterable[Record],
    classes: Mapping[str, Sequence[str]] | None = None,
    methods: Mapping[str, Described] | None = None,
) -> Runs:
    """Sorts finished runs and names their rows and conditions.

    Args:
        records: The runs.
        classes: Class names by data set.
        methods: What is known of the methods, by key. A method that is not among them is called by its key.

    Every setting that tells two runs of a data set apart is in the name of their row or condition, except the seeds.
    Settings that all runs of a data set share are in neither.

    The frame has these columns beside those of ``load_runs``:

    - record: the :class:`fer_bench.store.records.Record`
    - row: the method, with the settings that differ if one condition holds several variants of it
    - condition: the data set if there are several, noise, imbalance, and all other settings that differ
    - noise, imbalance: their part of the condition
    - data, data_settings: the data set, and the settings that differ between data sets alone, which no condition names
    - family: the kind of noise without its rate; "" for clean labels, which are rate 0 of every kind
    - context, setting, base: the condition without its noise, without its imbalance, and without both
    - ``*_gap``: overall accuracy of the best test epoch less that of the selected one

    Methods come in the order of their keys. Runs that repeat another one are left out and counted: clean runs that were
    asked for as rate 0 of several kinds of noise, with the same seeds.

    Raises:
        ValueError: There are no runs, or they are of different protocol versions, whose numbers cannot be compared.
    """
    records, known = list(records), methods or {}
    if not records:
        raise ValueError("there are no finished runs to report")
    raw = to_frame(records)
    versions = sorted(raw["protocol"].unique())
    if len(versions) > 1:
        raise ValueError(f"runs of different protocol versions ({', '.join(map(str, versions))}) cannot share a table")
    frame = _name_conditions(raw.assign(record=records, **variant_columns(records), **_gaps(raw)))
    pairs = zip(frame["config"], frame["own_recipe"], strict=True)
    frame["own_settings"] = [json.dumps({**json.loads(a), **json.loads(b)}, sort_keys=True) for a, b in pairs]
    frame["row"] = _rows(frame)
    frame = _tell_draws_apart(frame)
    order = ["data", "extra", "imbalance_factor", "imbalance", "family", "noise_rate", "method", "row"]
    frame = frame.sort_values([*order, "data_seed", "seed"], kind="stable")
    kept = frame.drop_duplicates(["condition", "row", "data_seed", "seed"]).reset_index(drop=True)
    rows = sorted(set(zip(kept["method"], kept["row"], strict=True)), key=lambda pair: (pair[0], natural_key(pair[1])))
    return Runs(
        kept,
        raw,
        tuple(row for _, row in rows),
        tuple(unique(kept, "condition")),
        dict(classes or {}),
        len(frame) - len(kept),
        _names(rows, known),
        frozenset(row for method, row in rows if method in known and known[method].baseline),
        {row: known[method].family for method, row in rows if method in known and known[method].family},
    )


def _names(rows: Iterable[tuple[str, str]], methods: Mapping[str, Described]) -> dict[str, str]:
    """What tables call each (method, row)."""
    return distinct_names(
        {row: methods[key].name + row.removeprefix(key) if key in methods else row for key, row in rows}
    )


def distinct_names(names: Mapping[str, str]) -> dict[str, str]:
    """Names by row or key; those that would share a name are called by their key."""
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    return {key: key if name in shared else name for key, name in names.items()}


def unique(frame: pd.DataFrame, column: str) -> list[str]:
    """The values of a column in the order of the arranged runs."""
    return list(frame[column].unique())


def short_names(values: Iterable[Hashable]) -> dict[Hashable, str]:
    """A short text for each value: floats with six digits, hashes cut. Values that would share one are written out."""
    short = {value: _short(value) for value in values}
    shared = {text for text, count in Counter(short.values()).items() if count > 1}
    return {value: str(value) if text in shared else text for value, text in short.items()}


def _short(value: Hashable) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value).removeprefix("sha256:")
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return text[:8] if is_hash else text


def with_gaps(run: dict[str, Any]) -> dict[str, Any]:
    """A row of ``load_runs`` with its gaps, as :func:`arrange` has them; None without the selected epoch."""
    best = run["best_test_overall"]
    values = {s.column("gap"): run[s.column("overall")] for s in SELECTIONS.values()}
    return {**run, **{name: None if None in (best, value) else best - value for name, value in values.items()}}


def _gaps(frame: pd.DataFrame) -> dict[str, pd.Series]:
    import pandas as pd

    best = pd.to_numeric(frame["best_test_overall"])
    return {s.column("gap"): best - pd.to_numeric(frame[s.column("overall")]) for s in SELECTIONS.values()}


# --- conditions ----------------------------------------------------------------------------------------------------


def _name_conditions(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    settings = pd.DataFrame([_settings(record) for record in frame["record"]], index=frame.index)
    frame = frame.assign(**_noise_names(frame, settings), imbalance=_imbalance_names(frame))
    frame["data"] = [Path(name).name for name in frame["dataset"]]
    named, follow = _settings_that_differ(settings.drop(columns=["noise mode", "noise file"]), frame["data"])
    frame["extra"], frame["data_settings"] = _setting_texts(settings, named), _setting_texts(settings, follow)
    data = frame["data"] if frame["dataset"].nunique() > 1 else [""] * len(frame)
    parts = {
        "base": (data, frame["extra"]),
        "context": (data, frame["imbalance"], frame["extra"]),
        "setting": (data, frame["noise"], frame["extra"]),
        "condition": (data, frame["noise"], frame["imbalance"], frame["extra"]),
    }
    joined = {name: [joined_text(*each) for each in zip(*columns, strict=True)] for name, columns in parts.items()}
    return frame.assign(**joined)


def _tell_draws_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Names the draw of the training data in conditions that no draw has runs of all rows of.

    Rows that share a draw stay in one column; footnotes mark those that lack others.
    """
    contexts = set()
    for context, group in frame.groupby("context"):
        for _, cell in group.groupby("condition"):
            draws = [set(seeds) for _, seeds in cell.groupby("row")["data_seed"]]
            if not set.intersection(*draws):
                contexts.add(context)
    if not contexts:
        return frame
    apart = frame["context"].isin(contexts)
    for name in ("base", "context", "setting", "condition", "extra"):
        texts = [
            joined_text(text, f"data seed {seed}") for text, seed in zip(frame[name], frame["data_seed"], strict=True)
        ]
        frame[name] = frame[name].where(~apart, texts)
    return frame


def joined_text(*parts: object) -> str:
    """The parts that are not empty, with commas."""
    return ", ".join(str(part) for part in parts if part)


def _settings(record: Record) -> dict[str, Any]:
    """The condition in a specification, except noise and imbalance; flat and hashable.

    A setting of the recipe that the method has for itself belongs to the row, and is not among them.
    """
    spec, own = record.spec, record.variant.recipe
    noise, size = spec["noise"], spec["train_size"]
    values: dict[str, Any] = {
        "noise mode": noise["mode"],
        "noise file": noise.get("file", ""),
        "train_size": "all" if size is None else int(size),
        # a data set of one name with other contents is another data set
        f"{Path(spec['dataset']).name} data": spec["fingerprint"],
    }
    nested = {**spec["recipe"], **{name: value for name, value in spec.items() if name not in ELSEWHERE}}
    for name, value in nested.items():
        inner = {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        for key, each in inner.items():
            values[key] = each if isinstance(each, (bool, int, float, str)) else str(each)
    return {name: value for name, value in values.items() if name not in own}


def _noise_names(frame: pd.DataFrame, settings: pd.DataFrame) -> dict[str, list[str]]:
    """``family`` and ``noise`` of each run. The draw's mode and file are named where noisy runs differ in them."""
    clean = (frame["noise_kind"] == "none") | ((frame["noise_rate"] == 0) & (frame["realised_rate"] == 0))
    noisy = settings.loc[~clean, ["noise mode", "noise file"]]
    named = [name for name in noisy if noisy[name].nunique() > 1]
    details = {name: short_names(noisy[name]) for name in named}
    rates = short_names(frame["noise_rate"])
    families, noises = [], []
    columns = (clean, frame["noise_kind"], frame["noise_rate"], *(settings[name] for name in named))
    for is_clean, kind, rate, *values in zip(*(column.tolist() for column in columns), strict=True):
        if is_clean:
            families.append("")
            noises.append("clean")
            continue
        suffix = "".join(f" {details[name][value]}" for name, value in zip(named, values, strict=True) if value)
        families.append(f"{kind}{suffix}")
        noises.append(f"{kind} {rates[rate]}{suffix}" if rate else f"{kind}{suffix}")
    return {"family": families, "noise": noises}


def _imbalance_names(frame: pd.DataFrame) -> list[str]:
    factors = short_names(frame["imbalance_factor"])
    return [
        "" if factor == 1 else f"{kind} {factors[factor]}"
        for kind, factor in zip(frame["imbalance_kind"], frame["imbalance_factor"], strict=True)
    ]


def _settings_that_differ(settings: pd.DataFrame, data: pd.Series) -> tuple[list[str], list[str]]:
    """Names of the settings in which runs of one data set differ, and of those in which only data sets differ."""
    several = {str(name): settings[name].dropna().nunique() > 1 for name in settings}
    inside = {str(name): settings[name].groupby(data).nunique().max() > 1 for name in settings}
    differ = [name for name, differs in several.items() if differs]
    return [name for name in differ if inside[name]], [name for name in differ if not inside[name]]


def _setting_texts(settings: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """These settings of each run, as text. A data set has no value in the column of another one."""
    texts: list[list[str]] = [[] for _ in range(len(settings))]
    for name in names:
        short = short_names(settings[name].dropna())
        for text, value in zip(texts, settings[name], strict=True):
            if value in short:
                text.append(_setting_text(name, short[value]))
    return [", ".join(text) for text in texts]


def _setting_text(name: str, value: str) -> str:
    if name in UNITS:
        return f"{value} {UNITS[name]}" if value != "1" else f"1 {UNITS[name].removesuffix('s')}"
    return value if name == "backbone" else f"{name} {value}"


# --- rows ----------------------------------------------------------------------------------------------------------


def _rows(frame: pd.DataFrame) -> list[str]:
    """The row of each run.

    Settings that follow the condition (a preset for each data set) leave a method in one row. Two variants in one
    condition, whatever their seeds, are two rows.
    """
    labels = dict(zip(frame.index, frame["method"], strict=True))
    for method, group in frame.groupby("method"):
        variants = [tuple(values) for values in group[list(VARIANT)].itertuples(index=False)]
        most = group.assign(variant=variants).groupby("condition")["variant"].nunique().max()
        if most > 1:
            names = _variant_names(variants)
            labels |= {
                i: f"{method} ({names[v]})" if names[v] else str(method)
                for i, v in zip(group.index, variants, strict=True)
            }
    return [labels[index] for index in frame.index]


def _variant_names(variants: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """What tells the variants of one method apart: settings, versions of the code, and further data."""
    configs = {config: json.loads(config) for config, *_ in variants}
    keys = sorted({key for config in configs.values() for key in config})
    values = {key: {text: json.dumps(config.get(key)) for text, config in configs.items()} for key in keys}
    apart = [key for key in keys if len(set(values[key].values())) > 1]
    others = {
        name: short_names(variant[place] for variant in variants) for place, name in enumerate(VARIANT) if place > 0
    }
    found = {}
    for variant in variants:
        given = configs[variant[0]]  # a setting of the recipe is there only if the method has its own
        parts = [f"{key}={values[key][variant[0]]}" for key in apart if key in given]
        for place, name in enumerate(VARIANT):
            if place > 0 and len(others[name]) > 1:
                parts.append(f"{name} {others[name][variant[place]] or 'none'}")
        found[variant] = ", ".join(parts)
    return found
