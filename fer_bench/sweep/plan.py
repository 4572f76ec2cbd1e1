"""From a request to a plan: every run is specified and checked before the first one is trained."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fer_bench.core.errors import PluginError, SpecError, require
from fer_bench.core.presets import load_preset
from fer_bench.core.spec import Imbalance, Noise, Recipe, RunSpec
from fer_bench.core.text import one_line, visible
from fer_bench.core.variant import Variant
from fer_bench.plugins.own_backbone import OwnBackbone
from fer_bench.plugins.registry import Plugin, choose, describe_config, discover, plugin_folders, unknown_method
from fer_bench.sweep.chosen import ChosenMethod
from fer_bench.sweep.draws import Draws
from fer_bench.sweep.grid import conditions, distinct_seeds
from fer_bench.sweep.recipe import requested_backbone, resolve_recipe
from fer_bench.sweep.request import Request
from fer_bench.sweep.settings import SettingsFile, settings_file
from fer_bench.sweep.variants import combinations, label_of, variant_from

if TYPE_CHECKING:
    from fer_bench.data.cache import OnProgress
    from fer_bench.data.dataset import Dataset
    from fer_bench.method import Needs

LONGEST_STEM = 60
"""Characters of a data set's name in the default name of a sweep."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
        spec: What the run is.
        plugin: The method.
        cost: Images forwarded in training.
        first_stage_of: The run whose whole training is the first stage of this one; None if there is no such run.
        keep_networks: Whether another run of the sweep starts from the networks of this one.
        variant: What replaces the method's defaults.
        backbone: The function of the user that makes the networks; None for a network of fer-bench or timm.
    """

    spec: RunSpec
    plugin: Plugin
    cost: float
    first_stage_of: RunSpec | None = None
    keep_networks: bool = False
    variant: Variant = field(default_factory=Variant)
    backbone: OwnBackbone | None = None

    @property
    def name(self) -> str:
        """One line for a person: method, variant, noise, imbalance, seeds."""
        own = f" ({self.variant.label})" if self.variant.label else ""
        return f"{self.spec.method}{own}{self.spec.name.removeprefix(self.spec.method)}"


@dataclass(frozen=True)
class Plan:
    """A sweep that can start.

    Attributes:
        runs: Its runs; empty if no method can run.
        skipped: For each method that cannot run, a line that says why.
        dataset: The data set of all runs.
        request: The request that the plan was made from.
        weights: File of pre-trained weights; None without any.
        unlabelled: Images for methods that learn from unlabelled ones; None for the training images.
        splits: How many images are trained on, held out and tested on, one sentence.
        tuning: Budget and studies of a tuning; empty for an ordinary sweep.
    """

    runs: tuple[PlannedRun, ...]
    skipped: tuple[str, ...]
    dataset: Dataset
    request: Request
    weights: Path | None
    unlabelled: Dataset | None = None
    splits: str = ""
    tuning: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The data set and a hash of the set of runs. It does not depend on their order in the request."""
        keys = hashlib.sha256("".join(sorted(run.spec.key for run in self.runs)).encode()).hexdigest()
        stem = one_line(visible(Path(self.dataset.name).stem)).replace("\\", "_").lstrip(".-")[:LONGEST_STEM]
        return f"{'tune-' if self.tuning else ''}{stem or 'data'}-{keys[:8]}"


@dataclass(frozen=True)
class Grid:
    """A checked request: the values that a sweep combines, and the methods that are asked for.

    ``plugins`` are all known methods by key, ``methods`` the keys of those that are asked for. ``settings_file`` holds
    their tuned settings; None if defaults are used. ``draws`` are the seeds of the training data.
    """

    request: Request
    conditions: Sequence[tuple[Noise, Imbalance]]
    seeds: Sequence[int]
    draws: Sequence[int]
    plugins: Mapping[str, Plugin]
    methods: Sequence[str]
    settings_file: SettingsFile | None = None

    @property
    def noises(self) -> list[Noise]:
        """The settings of noise, each once."""
        return list(dict.fromkeys(noise for noise, _ in self.conditions))


def make_plan(
    request: Request,
    on_progress: OnProgress = lambda what, done, total: None,
    on_checked: Callable[[], None] = lambda: None,
) -> Plan:
    """Resolves a request into runs, and decodes the images that they need into the cache.

    Args:
        request: What is asked for.
        on_progress: Called with (what, done, total) while images are decoded.
        on_checked: Called after the quick checks, before networks and methods are imported.

    Raises:
        SpecError: A setting is unknown or out of range.
        DataError: The data set cannot be read, or does not give what is asked for.
        PluginError: A method that is named cannot be found.
    """
    grid = check_request(request)
    dataset = open_data(grid)
    on_checked()
    recipe, weights = resolve_recipe(request)
    own = requested_backbone(request)
    methods, skipped = choose_methods(grid, dataset, recipe, own)
    unlabelled = open_pool(request, methods, recipe, dataset, on_progress)
    runs = [replace(run, backbone=own) for run in expand(grid, dataset, methods, unlabelled)]
    splits = ""
    if runs:
        prepare_cache(grid, dataset, recipe, on_progress)
        draws = Draws((run.spec for run in runs), dataset, request.noise_file)
        runs, splits = without_repeats(runs, draws), draws.sentence
    return Plan(tuple(runs), tuple(skipped), dataset, request, weights, unlabelled, splits)


def check_request(request: Request) -> Grid:
    """Checks all that needs no data. SpecError names the option and its value."""
    load_preset(request.preset, **request.overrides)
    wanted = conditions(request)
    plugins = discover(plugin_folders(request.plugins))
    methods = choose(request.methods, plugins)
    check_named(request, methods, plugins)
    settings = settings_file(request.settings_file, request.preset)
    if settings is not None and request.settings_file is None:
        settings = settings.without(request.overrides)  # nobody named the file, so an option replaces its values
    if settings is not None:
        settings.check(methods, plugins, request.overrides)
    if settings is not None and request.settings_file is not None:
        settings.check_used(methods)
    return Grid(
        request=request,
        conditions=wanted,
        seeds=distinct_seeds(request.seeds, "--seeds"),
        draws=distinct_seeds(request.data_seed, "--data-seed"),
        plugins=plugins,
        methods=methods,
        settings_file=settings,
    )


def check_named(request: Request, methods: Sequence[str], plugins: Mapping[str, Plugin]) -> None:
    """Checks the methods that ``--set`` and ``--vary`` name. SpecError for one that is not asked for, or a clash."""
    for option, named in (("--set", request.settings), ("--vary", request.vary)):
        for key in named:
            require(key in plugins, f"{option} {key}.…: {unknown_method(key, plugins)}")
            require(key in methods, f"{option} {key}.…: {key} is not among --methods {','.join(methods)}")
    for key, varied in request.vary.items():
        for name in sorted(set(varied) & set(request.settings.get(key, {}))):
            raise SpecError(f"--set {key}.{name} and --vary {key}.{name}: leave one of them out")


def open_data(grid: Grid) -> Dataset:
    """Opens the data set. SpecError where it does not have what the noise or the training size needs."""
    from fer_bench.data.noise.kinds import KINDS
    from fer_bench.data.open import open_dataset

    request = grid.request
    dataset = open_dataset(request.dataset, request.data_root, request.reading)
    available = {"votes": dataset.votes is not None, "human": dataset.human is not None,
                 "file": request.noise_file is not None}  # fmt: skip
    for noise in grid.noises:
        need = KINDS[noise.kind].needs
        hint = "; name it with --noise-file" if need == "file" else ""
        require(
            available.get(need, True), f"noise {noise.kind!r} needs {need}, which {dataset.name} does not have{hint}"
        )
    size = request.train_size
    require(size is None or size >= len(dataset.classes), f"--train-size {size} is less than one image per class")
    return dataset


def choose_methods(
    grid: Grid, dataset: Dataset, recipe: Recipe, own: OwnBackbone | None
) -> tuple[list[ChosenMethod], list[str]]:
    """The variants of methods that can run on the data set, and a line for each method that cannot, with the reason."""
    from fer_bench.sweep.backbone import BackboneCheck

    chosen: list[ChosenMethod] = []
    skipped: dict[str, None] = {}
    backbone = BackboneCheck(recipe, dataset, own)
    for key in grid.methods:
        try:
            variants = variants_of(grid, key)
            for variant in variants:
                method = configure(grid, key, variant, dataset, recipe)
                if reason := cannot_run(method, dataset) or backbone.refusal(method):
                    skipped[f"{key}: {reason}"] = None
                else:
                    chosen.append(method)
        except PluginError as error:
            skipped[f"{key}: {str(error).splitlines()[0]}"] = None
    return chosen, list(skipped)


def variants_of(grid: Grid, key: str) -> list[Variant]:
    """The variants of a method: its tuned settings if there are any, under ``--set``, under each varied value."""
    request, config_class = grid.request, grid.plugins[key].load().Config
    tuned = Variant() if grid.settings_file is None else grid.settings_file.variant(key)
    fixed = variant_from(request.settings.get(key, {}), key, config_class).over(tuned)
    if key not in request.vary:
        return [each.over(fixed) for each in request.variants.get(key, (Variant(),))]
    varied = combinations(request.vary[key])
    return [replace(variant_from(each, key, config_class), label=label_of(each)).over(fixed) for each in varied]


def configure(grid: Grid, key: str, variant: Variant, dataset: Dataset, recipe: Recipe) -> ChosenMethod:
    """A variant with its Config for every noise, and its recipe. SpecError for a value that one of them refuses."""
    plugin = grid.plugins[key]
    configs = {noise.label: plugin.configure(dataset.name, noise.label, variant.settings) for noise in grid.noises}
    try:
        own = replace(recipe, **variant.recipe)
    except SpecError as error:
        raise SpecError(f"{key}: {error}") from None
    return ChosenMethod(plugin, variant, own, configs, plugin.load().needs(next(iter(configs.values()))))


def cannot_run(method: ChosenMethod, dataset: Dataset) -> str:
    """Why a method cannot run on the data set with its recipe; "" if it can."""
    from fer_bench.data.points import POINTS

    needs, points = method.needs, len(POINTS)
    if needs.landmarks and (dataset.landmarks is None or dataset.landmarks.shape[1] != points):
        hint = "see `fer-bench data landmarks --help`"
        return f"needs {points} landmarks a face, which {dataset.name} does not have; {hint}"
    if needs.landmarks and method.recipe.augmentation.transforms:
        return "learns from landmarks, which would not move with augmentation.transforms"
    if method.recipe.compile and not needs.compiles:
        return "its networks cannot be compiled; leave --compile out"
    return ""


def open_pool(
    request: Request, methods: Sequence[ChosenMethod], recipe: Recipe, dataset: Dataset, on_progress: OnProgress
) -> Dataset | None:
    """The folder of unlabelled images, decoded; None where none is asked for. SpecError where no method uses it."""
    from fer_bench.data.unlabelled import open_pool as pooled

    if not request.unlabelled or not methods:
        return None
    require(
        any(method.needs.unlabelled for method in methods),
        f"--unlabelled {request.unlabelled}: none of {', '.join(method.plugin.key for method in methods)} learns from "
        "unlabelled images",
    )
    pool = pooled(request.unlabelled, dataset, recipe.image_size, request.dedup, on_progress)
    for sentence in pool.assumed:
        log.warning("--unlabelled %s: %s", request.unlabelled, sentence)
    return pool


def expand(
    grid: Grid, dataset: Dataset, methods: Sequence[ChosenMethod], unlabelled: Dataset | None
) -> list[PlannedRun]:
    """Every combination of method, variant, noise, imbalance, draw and seed. Variants that are the same run are one."""
    runs: dict[str, PlannedRun] = {}
    codes: dict[str, str] = {}
    request = grid.request
    images = request.train_size or int((dataset.split == "train").sum())
    for method in methods:
        plugin, needs, recipe = method.plugin, method.needs, method.recipe
        if plugin.key not in codes:
            codes[plugin.key] = plugin.code
        base = RunSpec(
            dataset=dataset.name,
            fingerprint=dataset.fingerprint,
            method=plugin.key,
            code=codes[plugin.key],
            config={},
            recipe=recipe,
            train_size=request.train_size,
            **_validation(request.val, dataset),
            unlabelled=unlabelled.fingerprint if needs.unlabelled and unlabelled else "",
            landmarks=dataset.landmarks_file if needs.landmarks else "",
        )
        first = grid.plugins.get(needs.first_stage_of)
        cost = recipe.epochs * images * needs.forwards_in(recipe.epochs)
        for (noise, imbalance), draw, seed in itertools.product(grid.conditions, grid.draws, grid.seeds):
            config = describe_config(method.configs[noise.label])
            spec = replace(base, noise=noise, imbalance=imbalance, data_seed=draw, seed=seed, config=config)
            begun = None if first is None or first.error else first_stage(spec, first)
            runs.setdefault(spec.key, PlannedRun(spec, plugin, cost, begun, variant=method.variant))
    wanted = {run.first_stage_of.key for run in runs.values() if run.first_stage_of}
    return [replace(run, keep_networks=key in wanted) for key, run in runs.items()]


def _validation(val: float | Literal["none"] | None, dataset: Dataset) -> dict[str, Any]:
    """The fields of a specification for ``--val``. What comes to the same is the same run."""
    if val == "none":
        return {"validation": "none"}
    if val is not None:
        return {"validation": "held-out", "held_out": val}
    return {"validation": "official" if (dataset.split == "val").any() else "held-out"}


def first_stage(spec: RunSpec, method: Plugin) -> RunSpec:
    """The run of another method, with its defaults, whose whole training is the first stage of ``spec``."""
    config = method.configure(spec.dataset, spec.noise.label, {})
    needs = method.load().needs(config)
    return replace(
        spec,
        method=method.key,
        code=method.code,
        config=describe_config(config),
        unlabelled=spec.unlabelled if needs.unlabelled else "",
        landmarks=spec.landmarks if needs.landmarks else "",
    )


def prepare_cache(grid: Grid, dataset: Dataset, recipe: Recipe, on_progress: OnProgress) -> None:
    """Decodes the images at every size that the runs need."""
    from fer_bench.data.noise.instance import PTD_SIZE
    from fer_bench.data.noise.kinds import KINDS

    sizes = {recipe.image_size} | {PTD_SIZE for noise in grid.noises if KINDS[noise.kind].needs == "pixels"}
    for size in sorted(sizes):
        dataset.decode(size, on_progress)


def without_repeats(runs: Sequence[PlannedRun], draws: Draws) -> list[PlannedRun]:
    """The runs without those that would repeat a run of another data seed number for number. Logs what is left out."""
    kept, left_out = [], {}
    for run in runs:
        earlier = draws.repeated(run.spec)
        if earlier is None or _needs(run).trusted:  # the seed also draws which labels are trusted
            kept.append(run)
        else:
            label = f"{run.spec.noise.label}, data seed {run.spec.data_seed}"
            left_out[label] = f"{label}: the same images and labels as data seed {earlier.data_seed}; not trained again"
    for sentence in left_out.values():
        log.warning("%s", sentence)
    return kept


def _needs(run: PlannedRun) -> Needs:
    return run.plugin.load().needs(run.plugin.restore_config(run.spec.config))
