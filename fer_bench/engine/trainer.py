"""The training loop: the same for every method, and it never asks a method its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_bench import metrics
from fer_bench.core.seeds import derive, numpy_rng, torch_generator
from fer_bench.data.dataset import Dataset
from fer_bench.data.landmarks import MIRRORED_LANDMARKS
from fer_bench.data.splits import Splits, make_splits
from fer_bench.data.stratified import stratified_part
from fer_bench.engine.augment import Views, gather
from fer_bench.engine.batches import WALK_BATCH, _batches, _resident
from fer_bench.engine.context import TrainingContext
from fer_bench.engine.evaluate import logits
from fer_bench.engine.isolation import contained, seed_everything
from fer_bench.engine.job import Interrupted, ProgressEvent, TrainingJob
from fer_bench.engine.memory import forget_peak_memory, keep_freed_memory, peak_memory
from fer_bench.engine.optim import make_optimizer, schedule
from fer_bench.engine.stages import stage_epochs
from fer_bench.method import Batch, Images, Stage, Task
from fer_bench.models.networks import make_network
from fer_bench.models.precision import Precision

PROBE = 1000
"""Training images on which the fit to given and to true labels is measured after each epoch; all of them at the end."""

REPORT_EVERY = 0.5
"""Seconds between two reports of progress within an epoch."""


def train(job: TrainingJob) -> None:
    """Trains one run to its end, from its last finished epoch if there is one, and writes its results to its folder.

    Raises Interrupted when ``job.stopping()`` turns true, NonFiniteLoss, DataError, SpecError, or whatever the method
    raises.
    """
    keep_freed_memory()
    with contained(job.spec.recipe.threads):
        Trainer(job).run()


class Trainer:
    """One run from its data to its results."""

    def __init__(self, job: TrainingJob) -> None:
        spec, faces, resources, folder = job.spec, job.dataset, job.resources, job.folder
        method_class, config = job.method_class, job.config
        recipe, device = spec.recipe, resources.device
        forget_peak_memory(device)
        self.spec, self.recipe, self.folder, self.device = spec, recipe, folder, device
        self.on_progress, self.stopping = job.on_progress, job.stopping
        self.problem: Splits = make_splits(faces, spec, resources.noise_file)
        self.classes = len(faces.classes)
        self.pixels = _resident(faces.pixels(recipe.image_size), device)
        self.landmarks, self.landmarks_ok = faces.landmarks, faces.landmarks_ok
        self.views = Views(recipe, device)
        self.rows = torch.from_numpy(self.problem.train).to(self.pixels.device)
        self.resources = resources
        self.pool, self.pool_rows = self.pixels, self.rows
        if resources.unlabelled is not None:
            self.pool = _resident(resources.unlabelled.pixels(recipe.image_size), device)
            self.pool_rows = torch.arange(len(self.pool), device=self.pool.device)
        self.given = torch.from_numpy(self.problem.noisy_label).to(device)
        self.probe = np.sort(numpy_rng(0, "probe").permutation(len(self.rows))[:PROBE])
        self.needs = method_class.needs(config)
        clean = self.given.cpu() == torch.from_numpy(self.problem.clean_label)
        self.harness = TrainingContext(spec, device, clean.to(device), self.given, self.classes, self._training_set)
        trusted = self._trusted(faces)
        task = Task(
            num_classes=self.classes,
            num_samples=len(self.rows),
            class_counts=torch.bincount(self.given.cpu(), minlength=self.classes),
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            noise_rate=self.problem.noise["realised_rate"] if self.needs.noise_rate else None,
            trusted=trusted,
            trusted_label=None if trusted is None else _tensor(self.problem.clean_label)[trusted],
        )

        arithmetic = Precision(recipe, device, self.harness.meter.count)

        def network(role: str) -> Any:
            net = make_network(
                recipe.backbone,
                self.classes,
                seed=spec.seed,
                role=role,
                pretrained=recipe.pretrained,
                weights=resources.weights,
            )
            self.harness.meter.attach(net)
            arithmetic.adapt(net)
            return net

        seed_everything(derive(spec.seed, "method"))
        self.method = method_class(config, task)
        self.method.build(network)
        self.method.to(device)
        arithmetic.active = True
        self.stages = stage_epochs(self.method.stages(), recipe.epochs)
        self.epochs = self.harness.epochs = self.stages[-1][2]
        self.records: list[dict[str, Any]] = []
        self.probe_logits: list[Tensor] = []

    def _trusted(self, faces: Dataset) -> Tensor | None:
        """Rows of the training set whose true labels the method is told: a part of each observed class."""
        if not self.needs.trusted:
            return None
        ids, size = faces.ids[self.problem.train], round(self.needs.trusted * len(self.rows))
        chosen = stratified_part(self.problem.noisy_label, ids, max(size, self.classes), self.spec.data_seed)
        return torch.from_numpy(np.flatnonzero(chosen))

    def run(self) -> None:
        done = self._resume() or self._take_over()
        for stage, first, last in self.stages:
            if last <= done:
                continue
            if not self.harness.optimizers or self.harness.stage != stage.name:
                self._begin_stage(stage.name, first, last - first)
            for epoch in range(max(first, done), last):
                self._epoch(stage, epoch, epoch - first, last - first)
        self._finish()

    def _begin_stage(self, name: str, first_epoch: int, epochs: int) -> None:
        seed_everything(derive(self.spec.seed, "stage", name))
        self._make_optimizers(name)
        self.harness.begin_stage(name, first_epoch, epochs)
        self.method.train()  # after an evaluation as after a resume
        self.method.on_stage_start(name, self.harness)

    def _make_optimizers(self, stage: str) -> None:
        self.harness.stage = stage
        self.harness.optimizers = self.method.optimizers(stage, partial(make_optimizer, self.recipe))
        self._base_rates = self._rates()

    def _rates(self) -> dict[str, list[float]]:
        return {name: [g["lr"] for g in o.param_groups] for name, o in self.harness.optimizers.items()}

    def _epoch(self, stage: Stage, epoch: int, stage_epoch: int, stage_epochs: int) -> None:
        started = time.perf_counter()
        seed_everything(derive(self.spec.seed, "epoch", epoch))
        order = self._order(epoch)
        batches = _batches(order, self.recipe.batch_size)
        self.harness.begin_epoch(epoch, len(batches), stage.name, stage_epoch, stage_epochs)
        skipped_before = self.harness.skipped_steps
        stream = self._stream(epoch, sum(map(self._unlabelled_count, batches)))
        factor = schedule(self.recipe, stage_epoch, stage_epochs)
        for name, rates in self._base_rates.items():
            for group, rate in zip(self.harness.optimizers[name].param_groups, rates, strict=True):
                group["lr"] = rate * factor
        self.method.train()
        self.method.on_epoch_start(self.harness)
        sums: dict[str, Tensor | float] = {}
        reported = started
        for step, rows in enumerate(batches):
            if self.stopping():
                raise Interrupted(f"stopped in epoch {epoch + 1}")
            hidden, stream = stream.split([n := self._unlabelled_count(rows), len(stream) - n])
            batch = self._batch(rows, hidden, "augment", epoch, step)
            logged = self.method.train_step(batch, self.harness)
            self.harness.end_step()
            for name, value in logged.items():
                sums[name] = sums.get(name, 0.0) + value
            if time.perf_counter() - reported > REPORT_EVERY:
                reported = time.perf_counter()
                rate = (step + 1) * self.recipe.batch_size / (reported - started)
                self._report(epoch, step + 1, len(batches), sums, rate)
        self.method.on_epoch_end(self.harness)
        if epoch + 1 == self.epochs:
            self.method.on_fit_end(self.harness)
        selection = self.harness.end_epoch()
        self._check_steps(epoch, len(batches) - (self.harness.skipped_steps - skipped_before))
        trained = time.perf_counter()
        record = {
            "epoch": epoch + 1,
            "stage": stage.name,
            "lr": {name: rates[0] for name, rates in self._rates().items()},
            "train": {name: float(value) / len(batches) for name, value in sums.items()},
            "selection": selection,
            "skipped_steps": self.harness.skipped_steps,
            "images_forward": self.harness.meter.forward,
            "images_backward": self.harness.meter.backward,
            **self._measure(),
        }
        record["seconds"] = {"train": trained - started, "evaluate": time.perf_counter() - trained}
        self.records.append(record)
        self._report(epoch + 1, 0, len(batches), sums, len(order) / (trained - started))
        self.folder.save_epochs(self.records)
        self.folder.save_checkpoint(self._state())

    def _check_steps(self, epoch: int, taken: int) -> None:
        """A method that takes no step in its first epoch is at fault and ends here; later epochs without one may be its
        plan, as those of a stage that only evaluates, and stand in the log."""
        if taken:
            return
        message = f"no optimizer step in epoch {epoch + 1}: train_step() never called run.minimize()"
        if not epoch:
            raise RuntimeError(message)
        print(message)

    def _order(self, epoch: int) -> Tensor:
        """The rows of the training set that this epoch visits: the method's own, or a shuffle shared by all methods."""
        generator = torch_generator(self.spec.seed, "order", epoch)
        own = self.method.epoch_indices(self.given.cpu(), generator)
        if own is None:
            return torch.randperm(len(self.rows), generator=torch_generator(self.spec.seed, "order", epoch))
        if own.ndim != 1 or own.dtype != torch.int64 or not len(own) or own.min() < 0 or own.max() >= len(self.rows):
            raise ValueError(
                f"epoch_indices() must be int64 rows in [0, {len(self.rows)}), got {own.dtype} {tuple(own.shape)}"
            )
        return own

    def _unlabelled_count(self, rows: Tensor) -> int:
        return round(self.needs.unlabelled * len(rows))

    def _stream(self, epoch: int, count: int) -> Tensor:
        """The unlabelled images of an epoch, int64 [count] rows of the pool: shuffles of it, one after the other."""
        shuffles = [
            torch.randperm(len(self.pool_rows), generator=torch_generator(self.spec.seed, "unlabelled", epoch, turn))
            for turn in range(-(-count // len(self.pool_rows)))
        ]
        return torch.cat([torch.empty(0, dtype=torch.int64), *shuffles])[:count]

    def _training_set(self, walk: int) -> Iterator[Batch]:
        """The training set in order; another walk draws other augmentations."""
        nothing = torch.empty(0, dtype=torch.int64)
        for part, rows in enumerate(torch.arange(len(self.rows)).split(WALK_BATCH)):
            yield self._batch(rows, nothing, "walk", self.harness.epoch, self.harness.step, walk, part)

    def _batch(self, rows: Tensor, hidden: Tensor, *purpose: str | int) -> Batch:
        """The training images ``rows`` and the unlabelled ones ``hidden``, augmented as the purpose says."""
        seed = self.spec.seed
        index = rows.to(self.pixels.device)
        make, flipped = self.views.batch(gather(self.pixels, self.rows[index]), seed, *purpose)
        unlabelled = None
        if len(hidden):
            pool = gather(self.pool, self.pool_rows[hidden.to(self.pool.device)])
            make_hidden, _ = self.views.batch(pool, seed, "unlabelled", *purpose)
            unlabelled = Images(len(hidden), make_hidden, self.needs.views)
        index = index.to(self.device)
        points = found = None
        if self.needs.landmarks and self.landmarks is not None and self.landmarks_ok is not None:
            of_batch = self.problem.train[rows.numpy()]
            points = torch.from_numpy(self.landmarks[of_batch]).to(self.device)
            mirrored = points[:, list(MIRRORED_LANDMARKS)] * points.new_tensor([-1, 1]) + points.new_tensor([1, 0])
            points = torch.where(flipped[:, None, None], mirrored, points)
            found = torch.from_numpy(self.landmarks_ok[of_batch]).to(self.device)
        return Batch(index, self.given[index], make, self.needs.views, points, found, unlabelled)

    def _report(self, epoch: int, step: int, steps: int, sums: dict[str, Any], rate: float) -> None:
        loss = float(sums["loss"]) / (step or steps) if "loss" in sums else None
        overall = self.records[-1]["test"]["overall"] if self.records else None
        self.on_progress(ProgressEvent(epoch, self.epochs, step, steps, rate, loss, overall))

    def _logits(self, rows: np.ndarray, predict: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        return logits(predict or self.method.predict, self.pixels, rows, self.views, self.classes)

    def _other_prediction(self, name: str, images: Tensor) -> Tensor:
        return self.method.other_predictions(images)[name]

    def _measure(self) -> dict[str, Any]:
        """Test and validation metrics, and the fit to given and true labels on the probe."""
        self.method.eval()
        problem, probe = self.problem, self.probe
        measured: dict[str, Any] = {
            "test": metrics.classification(self._logits(problem.test), _tensor(problem.test_label))
        }
        measured["val"] = None
        if len(problem.val):
            measured["val"] = metrics.classification(self._logits(problem.val), _tensor(problem.val_label))
        fitted = self._logits(problem.train[probe])
        self.probe_logits.append(fitted)
        measured["train_fit"] = metrics.memorisation(
            fitted, _tensor(problem.noisy_label[probe]), _tensor(problem.clean_label[probe])
        )
        return measured

    def _finish(self) -> None:
        self.method.eval()
        problem = self.problem
        test, train = self._logits(problem.test), self._logits(problem.train)
        given, true = _tensor(problem.noisy_label), _tensor(problem.clean_label)
        score = self.method.clean_score()
        own_score = score is not None
        if score is None:
            score = -torch.nn.functional.cross_entropy(train, given, reduction="none")
        score = score.detach().float().cpu()
        others = {}
        for name in self.method.other_predictions(self.views.plain(self.pixels[:2])):
            answer = self._logits(problem.test, partial(self._other_prediction, name))
            others[name] = metrics.classification(answer, _tensor(problem.test_label))
        last = self.records[-1]
        self.folder.finish(
            {
                "test": last["test"],
                "other_predictions": others,
                "detection": metrics.detection(score, given == true),
                "detection_by": "method" if own_score else "loss",
                "memorisation": metrics.memorisation(train, given, true),
                "noise": problem.noise,
                "realised_rate": problem.noise["realised_rate"],
                "noisy_imbalance": problem.noise["noisy_imbalance"],
                "uses_noise_rate": self.needs.noise_rate,
                "clean_labels_used": 0 if self.method.task.trusted is None else len(self.method.task.trusted),
                **self._told(),
                "peak_memory_bytes": peak_memory(self.device),
                "train_images": len(problem.train),
                "parameters": sum(p.numel() for p in self.method.parameters()),
                **{name: last[name] for name in ("images_forward", "images_backward", "skipped_steps")},
                "seconds": sum(record["seconds"][part] for record in self.records for part in ("train", "evaluate")),
            },
            {
                "test_logits": test.numpy(),
                "test_label": problem.test_label,
                "clean_score": score.numpy(),
                "given": problem.noisy_label,
                "true": problem.clean_label,
                "train_row": problem.train,
                "train_logits": train.half().numpy(),
            },
            {"rows": self.probe, "logits": torch.stack(self.probe_logits).half().numpy()},
            networks=self.method.state_dict() if self.resources.keep_networks else None,
        )

    def _told(self) -> dict[str, Any]:
        """What tables must say of this run: which images it had besides the training images, and other remarks."""
        remarks, folder = list(self.method.remarks(self.method.config)), self.resources.unlabelled
        if self.needs.unlabelled and folder is None:
            remarks.append("unlabelled images: the training images, labels hidden")
        extra = f"{len(self.pool)} unlabelled images of {folder.name}" if self.needs.unlabelled and folder else ""
        return {"remarks": remarks, "extra_images": extra, "ensemble": self.method.info.ensemble}

    def _state(self) -> dict[str, Any]:
        return {
            "method": self.method.state_dict(),
            "stage": self.harness.stage,
            "optimizers": {name: o.state_dict() for name, o in self.harness.optimizers.items()},
            "counters": [self.harness.meter.forward, self.harness.meter.backward, self.harness.skipped_steps],
            "probe_logits": self.probe_logits,
            "records": self.records,
        }

    def _resume(self) -> int:
        """Restores the last finished epoch; the number of epochs done."""
        state = self.folder.load_checkpoint()
        if state is None:
            return 0
        self.method.load_state_dict(state["method"])
        self._make_optimizers(state["stage"])
        for name, optimizer in self.harness.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.harness.meter.forward, self.harness.meter.backward, self.harness.skipped_steps = state["counters"]
        self.records = state["records"]
        self.probe_logits = state["probe_logits"]
        return len(self.records)

    def _take_over(self) -> int:
        """Takes the first stage from the finished run that it repeats, cost included; the number of epochs done."""
        begun, (stage, _, last) = self.resources.first_stage_run, self.stages[0]
        if begun is None:
            return 0
        if begun.damage:
            self.folder.note(f"{begun.damage}: the stage {stage.name!r} is trained here")
            return 0
        networks = begun.networks()
        if networks is None:
            return 0
        absent = set(networks) - set(self.method.state_dict())
        if absent:
            raise ValueError(f"the stage {stage.name!r} has no {', '.join(sorted(absent))}, which {begun.path} trained")
        self.method.load_state_dict(networks, strict=False)
        self.records = [{**record, "stage": stage.name} for record in begun.epochs()]
        if len(self.records) != last:
            raise ValueError(f"the stage {stage.name!r} has {last} epochs, and {begun.path} {len(self.records)}")
        counters = [self.records[-1][name] for name in ("images_forward", "images_backward", "skipped_steps")]
        self.harness.meter.forward, self.harness.meter.backward, self.harness.skipped_steps = counters
        self.probe_logits = list(_tensor(begun.probe()["logits"]).float())
        return last


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array)
