"""The checks of the contract: what every method must do, tried by training it for moments on a small drawn problem.

from fer_bench.plugins.registry import discover
from fer_bench.testing import check_plugin

for result in check_plugin(discover(["my_methods"])["mine"]):
    print(result.check, result.error)
"""

from __future__ import annotations

import dataclasses
import inspect
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fer_bench.core.errors import SpecError
from fer_bench.engine.isolation import contained, seed_everything
from fer_bench.engine.job import Interrupted
from fer_bench.engine.trainer import Trainer
from fer_bench.method import VIEWS
from fer_bench.plugins.registry import Plugin, describe_config
from fer_bench.store.folder import RunFolder
from fer_bench.testing.bench import CLASSES, PER_CLASS, SIZE, Bench, relabelled
from fer_bench.testing.probes import (
    is_write,
    lost_attributes,
    process_state,
    reachable_arrays,
    records,
    same_tensors,
    watched_writes,
)

LEARNED = 0.6
"""Accuracy on the small problem, where chance is 0.25, that a method must reach in 12 epochs without noise."""

BORDER_EPOCHS = 11
"""Epochs of the check of resuming. Methods that change their labels late, from epoch 10 on, have begun to."""


@dataclass(frozen=True)
class Check:
    """One promise of the contract. Called, it raises AssertionError where the plugin breaks it.

    Attributes:
        name: Name of the check.
        proves: The promise, in a sentence or two.
        function: Tries it.
    """

    name: str
    proves: str
    function: Callable[[Plugin, Bench], None]

    def __call__(self, plugin: Plugin, bench: Bench) -> None:
        """Tries the promise."""
        try:
            self.function(plugin, bench)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{plugin.key}: {type(error).__name__}: {error}") from error


CHECKS: dict[str, Check] = {}


def check(function: Callable[[Plugin, Bench], None]) -> Check:
    """Adds a function to the checks. Its docstring is the promise that it tries."""
    proves = " ".join((inspect.getdoc(function) or "").split())
    CHECKS[function.__name__] = Check(function.__name__, proves, function)
    return CHECKS[function.__name__]


@check
def config(plugin: Plugin, bench: Bench) -> None:
    """Every hyper-parameter says what it means. An unknown one is an error that names the nearest."""
    names = [f.name for f in dataclasses.fields(plugin.load().Config)]
    bare = [f.name for f in dataclasses.fields(plugin.load().Config) if not f.metadata.get("doc", "").strip()]
    assert not bare, f"Config fields without a meaning: {bare}; write them with fer_bench.method.hparam"
    wrong = f"{names[0]}_" if names else "no_such_setting"
    try:
        plugin.configure(bench.dataset.name, "clean", {wrong: 1})
    except SpecError as error:
        assert not names or repr(names[0]) in str(error), f"the message does not name {names[0]!r}: {error}"
    else:
        raise AssertionError(f"the unknown setting {wrong!r} was accepted")
    plugin.restore_config(describe_config(plugin.configure(bench.dataset.name, "clean", {})))


@check
def build_is_reproducible(plugin: Plugin, bench: Bench) -> None:
    """Two builds under different global random states are equal."""
    spec, built = bench.spec(plugin), []
    with contained(1):
        for seed in (1, 2):
            seed_everything(seed)
            built.append({**dict(bench.build(plugin, spec).named_buffers()), **bench.build(plugin, spec).state_dict()})
    assert built[0].keys() == built[1].keys(), f"two builds differ in {sorted(built[0].keys() ^ built[1].keys())[:3]}"
    different = [name for name in built[0] if not same_tensors(built[0][name], built[1][name])]
    assert not different, (
        f"two builds with one seed differ in {different[:3]}: a random draw that does not use the derived seed"
    )


@check
def needs_are_honoured(plugin: Plugin, bench: Bench) -> None:
    """A method sees the views, landmarks and noise rate that it declared, and nothing else."""
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
        raise AssertionError(f"view {name!r} is given, but was not declared")
    assert (batch.landmarks is not None) == needs.landmarks, (
        "landmarks must be given if they are declared, and only then"
    )
    assert (seen.method.task.noise_rate is not None) == needs.noise_rate, (
        "the noise rate must be given if it is declared, and only then"
    )
    assert len(seen.nets) == needs.networks, f"build() made {len(seen.nets)} networks, needs() says {needs.networks}"


@check
def true_labels_are_out_of_reach(plugin: Plugin, bench: Bench) -> None:
    """No clean label and no noise flag can be reached from a batch, the task or the run."""
    _, seen = bench.trained(plugin)
    clean, noisy = seen.splits.clean_label, seen.splits.noisy_label
    assert (clean != noisy).any()
    public = {name: getattr(seen.runs[0], name) for name in dir(seen.runs[0]) if name[0] != "_"}
    for batch in seen.batches[:3]:
        rows = batch.index.numpy()
        secrets = [s for r in (slice(None), rows) for s in (clean[r], clean[r] == noisy[r], clean[r] != noisy[r])]
        informative = [s for s in secrets if len(np.unique(s)) > 1]
        for where, values in (("batch", batch), ("task", seen.method.task), ("run", public)):
            for path, array in reachable_arrays(values, where, set()):
                leak = any(array.shape == s.shape and np.array_equal(array.astype(np.int64), s) for s in informative)
                assert not leak, f"{path} holds the clean labels or the noise flags"


@check
def trains(plugin: Plugin, bench: Bench) -> None:
    """Training works with and without noise and imbalance: losses are finite, and every network learns."""
    for noise, factor in ((0.0, 1.0), (0.0, 10.0), (0.3, 1.0), (0.3, 10.0)):
        folder, seen = bench.trained(plugin, noise, factor)
        where = f"noise {noise}, imbalance {factor}"
        for record in folder.epochs():
            bad = {name: value for name, value in record["train"].items() if not np.isfinite(value)}
            assert not bad, f"{where}: not finite in epoch {record['epoch']}: {bad}"
        still = [
            name
            for name, value in seen.method.named_parameters()
            if value.requires_grad and torch.equal(value, seen.start[name]) and seen.network_of(value) is not None
        ]
        assert not still, f"{where}: parameters of a network that never moved: {still[:3]}"
        for number, net in enumerate(seen.nets):
            mine = {id(p) for p in net.parameters()}
            moved = any(id(p) in mine and not torch.equal(p, seen.start[n]) for n, p in seen.method.named_parameters())
            assert moved, f"{where}: network {number} did not move"


@check
def learns(plugin: Plugin, bench: Bench) -> None:
    """The method learns: on clean labels it is clearly better than chance."""
    folder, _ = bench.trained(plugin, noise=0.0, epochs=12)
    overall = folder.epochs()[-1]["test"]["overall"]
    assert overall >= LEARNED, f"accuracy {overall:.2f} after 12 epochs without noise (chance is {1 / len(CLASSES)})"


@check
def predicts(plugin: Plugin, bench: Bench) -> None:
    """Predictions are logits [B, C] that depend on the image alone: not on chance, and not on the batch."""
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


@check
def state_round_trip(plugin: Plugin, bench: Bench) -> None:
    """The state survives being saved and loaded into a fresh method."""
    _, seen = bench.trained(plugin)
    buffer = io.BytesIO()
    torch.save(seen.method.state_dict(), buffer)
    buffer.seek(0)
    with contained(1):
        fresh = bench.build(plugin, bench.spec(plugin, 0.3))
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    hint = _lost(lost_attributes(seen.method, fresh))
    images = bench.images(9)
    with torch.no_grad():
        same = torch.equal(fresh.eval().predict(images), seen.method.eval().predict(images))
    assert same, (
        f"a method with the loaded state gives other predictions: something that it learned is not in its state{hint}"
    )
    mine, loaded = seen.method.clean_score(), fresh.clean_score()
    assert (mine is None) == (loaded is None) and (mine is None or same_tensors(mine, loaded)), (
        f"clean_score() changed{hint}"
    )


def _lost(names: list[str]) -> str:
    """The plain attributes of a method that are lost with its process, for the end of a message."""
    shown = ", ".join(f"self.{name}" for name in names[:3])
    return f"; lost: {shown} (make it a buffer: register_buffer or sample_buffer)" if names else ""


def _has_epochs(count: int, folder: RunFolder) -> bool:
    return len(folder.epochs()) >= count


@check
def resumes_exactly(plugin: Plugin, bench: Bench) -> None:
    """A run that is stopped after every epoch ends in the same numbers, bit for bit."""
    spec = bench.spec(plugin, noise=0.3, epochs=BORDER_EPOCHS, batch_size=32)
    whole, through = bench.train(plugin, spec, "whole")
    for border in range(1, BORDER_EPOCHS):
        try:
            bench.train(plugin, spec, "stopped", partial(_has_epochs, border))
        except Interrupted:
            continue
        raise AssertionError(f"the run was not stopped after epoch {border}")
    stopped, resumed = bench.train(plugin, spec, "stopped")
    hint = _lost(lost_attributes(through.method, resumed.method))
    for mine, other in zip(records(whole), records(stopped), strict=True):
        names = [name for name in mine if mine[name] != other[name]]
        assert not names, f"after a stop at each epoch border, epoch {mine['epoch']} differs in {names}{hint}"
    with np.load(whole.path / "scores.npz") as mine, np.load(stopped.path / "scores.npz") as other:
        names = [name for name in mine.files if mine[name].tobytes() != other[name].tobytes()]
    assert not names, f"after a stop at each epoch border, the final {names} differ{hint}"


@check
def last_batch_of_one(plugin: Plugin, bench: Bench) -> None:
    """A last batch of one image does no harm."""
    count = PER_CLASS["train"] * len(CLASSES)
    size = next(size for size in range(10, 40) if count % size == 1)
    folder, seen = bench.train(plugin, bench.spec(plugin, batch_size=size), "odd")
    assert folder.state == "done" and min(len(batch) for batch in seen.batches) > 1, (
        "a batch of one image was trained on"
    )


@check
def absent_class(plugin: Plugin, bench: Bench) -> None:
    """A class without training labels does no harm."""
    folder, seen = bench.train(
        plugin, bench.spec(plugin), "absent", change_splits=relabelled(lambda old: np.where(old == 0, 1, old))
    )
    assert int(seen.method.task.class_counts[0]) == 0 and folder.state == "done"


@check
def equal_labels(plugin: Plugin, bench: Bench) -> None:
    """Training labels that are all the same do no harm."""
    folder, _ = bench.train(plugin, bench.spec(plugin), "equal", change_splits=relabelled(np.zeros_like))
    assert folder.state == "done"


@check
def labels_are_untouched(plugin: Plugin, bench: Bench) -> None:
    """The labels of the data set are as they were after training."""
    _, seen = bench.trained(plugin)
    same = np.array_equal(seen.splits.noisy_label, seen.noisy_label)
    assert same, "the method wrote into the training labels; use sample_buffer"
    clean = bench.dataset.label[seen.splits.train]
    assert np.array_equal(seen.splits.clean_label, clean), "the clean labels were changed"


@check
def writes_in_its_folder_only(plugin: Plugin, bench: Bench) -> None:
    """Python writes nothing outside the run's folder. Writes of C libraries and of child processes are not seen."""
    bench.trained(plugin)  # imports and caches of libraries are behind us
    with watched_writes() as written:
        folder, _ = bench.train(plugin, bench.spec(plugin, 0.3), "watched")
    root = folder.path.resolve()
    outside = sorted({path for path in written if not Path(path).resolve().is_relative_to(root) and is_write(path)})
    assert not outside, f"written outside the run's folder: {outside[:3]}"


@check
def leaves_the_process_as_it_was(plugin: Plugin, bench: Bench) -> None:
    """Default dtype, threads, gradient mode, working directory and environment stay as they were."""
    bench.trained(plugin)  # libraries that set variables when they are first imported are behind us
    spec = bench.spec(plugin, 0.3)
    folder = RunFolder(bench.folder / f"{plugin.key}-{spec.key}-process")
    with folder.claim(), contained(spec.recipe.threads):  # as in a run, which then puts back what a method changed
        folder.start(spec, {})
        before = process_state()
        Trainer(bench.job(plugin, spec, folder)).run()
        after = process_state()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"changed by training: {changed}"


@check
def cost_is_counted(plugin: Plugin, bench: Bench) -> None:
    """The cost counters run, and the images forwarded agree with Needs.forwards."""
    # a run long enough that a warm-up of its first epoch hardly counts
    folder, seen = bench.trained(plugin, noise=0.0, epochs=12)
    final, images = folder.final, sum(len(batch) for batch in seen.batches)
    assert final is not None
    forward, backward = final["images_forward"], final["images_backward"]
    assert 0 < backward <= forward, f"{forward} images forward, {backward} backward"
    declared = plugin.load().needs(seen.method.config).forwards_in(12)
    assert abs(forward / images - declared) <= 0.05 * declared, (
        f"{forward / images:.2f} images forwarded for each image of a batch; Needs(forwards={declared})"
    )
    assert final["skipped_steps"] < len(seen.batches), "no step ever called run.minimize"


@check
def clean_score(plugin: Plugin, bench: Bench) -> None:
    """The clean score is None, or a finite number for each training image."""
    folder, seen = bench.trained(plugin)
    score, count = seen.method.clean_score(), seen.method.task.num_samples
    if score is not None:
        assert score.shape == (count,) and score.is_floating_point(), (
            f"{score.dtype} {tuple(score.shape)}, not float [{count}]"
        )
        assert bool(score.isfinite().all()), f"{int((~score.isfinite()).sum())} of {count} clean scores are not finite"
    with np.load(folder.path / "scores.npz") as scores:
        assert scores["clean_score"].shape == (count,)
