"""What networks answer for the training images while they train on them, summed by image."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_bench.store.label_scores import FIT


class TrainingFit:
    """Sums the probability and the logit margin of the noisy label over the passes in which a network trains.

    A pass counts where a network is called with gradients, with a view of labelled images as the harness made it. The
    sums cost no pass of their own. Passes of mixed or chosen images, and of features, do not count, because their
    answers are not those of one image.

    Sums stay on the device of the run, and nothing that a method computes depends on them.

    Args:
        noisy_label: int64 [N], on the device of the run.
        num_classes: C.
    """

    def __init__(self, noisy_label: Tensor, num_classes: int) -> None:
        self._noisy_label, self._num_classes = noisy_label, num_classes
        self._sums = {
            name: torch.zeros(len(noisy_label), dtype=dtype, device=noisy_label.device)
            for name, dtype in zip(FIT, (torch.float32, torch.float32, torch.int32), strict=True)
        }
        self._whole = True
        self._views: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}

    def attach(self, net: nn.Module) -> None:
        """Looks at what ``net``, and every copy that is made of it, answers."""

        def hook(_: nn.Module, inputs: tuple[Any, ...], answer: Any) -> None:
            if inputs and torch.is_grad_enabled() and not torch.compiler.is_compiling():
                self._see(inputs[0], answer)

        net.register_forward_hook(hook)

    def expect(self, view: Tensor, rows: Tensor) -> None:
        """Remembers, for this step, that ``view`` [B, 3, H, W] shows the training images ``rows`` int64 [B]."""
        self._views[id(view)] = weakref.ref(view), rows

    def begin_step(self) -> None:
        """Forgets the views of the step before."""
        self._views.clear()

    def state(self) -> dict[str, Tensor] | None:
        """The sums for a checkpoint; None if passes of earlier epochs are missing."""
        return self._sums if self._whole else None

    def restore(self, state: Mapping[str, Tensor] | None) -> None:
        """Goes on from the sums of a checkpoint or of another run; None where they are not known."""
        self._whole = state is not None
        for name, values in (state or {}).items():
            self._sums[name].copy_(values)

    def arrays(self) -> dict[str, np.ndarray]:
        """The sums by the names of :data:`fer_bench.store.label_scores.FIT`; empty where an image was never seen."""
        if not self._whole or not bool((self._sums["fit_passes"] > 0).all()):
            return {}
        return {name: values.cpu().numpy() for name, values in self._sums.items()}

    @torch.no_grad()
    def _see(self, images: Any, answer: Any) -> None:
        view, rows = self._views.get(id(images), (None, None))
        if view is None or rows is None or view() is not images:
            return
        if not isinstance(answer, Tensor) or answer.shape != (len(rows), self._num_classes):
            return
        logits, label = answer.float(), self._noisy_label[rows][:, None]
        given = logits.gather(1, label)
        margin = given - logits.scatter(1, label, -torch.inf).amax(1, keepdim=True)
        for name, values in zip(FIT, (logits.softmax(1).gather(1, label), margin, torch.ones_like(label)), strict=True):
            self._sums[name].index_add_(0, rows, values.squeeze(1).to(self._sums[name].dtype))
