"""What a method sees of the training: the one door to its optimizers, its random streams, and its position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from fer_bench.core.errors import NonFiniteLoss
from fer_bench.core.seeds import torch_generator
from fer_bench.core.spec import RunSpec
from fer_bench.engine.batches import BatchSource
from fer_bench.engine.counters import CostCounter, SelectionCounter
from fer_bench.engine.stages import StageSpan
from fer_bench.method import FOLLOWS_RECIPE, Batch


class TrainingContext:
    """The :class:`fer_bench.method.Run` of a training run. Sums stay on the device until the epoch ends."""

    def __init__(self, spec: RunSpec, source: BatchSource, selection: SelectionCounter, cost: CostCounter) -> None:
        self.device = source.device
        self.epochs = spec.recipe.epochs
        self.epoch = self.step = self.steps = self.stage_epoch = self.stage_epochs = 0
        self.stage = ""
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {}
        self.skipped_steps = 0
        self._seed, self._clip = spec.seed, spec.recipe.clip_norm
        self._source, self._selection, self._cost = source, selection, cost
        self._passes = 0
        self._stepped = False

    @property
    def progress(self) -> float:
        """As ``Run.progress``."""
        return (self.epoch + self.step / max(1, self.steps)) / self.epochs

    def generator(self, name: str) -> torch.Generator:
        """As ``Run.generator``."""
        return torch_generator(self._seed, "method", name, self.epoch, self.step, device=self.device)

    def training_set(self) -> Iterator[Batch]:
        """As ``Run.training_set``."""
        self._passes += 1
        return self._source.training_set(self.epoch, self.step, self._passes - 1)

    def batch(self, rows: Tensor) -> Batch:
        """As ``Run.batch``."""
        self._passes += 1
        return self._source.chosen(rows, self.epoch, self.step, self._passes - 1)

    def minimize(self, loss: Tensor, *names: str) -> None:
        """As ``Run.minimize``."""
        names = names or ("main",)
        for name in names:
            if name not in self.optimizers:
                raise KeyError(f"no optimizer {name!r}; optimizers() returned {sorted(self.optimizers)}")
        if loss.ndim:
            raise ValueError(f"minimize() takes a scalar loss, not a tensor of shape {tuple(loss.shape)}")
        optimizers = [self.optimizers[name] for name in names]
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in optimizers:
            if self._clip:
                groups = [group for group in optimizer.param_groups if group.get(FOLLOWS_RECIPE, True)]
                torch.nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], self._clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)  # or the next forward pass would have them in memory beside its own
        self._finite &= torch.isfinite(loss.detach())
        self._first_bad += self._finite
        self._stepped = True

    def record_selection(self, index: Tensor, kept: Tensor) -> None:
        """As ``Run.record_selection``."""
        self._selection.record(index, kept)

    def begin_stage(self, span: StageSpan) -> None:
        """Moves to the start of a stage. A run that is resumed there is in the same state."""
        self.epoch, self.step, self.steps, self._passes = span.first, 0, 0, 0
        self.stage, self.stage_epoch, self.stage_epochs = span.stage.name, 0, span.epochs
        self._cost.active = True

    def begin_epoch(self, span: StageSpan, epoch: int, steps: int) -> None:
        """Moves to the start of an epoch of ``steps`` steps."""
        self.epoch, self.steps, self.step = epoch, steps, 0
        self.stage, self.stage_epoch, self.stage_epochs = span.stage.name, epoch - span.first, span.epochs
        self._cost.active = True
        self._selection.reset()
        self._finite = torch.ones((), dtype=torch.bool, device=self.device)
        self._first_bad = torch.zeros((), dtype=torch.int64, device=self.device)

    def end_step(self) -> None:
        """Closes one training step."""
        self._cost.settle(self._stepped)
        self.skipped_steps += not self._stepped
        self._stepped = False
        self.step += 1
        self._passes = 0

    def end_epoch(self) -> dict[str, Any] | None:
        """Closes an epoch; what the method selected in it, or None. NonFiniteLoss if any loss was not finite."""
        self._cost.active, self._passes = False, 0
        if not bool(self._finite):
            raise NonFiniteLoss(
                f"the loss became NaN or infinite in epoch {self.epoch + 1}, after {int(self._first_bad)} finite "
                "steps: try a smaller --lr, or look at the method's loss"
            )
        return self._selection.summary()
