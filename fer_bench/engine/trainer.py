"""The training loop: the same for every method, and it never asks a method its name."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fer_bench.core.seeds import derive
from fer_bench.data.splits import Splits, make_splits
from fer_bench.engine.batches import BatchSource
from fer_bench.engine.build import build_method
from fer_bench.engine.context import TrainingContext
from fer_bench.engine.counters import CostCounter, SelectionCounter
from fer_bench.engine.evaluate import Evaluator
from fer_bench.engine.first_stage import read_first_stage
from fer_bench.engine.isolation import contained, seed_everything
from fer_bench.engine.job import Interrupted, ProgressEvent, TrainingJob
from fer_bench.engine.memory import PeakMemory, keep_freed_memory
from fer_bench.engine.optim import make_optimizer, schedule
from fer_bench.engine.predictor import kept_model
from fer_bench.engine.stages import StageSpan, stage_spans
from fer_bench.method import FOLLOWS_RECIPE
from fer_bench.store.folder import RunFolder

REPORT_EVERY = 0.5
"""Seconds between two reports of progress within an epoch."""

logger = logging.getLogger(__name__)


def train(job: TrainingJob, splits: Splits | None = None) -> None:
    """Trains one run to its end, from its last finished epoch if there is one, and writes its results to its folder.

    Args:
        job: The run.
        splits: Images and labels to train on; None = those of ``job.spec``.

    Raises:
        Interrupted: ``job.stopping()`` turned true.
        NonFiniteLoss: A loss was not finite.
        DataError: The data set cannot be read, or a class has no training image.
        SpecError: Pre-trained weights cannot be had, or networks cannot be compiled here.
        Exception: Whatever the method raises.
    """
    keep_freed_memory()
    with contained(job.spec.recipe.threads):
        Trainer(job, splits).run()


class Trainer:
    """One run from its data to its results."""

    def __init__(self, job: TrainingJob, splits: Splits | None = None) -> None:
        self.memory = PeakMemory(job.resources.device)
        self.job, self.recipe, self.folder = job, job.spec.recipe, job.folder
        self.needs = job.method_class.needs(job.config)
        self.splits = splits or make_splits(job.dataset, job.spec, job.resources.noise_file)
        self.source = BatchSource(job, self.splits, self.needs)
        self.cost = CostCounter()
        clean_label = torch.from_numpy(self.splits.clean_label).to(self.source.device)
        selection = SelectionCounter(self.source.noisy_label, clean_label, self.source.num_classes)
        self.context = TrainingContext(job.spec, self.source, selection, self.cost)
        self._keeps = job.resources.keep_networks
        self.method = build_method(job, self.splits, self.needs, self.cost, self.source)
        if self._keeps:
            kept_model(self.method, job.spec, job.dataset.classes)  # so that what cannot be kept fails now
        self.spans = stage_spans(self.method.stages(), self.recipe.epochs)
        self.epochs = self.context.epochs = self.spans[-1].end
        self.evaluator = Evaluator(self.method, self.splits, self.source)
        self.records: list[dict[str, Any]] = []

    def run(self) -> None:
        """Trains what is not trained yet, and writes the results."""
        done = self._resume() or self._take_over()
        self.folder.begin_at(done + 1)
        for span in self.spans:
            if done <= span.first:
                self.begin_stage(span)
            for epoch in range(max(span.first, done), span.end):
                self.train_epoch(span, epoch)
        self._finish()

    def begin_stage(self, span: StageSpan) -> None:
        """Makes the optimizers of a stage and lets the method prepare it."""
        seed_everything(derive(self.job.spec.seed, "stage", span.stage.name))
        self._make_optimizers(span.stage.name)
        self.context.begin_stage(span)
        self.method.train()  # after an evaluation as after a resume
        self.method.on_stage_start(span.stage.name, self.context)

    def train_epoch(self, span: StageSpan, epoch: int) -> None:
        """Trains one epoch (0-based), evaluates the method, and stores the record and a checkpoint."""
        started = time.perf_counter()
        seed_everything(derive(self.job.spec.seed, "epoch", epoch))
        steps = self.source.epoch(epoch, self.method.epoch_indices)
        self.context.begin_epoch(span, epoch, len(steps))
        skipped_before = self.context.skipped_steps
        self._set_rates(span, epoch)
        self.method.train()
        self.method.on_epoch_start(self.context)
        sums: dict[str, Tensor | float] = {}
        reported = started
        for step, rows in enumerate(steps):
            if self.job.stopping():
                raise Interrupted(f"stopped in epoch {epoch + 1}")
            batch = self.source.training_batch(rows, epoch, step)
            logged = self.method.train_step(batch, self.context)
            self.context.end_step()
            for name, value in logged.items():
                sums[name] = sums.get(name, 0.0) + value
            if time.perf_counter() - reported > REPORT_EVERY:
                reported = time.perf_counter()
                rate = (step + 1) * self.recipe.batch_size / (reported - started)
                self._report(epoch, step + 1, sums, rate)
        self.method.on_epoch_end(self.context)
        if epoch + 1 == self.epochs:
            self.method.on_fit_end(self.context)
        selection = self.context.end_epoch()
        _check_steps(epoch, len(steps) - (self.context.skipped_steps - skipped_before))
        trained = time.perf_counter()
        record = {
            "epoch": epoch + 1,
            "stage": span.stage.name,
            "lr": {name: rates[0] for name, rates in self._rates().items()},
            "train": {name: float(value) / len(steps) for name, value in sums.items()},
            "selection": selection,
            **self._counts(),
            **self.evaluator.after_epoch(),
        }
        record["seconds"] = {"train": trained - started, "evaluate": time.perf_counter() - trained}
        self.records.append(record)
        images = sum(len(rows.labelled) for rows in steps)
        self._report(epoch + 1, 0, sums, images / (trained - started))
        self.folder.save_epochs(self.records)
        self.folder.save_checkpoint(self._state())

    def _make_optimizers(self, stage: str) -> None:
        self.context.stage = stage
        self.context.optimizers = self.method.optimizers(stage, partial(make_optimizer, self.recipe))
        self._base_rates = self._rates()

    def _rates(self) -> dict[str, list[float]]:
        """The learning rate of each parameter group, by optimizer."""
        return {name: [g["lr"] for g in o.param_groups] for name, o in self.context.optimizers.items()}

    def _set_rates(self, span: StageSpan, epoch: int) -> None:
        """Sets the learning rates of an epoch, by the recipe's schedule within the stage."""
        factor = schedule(self.recipe, epoch - span.first, span.epochs)
        for name, rates in self._base_rates.items():
            for group, rate in zip(self.context.optimizers[name].param_groups, rates, strict=True):
                if group.get(FOLLOWS_RECIPE, True):
                    group["lr"] = rate * factor

    def _counts(self) -> dict[str, int]:
        """Cost of the training so far."""
        return {
            "skipped_steps": self.context.skipped_steps,
            "images_forward": self.cost.forward,
            "images_backward": self.cost.backward,
        }

    def _set_counts(self, counts: Mapping[str, int]) -> None:
        self.context.skipped_steps = counts["skipped_steps"]
        self.cost.forward, self.cost.backward = counts["images_forward"], counts["images_backward"]

    def _report(self, epoch: int, step: int, sums: Mapping[str, Tensor | float], rate: float) -> None:
        steps = self.context.steps
        loss = float(sums["loss"]) / (step or steps) if "loss" in sums else None
        overall = self.records[-1]["test"]["overall"] if self.records else None
        self.job.on_progress(ProgressEvent(epoch, self.epochs, step, steps, rate, loss, overall))

    def _finish(self) -> None:
        """Measures the trained method on all images and writes the results."""
        results, scores = self.evaluator.at_end()
        scores["train_id"] = self.job.dataset.ids[self.splits.train]
        last, noise, method = self.records[-1], self.splits.noise, self.method
        final = {
            **results,
            "test": last["test"],
            "noise": noise,
            "labels": self.job.dataset.label_source,
            "splits": self.splits.sizes,
            "realised_rate": noise["realised_rate"],
            "noisy_imbalance": noise["noisy_imbalance"],
            "uses_noise_rate": self.needs.noise_rate,
            "clean_labels_used": 0 if method.task.trusted is None else len(method.task.trusted),
            "remarks": self._remarks(),
            "extra_images": self._extra_images(),
            "ensemble": method.info.ensemble,
            "peak_memory_bytes": self.memory.bytes,
            "train_images": len(self.splits.train),
            "parameters": sum(p.numel() for p in method.parameters()),
            **{name: last[name] for name in self._counts()},
            "seconds": sum(record["seconds"][part] for record in self.records for part in ("train", "evaluate")),
        }
        probe_logits = torch.stack(self.evaluator.probe_logits).half().numpy()
        self.folder.finish(
            final,
            scores,
            {"rows": self.evaluator.probe, "logits": probe_logits},
            model=kept_model(self.method, self.job.spec, self.job.dataset.classes) if self._keeps else None,
        )

    def _remarks(self) -> list[str]:
        """What tables must say of this run."""
        remarks = list(self.method.remarks(self.job.config))
        if self.needs.unlabelled and self.job.resources.unlabelled is None:
            remarks.append("unlabelled images: the training images, labels hidden")
        return remarks

    def _extra_images(self) -> str:
        """The images that the run has in addition to its training images."""
        dataset = self.job.resources.unlabelled
        if not self.needs.unlabelled or dataset is None:
            return ""
        return ", ".join([f"{len(self.source.unlabelled)} unlabelled images of {dataset.name}", *dataset.assumed])

    def _state(self) -> dict[str, Any]:
        return {
            "method": self.method.state_dict(),
            "stage": self.context.stage,
            "optimizers": {name: o.state_dict() for name, o in self.context.optimizers.items()},
            "counts": self._counts(),
            "memory": self.memory.state(),
            "probe_logits": self.evaluator.probe_logits,
            "fit": self.source.fit.state(),
            "records": self.records,
        }

    def _resume(self) -> int:
        """Restores the last finished epoch; the number of epochs done."""
        state = self.folder.load_checkpoint()
        if state is None:
            return 0
        self.method.load_state_dict(state["method"])
        self._make_optimizers(state["stage"])
        for name, optimizer in self.context.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self._set_counts(state["counts"])
        self.memory.add(state.get("memory", {}))  # older checkpoints do not say it
        self.records = state["records"]
        self.evaluator.probe_logits = state["probe_logits"]
        self.source.fit.restore(state.get("fit"))  # absent from checkpoints of earlier versions
        return len(self.records)

    def _take_over(self) -> int:
        """Takes the first stage from the finished run that it repeats, cost included; the number of epochs done."""
        folder, span = self.job.resources.first_stage_run, self.spans[0]
        if folder is None:
            return 0
        if folder.damage:
            self.folder.note(f"{folder.damage}: the stage {span.stage.name!r} is trained here")
            return 0
        taken = read_first_stage(folder, span, self.method)
        if taken is None:
            return 0
        self.method.load_state_dict(taken.networks, strict=False)
        self.records, self.evaluator.probe_logits = taken.records, taken.probe_logits
        self.source.fit.restore(taken.fit)
        self._set_counts(self.records[-1])
        self._add_memory_of(folder)
        if span.end == self.epochs:
            self._end_taken_over(span)
        return span.end

    def _add_memory_of(self, first: RunFolder) -> None:
        """Counts the peak memory of the run that a stage was taken from, if the same kind of device trained it."""
        devices = {(folder.environment or {}).get("device") for folder in (first, self.folder)}
        peak = (first.final or {}).get("peak_memory_bytes") if len(devices) == 1 else None
        self.memory.add({**self.memory.state(), "bytes": peak})

    def _end_taken_over(self, span: StageSpan) -> None:
        """Ends a training that was taken over whole, as its last epoch would have ended here.

        The other method has neither this method's ``on_fit_end`` nor its ``predict``, so the last record is made again.
        """
        started = time.perf_counter()
        self._make_optimizers(span.stage.name)
        self._set_rates(span, span.end - 1)
        steps = len(self.source.epoch(span.end - 1, self.method.epoch_indices))
        self.context.begin_epoch(span, span.end - 1, steps)
        self.context.step = steps
        self.method.train()
        self.method.on_fit_end(self.context)
        self.context.end_epoch()
        trained = time.perf_counter()
        self.evaluator.probe_logits.pop()
        record = self.records[-1] | self._counts() | self.evaluator.after_epoch()
        seconds = record["seconds"]["train"] + trained - started
        record["seconds"] = {"train": seconds, "evaluate": time.perf_counter() - trained}
        self.records[-1] = record
        self.folder.save_epochs(self.records)


def _check_steps(epoch: int, taken: int) -> None:
    """RuntimeError for a method that takes no step in its first epoch.

    A later epoch without a step is only logged: it may be the method's plan, as in a stage that only evaluates.
    """
    if taken:
        return
    message = f"no optimizer step in epoch {epoch + 1}: train_step() never called run.minimize()"
    if not epoch:
        raise RuntimeError(message)
    logger.warning(message)
