"""A sweep: methods x noise x imbalance x seeds; expanded, checked before the first step, trained and tabled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fer_bench.core.errors import PluginError, nearest, require
from fer_bench.core.presets import load_preset
from fer_bench.core.spec import Imbalance, Recipe, RunSpec
from fer_bench.plugins.registry import Plugin, choose, describe_config, discover, plugin_folders, settings_by_method
from fer_bench.sweep.request import Request, _distinct, expand_noise

if TYPE_CHECKING:
    from fer_bench.data.cache import Progress
    from fer_bench.data.dataset import Dataset


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep, with all that a worker needs besides the data."""

    spec: RunSpec
    plugin: Plugin
    cost: float
    """Images forwarded in training."""
    first_stage_of: RunSpec | None = None
    """The run whose whole training is the first stage of this one."""
    keep_networks: bool = False
    """Another run of the sweep begins with this one's networks."""


@dataclass(frozen=True)
class Plan:
    """A sweep that can start: every spec is resolved, every method that cannot run has its reason."""

    runs: tuple[PlannedRun, ...]
    skipped: tuple[str, ...]
    dataset: Dataset
    request: Request
    weights: Path | None
    unlabelled: Dataset | None = None

    @property
    def name(self) -> str:
        """The data set and a hash of the set of runs: independent of the order on the command line."""
        keys = hashlib.sha256("".join(sorted(run.spec.key for run in self.runs)).encode()).hexdigest()
        return f"{Path(self.dataset.name).stem}-{keys[:8]}"


def make_plan(
    request: Request, say: Progress = lambda what, done, total: None, looks_right: Callable[[], None] = lambda: None
) -> Plan:
    """Resolves a request. SpecError, DataError or PluginError names what is wrong, before anything is trained.

    Decodes the data into the cache if that was not done before; ``say`` is told how far it is. ``looks_right`` is
    called after the quick checks, before networks and methods are imported.
    """
    from fer_bench.core.errors import DataError
    from fer_bench.data.cache import build_pixels
    from fer_bench.data.landmarks import MIRRORED_LANDMARKS
    from fer_bench.data.noise.apply import KINDS
    from fer_bench.data.noise.instance import PTD_SIZE
    from fer_bench.data.open import open_dataset, open_unlabelled, read_manifest
    from fer_bench.data.splits import make_splits

    load_preset(request.preset, **request.overrides)
    noises = expand_noise(request)
    imbalances = [Imbalance(request.imbalance_type, factor) for factor in _distinct(request.imbalance, "--imbalance")]  # type: ignore[arg-type]
    require(all(seed >= 0 for seed in request.seeds), f"--seeds {list(request.seeds)}: a seed is 0 or more")
    require(request.data_seed >= 0, f"--data-seed {request.data_seed}: a seed is 0 or more")
    plugins = discover(plugin_folders(request.plugins))
    keys = choose(request.methods, plugins)
    settings = settings_by_method(request.settings)
    for key in settings:
        require(key in plugins, f"--set {key}.…: unknown method {key!r}{nearest(key, plugins)}")
        require(key in keys, f"--set {key}.…: {key} is not among --methods {','.join(keys)}")
    reopen = partial(read_manifest, request.dataset, request.data_root, request.dedup)
    faces, manifest = open_dataset(request.dataset, request.data_root, request.dedup)
    for noise in noises:
        need = KINDS[noise.kind].needs
        given = {
            "votes": faces.votes is not None,
            "human": faces.human is not None,
            "file": request.noise_file is not None,
        }
        require(given.get(need, True), f"noise {noise.kind!r} needs {need}, which {faces.name} does not have"
                + ("; name it with --noise-file" if need == "file" else ""))  # fmt: skip
    part = request.train_size
    require(part is None or part >= len(faces.classes), f"--train-size {part} is less than one image a class")
    looks_right()

    recipe, weights = resolve_recipe(request)
    runs, skipped, unlabelled = [], [], None
    for key in keys:
        try:
            method = plugins[key].load()
            configs = {n.label: plugins[key].configure(faces.name, n.label, settings.get(key, {})) for n in noises}
            needs = method.needs(next(iter(configs.values())))
        except PluginError as error:
            skipped.append(f"{key}: {str(error).splitlines()[0]}")
            continue
        if needs.landmarks and (faces.landmarks is None or faces.landmarks.shape[1] != len(MIRRORED_LANDMARKS)):
            skipped.append(
                f"{key}: needs {len(MIRRORED_LANDMARKS)} landmarks a face, which {faces.name} does not have; "
                "see `fer-bench data landmarks --help`"
            )
            continue
        if needs.unlabelled and request.unlabelled and unlabelled is None:
            unlabelled = open_unlabelled(request.unlabelled, recipe.image_size, say)
        base = RunSpec(faces.name, faces.fingerprint, key, plugins[key].code, {}, recipe=recipe,
                       train_size=part, data_seed=request.data_seed,
                       unlabelled=unlabelled.fingerprint if needs.unlabelled and unlabelled else "",
                       landmarks=faces.landmarks_file if needs.landmarks else "")  # fmt: skip
        first = plugins.get(needs.first_stage_of)
        first = None if first is None or first.error else first
        images = recipe.epochs * (part or int((faces.split == "train").sum())) * needs.forwards
        for noise in noises:
            config = configs[noise.label]
            for imbalance in imbalances:
                for seed in _distinct(request.seeds, "--seeds"):
                    spec = replace(base, noise=noise, imbalance=imbalance, seed=seed, config=describe_config(config))
                    runs.append(PlannedRun(spec, plugins[key], images, _first_stage(spec, first)))
    if runs:
        sizes = {recipe.image_size} | {PTD_SIZE for n in noises if KINDS[n.kind].needs == "pixels"}
        for size in sorted(sizes):
            build_pixels(faces, manifest, reopen, size, say)
        for spec in {(run.spec.noise, run.spec.imbalance): run.spec for run in runs}.values():
            try:
                make_splits(faces, spec, request.noise_file)  # what the data cannot give is said now, not in every run
            except ValueError as error:
                raise DataError(f"{faces.name}: {error}") from None
    require(
        not request.unlabelled or unlabelled is not None,
        f"--unlabelled {request.unlabelled}: none of {', '.join(keys)} learns from unlabelled images",
    )
    begun = {run.first_stage_of.key for run in runs if run.first_stage_of}
    runs = [replace(run, keep_networks=run.spec.key in begun) for run in runs]
    return Plan(tuple(runs), tuple(skipped), faces, request, weights, unlabelled)


def _first_stage(spec: RunSpec, method: Plugin | None) -> RunSpec | None:
    """The run of another method, with its defaults, whose whole training is the first stage of this one."""
    if method is None:
        return None
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


def resolve_recipe(request: Request) -> tuple[Recipe, Path | None]:
    """The preset with its overrides, and the file of weights if there is one.

    Weights that come with a normalisation replace the preset's mean and std, so they are in the key; an override given
    with the request is kept. SpecError before anything is trained where weights are missing or do not fit.
    """
    from fer_bench.models.networks import check_backbone, make_network
    from fer_bench.models.pretrained import find_weights

    recipe = load_preset(request.preset, **request.overrides)
    check_backbone(recipe.backbone)
    wanted = request.pretrained or recipe.pretrained
    if not wanted:
        return recipe, None
    found = find_weights(wanted, recipe.backbone)
    recipe = load_preset(request.preset, **{**found.normalisation, **request.overrides, "pretrained": found.id})
    make_network(recipe.backbone, 2, seed=0, role="check", pretrained=found.id, weights=found.path)
    return recipe, found.path
