"""What a method sees of the training: the one door to its optimizers, its random streams, and the counters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fer_bench.core.errors import NonFiniteLoss
from fer_bench.core.seeds import torch_generator
from fer_bench.core.spec import RunSpec
from fer_bench.method import Batch


class Meter:
    """Counts the images that go forward, and forward and backward, through every network of a run while ``active``:
    in the training part of an epoch, in whichever mode the network is."""

    def __init__(self) -> None:
        self.forward = self.backward = self._pending = 0
        self.active = False

    def attach(self, net: nn.Module) -> None:
        """Counts at the first layer that has weights, so that calls to parts of the network count as well."""
        first = next(
            m for m in net.modules() if next(m.children(), None) is None and next(m.parameters(), None) is not None
        )

        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            if not torch.compiler.is_compiling():  # the images that enter a compiled network are counted outside
                self.count(inputs[0])

        first.register_forward_pre_hook(hook)

    def count(self, images: Tensor) -> None:
        if self.active:
            self.forward += len(images)
            self._pending += len(images) if torch.is_grad_enabled() else 0

    def settle(self, stepped: bool) -> None:
        """Whatever went forward with gradients since the last call went backward too if an optimizer stepped."""
        self.backward += self._pending if stepped else 0
        self._pending = 0


class TrainingContext:
    """The :class:`fer_bench.method.Run` of a training run. Sums stay on the device until the epoch ends."""

    def __init__(
        self,
        spec: RunSpec,
        device: torch.device,
        clean: Tensor,
        given: Tensor,
        num_classes: int,
        training_set: Callable[[int], Iterator[Batch]],
    ) -> None:
        """``training_set(number)`` walks over the training set; ``number`` is the walk's place within its step."""
        self.device = device
        self.epochs = spec.recipe.epochs
        self.epoch = self.step = self.steps = self.stage_epoch = self.stage_epochs = 0
        self.stage = ""
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {}
        self.meter = Meter()
        self.skipped_steps = 0
        self._seed, self._clip = spec.seed, spec.recipe.clip_norm
        self._clean, self._given, self._classes = clean, given, num_classes
        self._training_set, self._walks = training_set, 0
        self._stepped = False

    @property
    def progress(self) -> float:
        return (self.epoch + self.step / max(1, self.steps)) / self.epochs

    def generator(self, name: str) -> torch.Generator:
        return torch_generator(self._seed, "method", name, self.epoch, self.step, device=self.device)

    def training_set(self) -> Iterator[Batch]:
        self._walks += 1
        return self._training_set(self._walks - 1)

    def minimize(self, loss: Tensor, name: str = "main") -> None:
        if name not in self.optimizers:
            raise KeyError(f"no optimizer {name!r}; optimizers() returned {sorted(self.optimizers)}")
        if loss.ndim:
            raise ValueError(f"minimize() takes a scalar loss, not a tensor of shape {tuple(loss.shape)}")
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._clip:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, self._clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)  # or the next forward pass would have them in memory beside its own
        self._finite &= torch.isfinite(loss.detach())
        self._first_bad += self._finite
        self._stepped = True

    def record_selection(self, index: Tensor, kept: Tensor) -> None:
        # sums over masks: picking the kept samples out would make a GPU wait for their number
        clean = self._clean[index]
        self._kept[0] += len(index)
        self._kept[1] += kept.sum()
        self._kept[2] += (clean & kept).sum()
        self._kept[3] += clean.sum()
        self._kept_by_class.index_add_(0, self._given[index], kept.long())

    def begin_stage(self, stage: str, epoch: int, stage_epochs: int) -> None:
        """The place before the first epoch of a stage: the same in a run that went on from its last epoch."""
        self.epoch, self.step, self.steps, self._walks = epoch, 0, 0, 0
        self.stage, self.stage_epoch, self.stage_epochs = stage, 0, stage_epochs
        self.meter.active = True

    def begin_epoch(self, epoch: int, steps: int, stage: str, stage_epoch: int, stage_epochs: int) -> None:
        self.epoch, self.steps, self.step = epoch, steps, 0
        self.stage, self.stage_epoch, self.stage_epochs = stage, stage_epoch, stage_epochs
        self.meter.active = True
        self._finite = torch.ones((), dtype=torch.bool, device=self.device)
        self._first_bad = torch.zeros((), dtype=torch.int64, device=self.device)
        self._kept = torch.zeros(4, dtype=torch.int64, device=self.device)
        self._kept_by_class = torch.zeros(self._classes, dtype=torch.int64, device=self.device)

    def end_step(self) -> None:
        """Closes one training step."""
        self.meter.settle(self._stepped)
        self.skipped_steps += not self._stepped
        self._stepped = False
        self.step += 1
        self._walks = 0

    def end_epoch(self) -> dict[str, Any] | None:
        """What the method selected in this epoch, or None. NonFiniteLoss if any loss was not finite."""
        self.meter.active, self._walks = False, 0
        if not bool(self._finite):
            raise NonFiniteLoss(
                f"the loss became NaN or infinite in epoch {self.epoch + 1}, after {int(self._first_bad)} good updates "
                "of it: try a smaller --lr, or look at the method's loss"
            )
        seen, kept, kept_clean, clean = self._kept.tolist()
        if not seen:
            return None
        return {
            "kept": kept / seen,
            "purity": kept_clean / kept if kept else None,
            "clean_kept": kept_clean / clean if clean else None,
            "kept_by_class": self._kept_by_class.tolist(),
        }
