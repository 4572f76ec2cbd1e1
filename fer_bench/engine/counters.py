"""What a run counts while it trains: images through networks, and the samples that a method selects."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class CostCounter:
    """Counts the images that go forward, and forward and backward, through every network of a run.

    It counts while ``active``, which is the training part of an epoch, in whichever mode a network is.
    """

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
        """Counts a forward pass of images [B, ...]."""
        if self.active:
            self.forward += len(images)
            self._pending += len(images) if torch.is_grad_enabled() else 0

    def settle(self, stepped: bool) -> None:
        """Closes a step: what went forward with gradients also went backward if an optimizer stepped."""
        self.backward += self._pending if stepped else 0
        self._pending = 0


class SelectionCounter:
    """Counts in an epoch how many samples a method kept, and how many of them have a clean label.

    ``noisy_label`` and ``clean_label`` are int64 [N], on the device of the run. Sums stay there until
    :meth:`summary`, and masks are summed: indexing by ``kept`` would make a GPU wait for the number of samples.
    """

    def __init__(self, noisy_label: Tensor, clean_label: Tensor, num_classes: int) -> None:
        self._noisy_label, self._clean = noisy_label, noisy_label == clean_label
        self._sums = torch.zeros(4, dtype=torch.int64, device=noisy_label.device)
        self._kept_by_class = torch.zeros(num_classes, dtype=torch.int64, device=noisy_label.device)

    def reset(self) -> None:
        """Starts an epoch."""
        self._sums.zero_()
        self._kept_by_class.zero_()

    def record(self, index: Tensor, kept: Tensor) -> None:
        """Adds the samples ``index`` int64 [B], of which ``kept`` bool [B] were trained on."""
        clean = self._clean[index]
        self._sums[0] += len(index)
        self._sums[1] += kept.sum()
        self._sums[2] += (clean & kept).sum()
        self._sums[3] += clean.sum()
        self._kept_by_class.index_add_(0, self._noisy_label[index], kept.long())

    def summary(self) -> dict[str, Any] | None:
        """The share kept, its purity, the share of clean samples kept, and counts by class; None without samples."""
        seen, kept, kept_clean, clean = self._sums.tolist()
        if not seen:
            return None
        return {
            "kept": kept / seen,
            "purity": kept_clean / kept if kept else None,
            "clean_kept": kept_clean / clean if clean else None,
            "kept_by_class": self._kept_by_class.tolist(),
        }
