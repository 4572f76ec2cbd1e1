"""The conformance suite: what every method must do, checked by training it for moments on a small drawn problem.

from fer_bench.registry import discover
from fer_bench.testing import check_plugin
for name, proves, error in check_plugin(discover(["my_methods"])["mine"]): ...
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from fer_bench.data.cache import Faces, pixel_file
from fer_bench.data.problem import Problem
from fer_bench.data.views import Views
from fer_bench.engine import fit
from fer_bench.method import VIEWS, Batch, Method
from fer_bench.registry import Plugin, describe_config
from fer_bench.spec import Imbalance, Noise, Recipe, RunSpec, SpecError
from fer_bench.store import RunFolder

CLASSES = ("anger", "happiness", "neutral", "surprise")
SIZE = 32
PER_CLASS = {"train": 16, "val": 3, "test": 10}
LEARNED = 0.6
"""Accuracy on the toy problem, where chance is 0.25, that a method must reach in 12 epochs without noise."""
BORDER_EPOCHS = 11
"""Epochs of the check of resuming: methods that change their labels late (from epoch 10 on) have begun to."""


@dataclass
class Seen:
    """What a training run showed to the method, and the method."""

    method: Method
    nets: list[torch.nn.Module] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    runs: list[Any] = field(default_factory=list)
    start: dict[str, Tensor] = field(default_factory=dict)
    problem: Problem | None = None
    given: np.ndarray | None = None
    """The observed labels, copied before training."""


class Bench:
    """Four classes in ``folder`` that the engine trains on in a fraction of a second; mirrors keep their class."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._trained: dict[str, tuple[RunFolder, Seen]] = {}

    @cached_property
    def faces(self) -> Faces:
        """Grain with one bright band, whose height and colour tell the class."""
        rng = np.random.default_rng(0)
        split = np.concatenate([[name] * (count * len(CLASSES)) for name, count in PER_CLASS.items()])
        label = np.concatenate([np.tile(np.arange(len(CLASSES)), count) for count in PER_CLASS.values()])
        pixels = rng.integers(60, 120, (len(label), 3, SIZE, SIZE)).astype(np.uint8)
        band = SIZE // len(CLASSES)
        for row, number in enumerate(label):
            pixels[row, number % 3, number * band : (number + 1) * band] += 100
        folder = self.folder / "toy"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(pixel_file(folder, SIZE), pixels.transpose(0, 2, 3, 1))
        ids = np.array([f"{part}/{row:04d}" for row, part in enumerate(split)])
        points = rng.random((len(label), 19, 2)).astype(np.float32)
        return Faces(
            "toy", CLASSES, "0" * 64, ids, split, label.astype(np.int64), folder, points, np.arange(len(label)) % 7 > 0
        )

    def spec(self, plugin: Plugin, noise: float = 0.0, factor: float = 1.0, epochs: int = 2, **recipe: Any) -> RunSpec:
        config = plugin.configure(self.faces.name, "clean", {})
        settings: dict[str, Any] = {"image_size": SIZE, "batch_size": 16, "lr": 2e-3, "schedule": "cosine", **recipe}
        return RunSpec(
            self.faces.name, self.faces.fingerprint, plugin.key, plugin.code, describe_config(config),
            noise=Noise("symmetric", noise) if noise else Noise("none"),
            imbalance=Imbalance("exp", factor), recipe=Recipe(epochs=epochs, **settings),
        )  # fmt: skip

    def train(
        self,
        plugin: Plugin,
        spec: RunSpec,
        name: str = "run",
        stopping: Callable[[RunFolder], bool] = lambda folder: False,
        relabel: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> tuple[RunFolder, Seen]:
        """Trains ``spec`` in the folder ``name``; goes on where that folder stopped. ``relabel`` changes labels."""
        folder = RunFolder(self.folder / f"{plugin.key}-{spec.key}-{name}")
        seen: list[Seen] = []
        with _posed(seen, relabel):
            resources = fit.Resources(torch.device("cpu"))
            config = plugin.restore_config(spec.config)
            with folder.claim():
                folder.start(spec, {})
                fit.train(
                    spec,
                    self.faces,
                    spied(plugin.load(), seen),
                    config,
                    folder,
                    resources,
                    stopping=lambda: stopping(folder),
                )
        return folder, seen[-1]

    def trained(
        self, plugin: Plugin, noise: float = 0.3, factor: float = 1.0, epochs: int = 2
    ) -> tuple[RunFolder, Seen]:
        """A finished run, trained once for all checks."""
        spec = self.spec(plugin, noise, factor, epochs)
        place = f"{plugin.path}{spec.key}"
        if place not in self._trained:
            self._trained[place] = self.train(plugin, spec, "shared")
        return self._trained[place]

    def build(self, plugin: Plugin, spec: RunSpec) -> Method:
        """The method of a run that has not begun."""
        folder = RunFolder(self.folder / f"{plugin.key}-built")
        config = plugin.restore_config(spec.config)
        trainer = fit.Trainer(
            spec,
            self.faces,
            plugin.load(),
            config,
            folder,
            fit.Resources(torch.device("cpu")),
            lambda event: None,
            lambda: False,
        )
        return trainer.method

    def images(self, count: int) -> Tensor:
        """Test images, normalised: [count, 3, H, W]."""
        rows = np.flatnonzero(self.faces.split == "test")[:count]
        return Views(Recipe(image_size=SIZE), torch.device("cpu")).plain(
            torch.from_numpy(self.faces.pixels(SIZE)[rows])
        )


def spied(method_class: type[Method], seen: list[Seen]) -> type[Method]:
    """The class, with what it is shown appended to ``seen[-1]``."""

    class Spied(method_class):  # type: ignore[misc, valid-type]
        def __init__(self, config: Any, task: Any) -> None:
            super().__init__(config, task)
            seen[-1].method = self

        def build(self, make_net: Callable[[str], Any]) -> None:
            def keep(role: str) -> Any:
                seen[-1].nets.append(make_net(role))
                return seen[-1].nets[-1]

            super().build(keep)

        def train_step(self, batch: Batch, run: Any) -> Any:
            if not seen[-1].start:
                seen[-1].start = {name: value.detach().clone() for name, value in self.named_parameters()}
            seen[-1].batches.append(batch)
            seen[-1].runs.append(run)
            return super().train_step(batch, run)

    return Spied


@contextmanager
def _posed(seen: list[Seen], relabel: Callable[[np.ndarray], np.ndarray] | None) -> Iterator[None]:
    """Keeps the problem that the engine poses, with other observed labels where ``relabel`` is given."""
    pose = fit.pose

    def posed(*arguments: Any) -> Problem:
        problem = pose(*arguments)
        if relabel is not None:
            problem = dataclasses.replace(problem, given=relabel(problem.given))
        seen.append(Seen(None, problem=problem, given=problem.given.copy()))  # type: ignore[arg-type]
        return problem

    with mock.patch.object(fit, "pose", posed):
        yield


# --- the checks ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One promise of the contract. Called, it raises AssertionError where the plugin breaks it."""

    name: str
    proves: str
    function: Callable[[Plugin, Bench], None]

    def __call__(self, plugin: Plugin, bench: Bench) -> None:
        try:
            self.function(plugin, bench)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{plugin.key}: {type(error).__name__}: {error}") from error


CHECKS: dict[str, Check] = {}


def _check(proves: str) -> Callable[[Callable[[Plugin, Bench], None]], Check]:
    def register(function: Callable[[Plugin, Bench], None]) -> Check:
        CHECKS[function.__name__] = Check(function.__name__, proves, function)
        return CHECKS[function.__name__]

    return register


def check_plugin(plugin: Plugin) -> list[tuple[str, str, str | None]]:
    """(check, what it proves, what is wrong or None) for every check, on a fresh problem in a temporary folder."""
    results: list[tuple[str, str, str | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for check in CHECKS.values():
            try:
                check(plugin, bench)
            except AssertionError as error:
                results.append((check.name, check.proves, str(error) or "failed"))
            else:
                results.append((check.name, check.proves, None))
    return results


@_check("every hyper-parameter says what it means; an unknown one is an error that names the nearest")
def config(plugin: Plugin, bench: Bench) -> None:
    names = [f.name for f in dataclasses.fields(plugin.load().Config)]
    bare = [f.name for f in dataclasses.fields(plugin.load().Config) if not f.metadata.get("doc", "").strip()]
    assert not bare, f"Config fields without a meaning: {bare}; write them with fer_bench.method.documented"
    wrong = f"{names[0]}_" if names else "no_such_setting"
    try:
        plugin.configure(bench.faces.name, "clean", {wrong: 1})
    except SpecError as error:
        assert not names or repr(names[0]) in str(error), f"the message does not name {names[0]!r}: {error}"
    else:
        raise AssertionError(f"the unknown setting {wrong!r} was accepted")
    plugin.restore_config(describe_config(plugin.configure(bench.faces.name, "clean", {})))


@_check("two builds under different global random states are equal")
def build_is_reproducible(plugin: Plugin, bench: Bench) -> None:
    spec, built = bench.spec(plugin), []
    with fit.contained(1):
        for seed in (1, 2):
            fit.seed_everything(seed)
            built.append({**dict(bench.build(plugin, spec).named_buffers()), **bench.build(plugin, spec).state_dict()})
    assert built[0].keys() == built[1].keys(), f"two builds differ in {sorted(built[0].keys() ^ built[1].keys())[:3]}"
    different = [name for name in built[0] if not _same(built[0][name], built[1][name])]
    assert not different, f"two builds with one seed differ in {different[:3]}: a random draw outside the derived scope"


@_check("a method sees the views, landmarks and noise rate that it declared, and nothing else")
def needs_are_honoured(plugin: Plugin, bench: Bench) -> None:
    _, seen = bench.trained(plugin)
    needs, batch = plugin.load().needs(seen.method.config), seen.batches[0]
    assert set(needs.views) <= set(VIEWS), f"unknown views {sorted(set(needs.views) - set(VIEWS))}"
    for name in VIEWS:
        if name in needs.views:
            assert batch.view(name).shape == (len(batch), 3, SIZE, SIZE), f"view {name!r} has a wrong shape"
            continue
        try:
            batch.view(name)
        except KeyError:
            continue
        raise AssertionError(f"view {name!r} was not declared and is given")
    assert (batch.landmarks is not None) == needs.landmarks, "landmarks must be given exactly where they are declared"
    assert (seen.method.task.noise_rate is not None) == needs.noise_rate, (
        "the noise rate must be told where it is declared"
    )
    assert len(seen.nets) == needs.networks, f"build() made {len(seen.nets)} networks, needs() says {needs.networks}"


@_check("no true label and no noise flag can be reached from a batch, the task or the run's public face")
def true_labels_are_out_of_reach(plugin: Plugin, bench: Bench) -> None:
    _, seen = bench.trained(plugin)
    assert seen.problem is not None
    true, given = seen.problem.true, seen.problem.given
    assert (true != given).any()
    public = {name: getattr(seen.runs[0], name) for name in dir(seen.runs[0]) if name[0] != "_"}
    for batch in seen.batches[:3]:
        rows = batch.index.numpy()
        secrets = [s for r in (slice(None), rows) for s in (true[r], true[r] == given[r], true[r] != given[r])]
        informative = [s for s in secrets if len(np.unique(s)) > 1]
        for where, values in (("batch", batch), ("task", seen.method.task), ("run", public)):
            for path, array in _arrays(values, where, set()):
                leak = any(array.shape == s.shape and np.array_equal(array.astype(np.int64), s) for s in informative)
                assert not leak, f"{path} holds the true labels or the noise flags"


@_check("training works with and without noise and imbalance: finite losses, and every network learns")
def trains(plugin: Plugin, bench: Bench) -> None:
    for noise, factor in ((0.0, 1.0), (0.0, 10.0), (0.3, 1.0), (0.3, 10.0)):
        folder, seen = bench.trained(plugin, noise, factor)
        where = f"noise {noise}, imbalance {factor}"
        for record in folder.epochs():
            bad = {name: value for name, value in record["train"].items() if not np.isfinite(value)}
            assert not bad, f"{where}: not finite in epoch {record['epoch']}: {bad}"
        still = [
            name
            for name, value in seen.method.named_parameters()
            if value.requires_grad and torch.equal(value, seen.start[name]) and _owner(seen, value) is not None
        ]
        assert not still, f"{where}: parameters of a network that never moved: {still[:3]}"
        for number, net in enumerate(seen.nets):
            mine = {id(p) for p in net.parameters()}
            moved = any(id(p) in mine and not torch.equal(p, seen.start[n]) for n, p in seen.method.named_parameters())
            assert moved, f"{where}: network {number} did not move"


@_check("the method learns: clearly better than chance on clean labels")
def learns(plugin: Plugin, bench: Bench) -> None:
    folder, _ = bench.trained(plugin, noise=0.0, epochs=12)
    overall = folder.epochs()[-1]["test"]["overall"]
    assert overall >= LEARNED, f"accuracy {overall:.2f} after 12 epochs without noise (chance is {1 / len(CLASSES)})"


@_check("predict() returns logits [B, C] that depend on nothing but the image: not on chance, not on the batch")
def predicts(plugin: Plugin, bench: Bench) -> None:
    _, seen = bench.trained(plugin)
    method, images = seen.method.eval(), bench.images(9)
    with torch.no_grad():
        together = method.predict(images)
        assert together.shape == (9, len(CLASSES)), (
            f"predict() returned {tuple(together.shape)}, not {(9, len(CLASSES))}"
        )
        assert together.dtype == torch.float32 and together.isfinite().all(), "logits must be finite float32"
        assert torch.equal(together, method.predict(images)), "two calls on the same images differ"
        alone = torch.cat([method.predict(image[None]) for image in images])
        assert alone.shape == together.shape, (
            f"one image gives logits of shape {tuple(method.predict(images[:1]).shape)}"
        )
        gap = float((alone - together).abs().max())
        assert gap <= 1e-4 * max(1.0, float(together.abs().max())), f"an image alone and in a batch differ by {gap:.2g}"
        for name, other in method.other_predictions(images).items():
            assert other.shape == together.shape, f"other_predictions()[{name!r}] has shape {tuple(other.shape)}"


@_check("the state survives being saved and loaded into a fresh method")
def state_round_trip(plugin: Plugin, bench: Bench) -> None:
    _, seen = bench.trained(plugin)
    buffer = io.BytesIO()
    torch.save(seen.method.state_dict(), buffer)
    buffer.seek(0)
    with fit.contained(1):
        fresh = bench.build(plugin, bench.spec(plugin, 0.3))
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    images = bench.images(9)
    with torch.no_grad():
        same = torch.equal(fresh.eval().predict(images), seen.method.eval().predict(images))
    assert same, "a method with the loaded state answers differently: something it learned is not in its state"
    mine, loaded = seen.method.clean_score(), fresh.clean_score()
    assert (mine is None) == (loaded is None) and (mine is None or _same(mine, loaded)), "clean_score() changed"


def _has_epochs(count: int, folder: RunFolder) -> bool:
    return len(folder.epochs()) >= count


@_check("a run that is stopped at every epoch border ends in the same numbers, bit for bit")
def resumes_exactly(plugin: Plugin, bench: Bench) -> None:
    spec = bench.spec(plugin, noise=0.3, epochs=BORDER_EPOCHS, batch_size=32)
    whole, _ = bench.train(plugin, spec, "whole")
    for border in range(1, BORDER_EPOCHS):
        try:
            bench.train(plugin, spec, "stopped", partial(_has_epochs, border))
        except fit.Interrupted:
            continue
        raise AssertionError(f"the run was not stopped after epoch {border}")
    stopped, _ = bench.train(plugin, spec, "stopped")
    for mine, other in zip(records(whole), records(stopped), strict=True):
        names = [name for name in mine if mine[name] != other[name]]
        assert not names, f"after a stop at each epoch border, epoch {mine['epoch']} differs in {names}"
    with np.load(whole.path / "scores.npz") as mine, np.load(stopped.path / "scores.npz") as other:
        names = [name for name in mine.files if mine[name].tobytes() != other[name].tobytes()]
    assert not names, f"after a stop at each epoch border, the final {names} differ"


@_check("a last batch of one image does no harm")
def last_batch_of_one(plugin: Plugin, bench: Bench) -> None:
    count = PER_CLASS["train"] * len(CLASSES)
    size = next(size for size in range(10, 40) if count % size == 1)
    folder, seen = bench.train(plugin, bench.spec(plugin, batch_size=size), "odd")
    assert folder.state == "done" and min(len(batch) for batch in seen.batches) > 1, (
        "a batch of one image was trained on"
    )


@_check("a class that no training label names does no harm")
def absent_class(plugin: Plugin, bench: Bench) -> None:
    folder, seen = bench.train(
        plugin, bench.spec(plugin), "absent", relabel=lambda given: np.where(given == 0, 1, given)
    )
    assert int(seen.method.task.class_counts[0]) == 0 and folder.state == "done"


@_check("training labels that are all the same do no harm")
def equal_labels(plugin: Plugin, bench: Bench) -> None:
    folder, _ = bench.train(plugin, bench.spec(plugin), "equal", relabel=np.zeros_like)
    assert folder.state == "done"


@_check("the labels of the data set are as they were after training")
def labels_are_untouched(plugin: Plugin, bench: Bench) -> None:
    _, seen = bench.trained(plugin)
    assert seen.problem is not None and seen.given is not None
    assert np.array_equal(seen.problem.given, seen.given), (
        "the method wrote into the training labels; use sample_buffer"
    )
    true = bench.faces.label[seen.problem.train]
    assert np.array_equal(seen.problem.true, true), "the true labels were changed"


@_check("nothing is written outside the run's folder")
def writes_in_its_folder_only(plugin: Plugin, bench: Bench) -> None:
    bench.trained(plugin)  # imports and caches of libraries are behind us
    with _watched() as written:
        folder, _ = bench.train(plugin, bench.spec(plugin, 0.3), "watched")
    root = folder.path.resolve()
    outside = sorted({path for path in written if not Path(path).resolve().is_relative_to(root) and _counts(path)})
    assert not outside, f"written outside the run's folder: {outside[:3]}"


@_check("a method leaves default dtype, threads, gradient mode, working directory and environment as it found them")
def leaves_the_process_as_it_was(plugin: Plugin, bench: Bench) -> None:
    found: list[dict[str, Any]] = []
    contained = fit.contained

    @contextmanager
    def watched(threads: int) -> Iterator[None]:
        with contained(threads):  # which puts back what a method changed, so look before it does
            found.append(_process())
            yield
            found.append(_process())

    with mock.patch.object(fit, "contained", watched):
        bench.train(plugin, bench.spec(plugin, 0.3), "process")
    before, after = found
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"changed by training: {changed}"


@_check("the cost counters run, and images forwarded agree with Needs.forwards")
def cost_is_counted(plugin: Plugin, bench: Bench) -> None:
    # a run long enough that a warm-up of its first epoch hardly counts
    folder, seen = bench.trained(plugin, noise=0.0, epochs=12)
    final, images = folder.final, sum(len(batch) for batch in seen.batches)
    assert final is not None
    forward, backward = final["images_forward"], final["images_backward"]
    assert 0 < backward <= forward, f"{forward} images forward, {backward} backward"
    declared = plugin.load().needs(seen.method.config).forwards
    assert abs(forward / images - declared) <= 0.05 * declared, (
        f"{forward / images:.2f} images forwarded for each image of a batch; Needs(forwards={declared})"
    )
    assert final["skipped_steps"] < len(seen.batches), "no step ever called run.minimise"


@_check("clean_score() is None or a finite number for each training image")
def clean_score(plugin: Plugin, bench: Bench) -> None:
    folder, seen = bench.trained(plugin)
    score, count = seen.method.clean_score(), seen.method.task.num_samples
    if score is not None:
        assert score.shape == (count,) and score.is_floating_point(), (
            f"{score.dtype} {tuple(score.shape)}, not float [{count}]"
        )
        assert bool(score.isfinite().all()), f"{int((~score.isfinite()).sum())} of {count} clean scores are not finite"
    with np.load(folder.path / "scores.npz") as scores:
        assert scores["clean_score"].shape == (count,)


# --- helpers ------------------------------------------------------------------------------------------------------


def records(folder: RunFolder) -> list[dict[str, Any]]:
    """The records of a run's epochs without the seconds that they took: equal for equal training."""
    lines = (folder.path / "epochs.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def _same(a: Tensor, b: Tensor | None) -> bool:
    """Equal bit for bit, NaN included."""
    return (
        b is not None
        and a.dtype == b.dtype
        and a.shape == b.shape
        and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
    )


def _owner(seen: Seen, parameter: Tensor) -> torch.nn.Module | None:
    return next((net for net in seen.nets if any(p is parameter for p in net.parameters())), None)


def _arrays(value: Any, path: str, visited: set[int], depth: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Every whole-number or boolean array that can be reached by attributes, items and closures, with the way to it."""
    if id(value) in visited or depth > 6:
        return
    visited.add(id(value))
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "biu":
            yield path, value
        return
    inside: dict[str, Any] = {}
    if isinstance(value, dict):
        inside = {f"{path}[{name!r}]": item for name, item in value.items()}
    elif isinstance(value, (list, tuple)):
        inside = {f"{path}[{place}]": item for place, item in enumerate(value)}
        if value and all(isinstance(item, (bool, int)) for item in value):
            yield path, np.array(value)
    elif hasattr(value, "__wrapped__") or getattr(value, "__closure__", None):
        cells = getattr(getattr(value, "__wrapped__", value), "__closure__", None) or ()
        inside = {f"{path}.closure[{place}]": _content(cell) for place, cell in enumerate(cells)}
    elif hasattr(value, "__dict__") and not isinstance(value, (type, torch.nn.Module)):
        inside = {f"{path}.{name}": item for name, item in vars(value).items()}
    if getattr(value, "__self__", None) is not None and callable(value):
        return  # a bound method: its object is the run's private half
    for name, item in inside.items():
        yield from _arrays(item, name, visited, depth + 1)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _process() -> dict[str, Any]:
    return {
        "default dtype": torch.get_default_dtype(),
        "thread count": torch.get_num_threads(),
        "gradient mode": torch.is_grad_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "working directory": str(Path.cwd()),
        "environment": dict(os.environ),
    }


_written: list[str] | None = None
_hooked = False


@contextmanager
def _watched() -> Iterator[list[str]]:
    """Collects the paths that this process writes, makes, renames or removes."""
    global _written, _hooked
    if not _hooked:
        sys.addaudithook(_audit)  # a hook cannot be removed; outside of this context it does nothing
        _hooked = True
    _written = []
    try:
        yield _written
    finally:
        _written = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _written is None:
        return
    if event == "open":
        path, mode, flags = arguments
        writes = (isinstance(mode, str) and any(c in mode for c in "wax+")) or bool(
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        paths = [path] if writes else []
    else:
        paths = list(arguments[:2]) if event in ("os.rename", "os.link", "os.symlink") else []
        paths += [arguments[0]] if event in ("os.mkdir", "os.truncate") else []
        paths += [_below(*arguments)] if event in ("os.remove", "os.rmdir") else []
    _written.extend(os.fsdecode(path) for path in paths if isinstance(path, (str, bytes, os.PathLike)))


def _below(path: Any, folder: int) -> Any:
    """A path that is relative to an open folder, as ``shutil.rmtree`` names what it removes, from the root."""
    place = Path(f"/proc/self/fd/{folder}")
    return place.readlink() / os.fsdecode(path) if folder >= 0 and place.exists() else path


def _counts(path: str) -> bool:
    return path != os.devnull and "__pycache__" not in path and not path.startswith(("/dev/", "/proc/"))
