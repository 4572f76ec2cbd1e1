"""A request for a sweep: what ``fer_bench.run`` and ``fer-bench run`` are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from fer_bench.core.errors import nearest, require
from fer_bench.core.spec import Imbalance, Noise
from fer_bench.core.variant import Variant
from fer_bench.data.options import TIES, Dedup, ReadOptions, Ties
from fer_bench.plugins.registry import settings_by_method
from fer_bench.sweep.arguments import (
    plain,
    to_bool,
    to_choice,
    to_columns,
    to_dedup,
    to_float,
    to_int,
    to_location,
    to_path,
    to_rate,
    to_text,
    to_tuple,
    to_val,
)
from fer_bench.sweep.variants import varied_by_method

RECIPE: Mapping[str, Callable[[Any, str], Any]] = {
    "epochs": to_int,
    "batch_size": to_int,
    "lr": to_float,
    "backbone": to_text,
    "image_size": to_int,
    "precision": to_text,
    "compile": to_bool,
}
"""Settings of the recipe that a request can replace, and how each is converted."""


@dataclass(frozen=True)
class Request:
    """What a person asks for. :func:`make_request` makes one from arguments of any usual type.

    Attributes:
        methods: Keys and globs of methods; "all" for every method.
        dataset: Name of a data set, path of a folder of images, or path of a table.
        data_root: Folder that holds the named data sets; None for ``FER_BENCH_DATA`` or ``./data``.
        columns: Columns of a table by role, where their names do not say it: ``{"path": "image", "label": "emotion"}``.
        group_by: Who or what an image shows: a column, or a regular expression on the ids of images; "" looks for
            well-known ones, "none" does not.
        ties: What becomes of an image whose votes tie: drop, first or distribution.
        val: Validation split: a share of the training images, a number of them, "none"; None for the data set's own,
            or a tenth of the training images if it has none.
        dedup: Which training images are left out: "" for none, "exact" for copies of held-out images, "near" for those
            that show the same picture, too.
        noise: Rates of label noise, 0 to 1; None for 0, or for kinds that have no rate.
        noise_types: Kinds of label noise.
        noise_mode: "exact" for an exact number of wrong labels, "bernoulli" for an independent draw for each label.
        noise_file: File for the kinds that read one.
        imbalance: Imbalance factors: largest class over smallest; 1 leaves the data set as it is.
        imbalance_type: "exp" for class sizes that fall exponentially, "step" for two sizes.
        separate: Whether noise and imbalance are conditions of their own: each noise on data as they are, and each
            imbalance on clean labels. Otherwise every noise is combined with every imbalance.
        seeds: Training seeds.
        data_seed: Seeds of draws of the training data: noise, imbalance, part of the training set, hold-out.
        train_size: Images in a stratified part of the training set; None for all of them.
        preset: Name of a training recipe, or path of a TOML file.
        overrides: Settings of the recipe that replace those of the preset, by name.
        pretrained: File or name of pre-trained weights; "" for random weights.
        settings: Hyper-parameters of methods: {method: {name: value}}.
        plugins: Folders and files with methods of the user.
        unlabelled: Folder of images for methods that learn from unlabelled ones; None for the training images without
            their labels.
        settings_file: Path of a settings file, "default" for none, or None for the one that comes with the preset.
        vary: Values of hyper-parameters that are varied, each combination in a row of its own: {method: {name:
            values}}.
        variants: Variants by method in place of ``vary``; the trials of a search.
    """

    methods: Sequence[str]
    dataset: str = "synthetic"
    data_root: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    group_by: str = ""
    ties: Ties = "drop"
    val: float | Literal["none"] | None = None
    dedup: Dedup = ""
    noise: Sequence[float] | None = None
    noise_types: Sequence[str] = ("symmetric",)
    noise_mode: str = "exact"
    noise_file: Path | None = None
    imbalance: Sequence[float] = (1.0,)
    imbalance_type: str = "exp"
    separate: bool = False
    seeds: Sequence[int] = (0,)
    data_seed: Sequence[int] = (0,)
    train_size: int | None = None
    preset: str = "quick"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str = ""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plugins: Sequence[str] = ()
    unlabelled: Path | None = None
    settings_file: str | None = None
    vary: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    variants: Mapping[str, Sequence[Variant]] = field(default_factory=dict)

    @property
    def reading(self) -> ReadOptions:
        """How the data set is read. SpecError for an unknown role or rule."""
        return ReadOptions(self.columns, self.group_by, self.ties, self.dedup)


def make_request(**options: Any) -> Request:
    """A request from its fields and from settings of the recipe, by name; None leaves a default.

    Args:
        **options: Fields of :class:`Request` that have a converter, and the settings of the recipe in :data:`RECIPE`.
            ``settings`` may also be ``METHOD.FIELD=VALUE`` strings, and ``vary`` ``METHOD.FIELD=VALUE,VALUE`` strings.

    Raises:
        SpecError: A value has the wrong type; the message names the option.
        TypeError: There is no such option.
    """
    given = {name: value for name, value in options.items() if value is not None}
    unknown = given.keys() - RECIPE.keys() - CONVERTERS.keys()
    if unknown:
        raise TypeError(f"a request has no {min(unknown)!r}{nearest(min(unknown), [*RECIPE, *CONVERTERS])}")
    overrides = {name: convert(given[name], name) for name, convert in RECIPE.items() if name in given}
    fields = {name: convert(given[name], name) for name, convert in CONVERTERS.items() if name in given}
    return Request(**fields, overrides=overrides)


def _to_settings(value: Any, name: str) -> dict[str, dict[str, Any]]:
    """Hyper-parameters by method, from a mapping of mappings or from ``METHOD.FIELD=VALUE`` strings."""
    if not isinstance(value, Mapping):
        return settings_by_method(to_tuple(value, name, to_text))
    for method, values in value.items():
        require(isinstance(values, Mapping), f"{name}[{method!r}] = {values!r}: a mapping {{name: value}} is needed")
    return {method: {key: plain(each) for key, each in values.items()} for method, values in value.items()}


def _to_varied(value: Any, name: str) -> dict[str, dict[str, list[Any]]]:
    """Varied values by method, from a mapping of mappings or from ``METHOD.FIELD=VALUE,VALUE`` strings."""
    if not isinstance(value, Mapping):
        return varied_by_method(to_tuple(value, name, to_text))
    varied = _to_settings(value, name)
    for method, values in varied.items():
        for key, each in values.items():
            several = isinstance(each, list) and len(each) > 0
            require(several, f"{name}[{method!r}][{key!r}] = {each!r}: a list of values is needed")
    return varied


CONVERTERS: Mapping[str, Callable[[Any, str], Any]] = {
    "methods": partial(to_tuple, convert=to_text),
    "dataset": to_location,
    "data_root": to_path,
    "columns": to_columns,
    "group_by": to_text,
    "ties": partial(to_choice, choices=TIES),
    "val": to_val,
    "dedup": to_dedup,
    "noise": partial(to_tuple, convert=to_rate),
    "noise_types": partial(to_tuple, convert=to_text),
    "noise_mode": partial(to_choice, choices=get_args(get_type_hints(Noise)["mode"])),
    "noise_file": to_path,
    "imbalance": partial(to_tuple, convert=to_rate),
    "imbalance_type": partial(to_choice, choices=get_args(get_type_hints(Imbalance)["kind"])),
    "separate": to_bool,
    "seeds": partial(to_tuple, convert=to_int),
    "data_seed": partial(to_tuple, convert=to_int),
    "train_size": to_int,
    "preset": to_location,
    "pretrained": lambda value, name: "" if value == "" else to_location(value, name),
    "settings": _to_settings,
    "plugins": partial(to_tuple, convert=to_location),
    "unlabelled": to_path,
    "settings_file": to_location,
    "vary": _to_varied,
}
"""How each field of a request is converted."""
