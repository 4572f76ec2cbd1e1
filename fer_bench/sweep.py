"""A sweep: methods x noise x imbalance x seeds; expanded, checked before the first step, trained and tabled."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from fer_bench.files import file_checksum, read_each, write_atomically
from fer_bench.registry import (
    Plugin,
    PluginError,
    choose,
    describe_config,
    discover,
    plugin_folders,
    settings_by_method,
)
from fer_bench.runs import rows
from fer_bench.spec import LATER, Imbalance, Noise, Recipe, RunSpec, SpecError, load_preset, nearest, require
from fer_bench.store import RunFolder
from fer_bench.stored import UnreadableRun, contents, misfit, state

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.data.cache import Faces, Progress


@dataclass(frozen=True)
class Request:
    """What a person asks for; the fields are the options of ``fer-bench run``."""

    methods: Sequence[str]
    dataset: str = "synthetic"
    data_root: Path | None = None
    dedup: bool = False
    noise: Sequence[float] | None = None
    noise_types: Sequence[str] = ("symmetric",)
    noise_mode: str = "exact"
    noise_file: Path | None = None
    imbalance: Sequence[float] = (1.0,)
    imbalance_type: str = "exp"
    seeds: Sequence[int] = (0,)
    data_seed: int = 0
    train_size: int | None = None
    preset: str = "quick"
    overrides: dict[str, Any] = field(default_factory=dict)
    """Settings of the recipe that replace the preset's: epochs, batch_size, lr, backbone, image_size, precision,
    compile."""
    pretrained: str = ""
    settings: Sequence[str] = ()
    """``key.field=value`` strings."""
    plugins: Sequence[str] = ()
    unlabelled: Path | None = None
    """A folder of images for methods that learn from unlabelled ones; None = the training images, labels hidden."""


@dataclass(frozen=True)
class Planned:
    """One run of a sweep, with all that a worker needs besides the data."""

    spec: RunSpec
    plugin: Plugin
    cost: float
    """Images forwarded in training."""
    begins_as: RunSpec | None = None
    """The run whose whole training is the first stage of this one."""
    keep_networks: bool = False
    """Another run of the sweep begins with this one's networks."""


@dataclass(frozen=True)
class Plan:
    """A sweep that can start: every spec is resolved, every method that cannot run has its reason."""

    runs: tuple[Planned, ...]
    skipped: tuple[str, ...]
    faces: Faces
    request: Request
    weights: Path | None
    unlabelled: Faces | None = None

    @property
    def name(self) -> str:
        """The data set and a hash of the set of runs: independent of the order on the command line."""
        keys = hashlib.sha256("".join(sorted(run.spec.key for run in self.runs)).encode()).hexdigest()
        return f"{Path(self.faces.name).stem}-{keys[:8]}"


def plan(
    request: Request, say: Progress = lambda what, done, total: None, looks_right: Callable[[], None] = lambda: None
) -> Plan:
    """Resolves a request. SpecError, DataError or PluginError names what is wrong, before anything is trained.

    Decodes the data into the cache if that was not done before; ``say`` is told how far it is. ``looks_right`` is
    called after the quick checks, before networks and methods are imported.
    """
    from fer_bench.data.cache import build_pixels, open_faces, read_manifest
    from fer_bench.data.manifest import MIRRORED_LANDMARKS, DataError
    from fer_bench.data.noise import KINDS, PTD_SIZE
    from fer_bench.data.problem import pose
    from fer_bench.data.unlabelled import open_unlabelled

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
    faces, manifest = open_faces(request.dataset, request.data_root, request.dedup)
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
        first = plugins.get(needs.begins_as)
        first = None if first is None or first.error else first
        images = recipe.epochs * (part or int((faces.split == "train").sum())) * needs.forwards
        for noise in noises:
            config = configs[noise.label]
            for imbalance in imbalances:
                for seed in _distinct(request.seeds, "--seeds"):
                    spec = replace(base, noise=noise, imbalance=imbalance, seed=seed, config=describe_config(config))
                    runs.append(Planned(spec, plugins[key], images, _first_stage(spec, first)))
    if runs:
        sizes = {recipe.image_size} | {PTD_SIZE for n in noises if KINDS[n.kind].needs == "pixels"}
        for size in sorted(sizes):
            build_pixels(faces, manifest, reopen, size, say)
        for spec in {(run.spec.noise, run.spec.imbalance): run.spec for run in runs}.values():
            try:
                pose(faces, spec, request.noise_file)  # what the data cannot give is said now, not in every run
            except ValueError as error:
                raise DataError(f"{faces.name}: {error}") from None
    require(
        not request.unlabelled or unlabelled is not None,
        f"--unlabelled {request.unlabelled}: none of {', '.join(keys)} learns from unlabelled images",
    )
    begun = {run.begins_as.key for run in runs if run.begins_as}
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
    from fer_bench.engine.networks import check_backbone, make_network
    from fer_bench.engine.weights import find_weights

    recipe = load_preset(request.preset, **request.overrides)
    check_backbone(recipe.backbone)
    wanted = request.pretrained or recipe.pretrained
    if not wanted:
        return recipe, None
    found = find_weights(wanted, recipe.backbone)
    recipe = load_preset(request.preset, **{**found.normalisation, **request.overrides, "pretrained": found.id})
    make_network(recipe.backbone, 2, seed=0, role="check", pretrained=found.id, weights=found.path)
    return recipe, found.path


def expand_noise(request: Request) -> list[Noise]:
    """Every noise setting asked for, once; rate 0 of any kind is the same clean setting. SpecError for bad rates."""
    from fer_bench.data import noise as label_noise

    file = ""
    if request.noise_file is not None:
        require(request.noise_file.is_file(), f"--noise-file {request.noise_file}: no such file")
        file = f"sha256:{file_checksum(request.noise_file)}"
    kinds = label_noise.KINDS
    for kind in _distinct(request.noise_types, "--noise-type"):
        require(kind in kinds, f"unknown --noise-type {kind!r}{nearest(kind, kinds)}")
    reads = any(kinds[kind].needs == "file" for kind in request.noise_types)
    require(reads or not file, f"--noise-file {request.noise_file}: none of {', '.join(request.noise_types)} reads it")
    rated = [kind for kind in request.noise_types if kinds[kind].rate]
    require(
        request.noise is None or bool(rated), f"--noise gives rates, but {', '.join(request.noise_types)} has its own"
    )
    settings = []
    for kind in request.noise_types:
        mine = file if kinds[kind].needs == "file" else ""
        if kind not in rated:
            settings.append(Noise(kind, file=mine))
            continue
        for rate in _distinct(request.noise if request.noise is not None else (0.0,), "--noise"):
            try:
                label_noise.check(kind, rate, request.noise_mode)
            except ValueError as error:
                raise SpecError(f"--noise {rate}: {error}") from None
            settings.append(Noise(kind, float(rate), request.noise_mode, mine) if rate else Noise("none"))  # type: ignore[arg-type]
    return list(dict.fromkeys(settings))


def _distinct(values: Iterable[Any], option: str) -> list[Any]:
    values = list(values)
    require(bool(values), f"{option} is empty")
    return list(dict.fromkeys(values))


# --- the folder of a sweep ----------------------------------------------------------------------------------------


def sweep_folder(out: Path, name: str) -> Path:
    return out / "sweeps" / folder_name(name)


def folder_name(name: str) -> str:
    """``--name`` as it is. SpecError unless it is the name of one folder."""
    one = name == PurePath(name).name and name not in ("", "..") and name.isprintable()
    require(one, f"--name {name!r}: a name, not a path")
    return name


def save_sweep(plan: Plan, out: Path, name: str, command: str) -> None:
    """Writes ``sweep.json``: which runs belong to the sweep, what was skipped, and the command that asked for it."""
    file = sweep_folder(out, name) / "sweep.json"
    runs = [str(RunFolder.of(Path(), run.spec).path) for run in plan.runs]
    content = {
        "name": name,
        "command": command,
        "runs": runs,
        "names": {Path(path).name: run.spec.name for path, run in zip(runs, plan.runs, strict=True)},
        "skipped": list(plan.skipped),
        "classes": {plan.faces.name: list(plan.faces.classes)},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_atomically(file, json.dumps(content, indent=1).encode())


@dataclass(frozen=True)
class Sweep:
    """A sweep as it is stored."""

    name: str
    folder: Path
    content: dict[str, Any]

    def __post_init__(self) -> None:
        """SpecError for content that is damaged or leads out of the folder of results."""
        content = self.content
        for name, nothing in (("names", {}), ("skipped", []), ("classes", {}), ("command", "")):
            content.setdefault(name, nothing)  # older versions did not write all of them
        shape = {"runs": [str], "skipped": [str], "command": str, "names": {}, "classes": {}}
        wrong = misfit(content, shape, "it")
        wrong = wrong or misfit(list(content["names"].values()), [str], "names")
        wrong = wrong or misfit(list(content["classes"].values()), [[str]], "classes")
        require(not wrong, wrong)
        for path in content["runs"]:
            parts = PurePath(path).parts
            require(len(parts) == 4 and parts[0] == "runs" and ".." not in parts, f"{path!r} is no folder of a run")

    @cached_property
    def runs(self) -> list[RunFolder]:
        out = self.folder.parent.parent
        return [RunFolder(out / path) for path in self.content["runs"]]

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Class names by data set."""
        return {name: tuple(values) for name, values in self.content["classes"].items()}

    def finished(self) -> pd.DataFrame:
        """One row per finished run that can be read."""
        import pandas as pd

        return pd.DataFrame(rows(folder for folder in self.runs if (folder.path / "final.json").exists())[0])

    def states(self) -> list[tuple[str, str]]:
        """The state of each run and why, in their order. Each is looked up anew, which costs a moment in a large
        sweep."""
        return read_each(state, self.runs)

    def unfinished(self, states: Sequence[tuple[str, str]] | None = None) -> list[str]:
        """A line for each run that is not done or cannot be read, and for each method that was skipped; ``states`` if
        they are known."""
        lines = [f"skipped: {reason}" for reason in self.content["skipped"]]
        for folder, (now, reason) in zip(self.runs, states or self.states(), strict=True):
            if now != "done":
                name = self.content["names"].get(folder.path.name, folder.path.name)
                lines.append(f"{name}: {now}" + (f": {reason}" if reason else ""))
        return lines


def find_sweep(out: Path, name: str | None) -> Sweep:
    """A sweep by name or by the path of its folder, the newest one without a name. SpecError lists what there is."""
    if name and Path(name).name != name:
        folder = Path(name)
        require((folder / "sweep.json").is_file(), f"no sweep at {folder}: it has no sweep.json")
        folder = folder if folder.parent.name == "sweeps" else folder.resolve()
        out, name = folder.parents[1], folder.name
    files = {path.parent.name: path for path in (out / "sweeps").glob("*/sweep.json")}
    require(bool(files), f"no sweep in {out / 'sweeps'}; `fer-bench run` makes one")
    if name is None:
        name = max(files, key=lambda key: files[key].stat().st_mtime)
    require(name in files, f"no sweep {name!r} in {out / 'sweeps'}{nearest(name, files)}")
    try:
        content = json.loads(files[name].read_text())
        require(isinstance(content, dict), "it is no object")
        return Sweep(name, files[name].parent, content)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{files[name]} is damaged: {error}; run the sweep's command again") from None


# --- how long -----------------------------------------------------------------------------------------------------


def images_per_second(recipe: Recipe, out: Path, device: str, measure: Callable[[Recipe, str], float]) -> float:
    """Images forwarded and backwarded per second by one job: from finished runs of this recipe, else measured now."""
    alike = ("backbone", "image_size", "batch_size", "threads", *LATER)
    images = seconds = 0.0
    for path in sorted((out / "runs").glob("*/*/*/final.json"), key=lambda p: -p.stat().st_mtime)[:20]:
        try:
            spec, final, _ = contents(RunFolder(path.parent))
        except UnreadableRun:
            continue
        if all(spec["recipe"].get(name, LATER.get(name)) == getattr(recipe, name) for name in alike):
            images += final["images_forward"]
            seconds += final["seconds"]
    return images / seconds if seconds else measure(recipe, device)
