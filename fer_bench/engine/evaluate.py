"""Evaluation: one way for all methods, on un-augmented images, in eval mode."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_bench import metrics
from fer_bench.core.seeds import numpy_rng
from fer_bench.data.splits import Splits
from fer_bench.engine.augment import Views, gather, send
from fer_bench.engine.batches import BatchSource
from fer_bench.method import Method
from fer_bench.store.label_scores import label_scores

EVALUATION_BATCH = 64
"""Larger batches are no faster on a CPU, and this takes no more memory than training."""

PROBE = 1000
"""Training images whose fit to noisy and to clean labels is measured after each epoch; all of them at the end."""

Predict = Callable[[Tensor], Tensor]


@torch.no_grad()
def logits(predict: Predict, pixels: Tensor, rows: np.ndarray, views: Views, num_classes: int) -> Tensor:
    """Logits of some images.

    Args:
        predict: Logits [B, C] of normalised images [B, 3, S, S].
        pixels: uint8 [N, 3, S, S].
        rows: int64 [n], the images of ``pixels``.
        views: Makes the plain view.
        num_classes: C.

    Returns:
        float32 [n, C] on the CPU.

    Raises:
        ValueError: ``predict`` does not return [B, C].
    """
    answers = torch.empty((len(rows), num_classes), device=views.device)
    for start in range(0, len(rows), EVALUATION_BATCH):
        chunk = send(torch.from_numpy(rows[start : start + EVALUATION_BATCH]), pixels.device)
        answer = predict(views.plain(gather(pixels, chunk)))
        if answer.shape != (len(chunk), num_classes):
            raise ValueError(f"predict() returned {tuple(answer.shape)}; expected {(len(chunk), num_classes)}")
        answers[start : start + len(chunk)] = answer
    return answers.cpu()


class Evaluator:
    """Measures a method on the images of a run."""

    def __init__(self, method: Method, splits: Splits, source: BatchSource) -> None:
        self._method, self._splits, self._source = method, splits, source
        self.probe = np.sort(numpy_rng(0, "probe").permutation(len(splits.train))[:PROBE])
        """int64 [P]: the probe, rows of the training set."""
        self.probe_logits: list[Tensor] = []
        """float32 [P, C] for each finished epoch."""

    def after_epoch(self) -> dict[str, Any]:
        """Test and validation metrics, and the fit to noisy and clean labels on the probe, whose logits are kept."""
        self._method.eval()
        splits, probe = self._splits, self.probe
        test = metrics.classification(self._logits(splits.test), splits.test_label)
        val = metrics.classification(self._logits(splits.val), splits.val_label) if len(splits.val) else None
        self.probe_logits.append(self._logits(splits.train[probe]))
        return {"test": test, "val": val, "train_fit": self._fit(self.probe_logits[-1], probe)}

    def at_end(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The results of the trained method that need all images, and the arrays of ``scores.npz``."""
        self._method.eval()
        splits = self._splits
        test, train = self._logits(splits.test), self._logits(splits.train)
        noisy_label = torch.from_numpy(splits.noisy_label)
        own_score = self._method.clean_score()
        score = -torch.nn.functional.cross_entropy(train, noisy_label, reduction="none")
        if own_score is not None:
            score = own_score.detach().float().cpu()
        scores = {
            "test_logits": test.numpy(),
            "test_label": splits.test_label,
            "clean_score": score.numpy(),
            "noisy_label": splits.noisy_label,
            "clean_label": splits.clean_label,
            "train_row": splits.train,
            "train_logits": train.half().numpy(),
            **self._source.fit.arrays(),
        }
        detection_by = "loss" if own_score is None else "method"
        is_clean = splits.noisy_label == splits.clean_label
        results = {
            "other_predictions": self._other_predictions(),
            "detection": metrics.detection(score, is_clean),
            "detection_by": detection_by,
            "label_scores": {
                name: metrics.detection(values, is_clean) | {"missed": metrics.missed(values, is_clean)}
                for name, values in label_scores(scores, detection_by).items()
            },
            "memorisation": self._fit(train, np.arange(len(splits.train))),
        }
        return results, scores

    def _fit(self, logits: Tensor, rows: np.ndarray) -> dict[str, float | None]:
        """How the method fits these rows of the training set; clean labels that are not known are left out."""
        splits = self._splits
        fit = metrics.memorisation(logits, splits.noisy_label[rows], splits.clean_label[rows])
        return fit if splits.errors_known else fit | {"fit_clean": None}

    def _other_predictions(self) -> dict[str, Any]:
        """Test metrics of the method's other ways to answer, by name."""
        splits, source = self._splits, self._source
        names = self._method.other_predictions(source.views.plain(source.training.pixels[:2]))

        def predict(name: str, images: Tensor) -> Tensor:
            return self._method.other_predictions(images)[name]

        return {
            name: metrics.classification(self._logits(splits.test, partial(predict, name)), splits.test_label)
            for name in names
        }

    def _logits(self, rows: np.ndarray, predict: Predict | None = None) -> Tensor:
        source = self._source
        return logits(predict or self._method.predict, source.training.pixels, rows, source.views, source.num_classes)
