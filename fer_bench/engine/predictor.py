"""Trained methods that were kept: what is stored of them, and how they answer for new images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_bench.core.errors import StoreError
from fer_bench.core.spec import RunSpec
from fer_bench.data.sources import FileSource
from fer_bench.engine.augment import Views
from fer_bench.engine.build import make_method, task_of
from fer_bench.engine.evaluate import logits
from fer_bench.engine.isolation import contained
from fer_bench.method import Method
from fer_bench.models.networks import MakeOwn
from fer_bench.store.records import Record
from fer_bench.store.torch_files import StoredModel


def kept_model(method: Method, spec: RunSpec, classes: Sequence[str]) -> StoredModel:
    """What is stored of a method: its state, and in the notes the specification, the classes and the trusted rows.

    ValueError for a state that is no tensor.
    """
    state = method.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"the state {name!r} is of type {type(value).__name__}; only tensors can be kept")
    trusted = method.task.trusted
    notes = {
        "spec": spec.canonical,
        "classes": json.dumps(list(classes)),
        "trusted": json.dumps(None if trusted is None else trusted.tolist()),
    }
    return StoredModel(state, notes)


class Predictor:
    """A trained method that answers for images as it did for the test images of its run.

    Images are decoded as those of the data set, at the size of the recipe, and normalised by it. The method answers in
    its own way: with one network, with the mean of two, or with an average of weights.

    Attributes:
        classes: Names of the C classes.
        spec: The run.
    """

    def __init__(self, method: Method, spec: RunSpec, classes: Sequence[str], device: torch.device) -> None:
        self.classes, self.spec = tuple(classes), spec
        self._method, self._views = method, Views(spec.recipe, device)

    def __call__(self, images: Sequence[str | Path]) -> np.ndarray:
        """Class probabilities of image files.

        Args:
            images: Files of images; each is taken whole.

        Returns:
            float32 [n, C]; rows sum to 1.

        Raises:
            DataError: An image cannot be decoded; the message names it.
        """
        return self.probabilities(FileSource([Path(path) for path in images]).pixels(range(len(images)), self.size))

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.spec.recipe.image_size

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Class probabilities float32 [n, C] of decoded images uint8 [n, 3, size, size], RGB. ValueError for others."""
        expected = (3, self.size, self.size)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
            raise ValueError(f"images must be uint8 {['n', *expected]}, not {pixels.dtype} {list(pixels.shape)}")
        rows = np.arange(len(pixels))
        images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))).permute(0, 3, 1, 2)
        with contained(self.spec.recipe.threads):
            self._method.eval()
            answers = logits(self._method.predict, images, rows, self._views, len(self.classes))
        return answers.softmax(dim=1).numpy()


def load_predictor(
    record: Record,
    spec: RunSpec,
    method_class: type[Method],
    config: Any,
    device: torch.device,
    own: MakeOwn | None = None,
) -> Predictor | None:
    """The trained method of a run; None if the run did not keep it.

    Args:
        record: The finished run.
        spec: Its specification.
        method_class: Its method, with the code that the run was trained with.
        config: The method's Config.
        device: Where it computes.
        own: Makes the networks, where the recipe names a function of the user.

    Raises:
        StoreError: The stored model or the labels of the run are damaged, missing, or do not fit the method.
    """
    model = record.folder.model()
    if model is None:
        return None
    path, scores = record.folder.path, record.scores()
    try:
        classes, trusted = (json.loads(model.notes[name]) for name in ("classes", "trusted"))
        labels = [torch.from_numpy(scores[name]) for name in ("noisy_label", "clean_label")]
        task = partial(task_of, spec.recipe, len(classes), *labels)
        rate = record.final["realised_rate"] if method_class.needs(config).noise_rate else None
        with contained(spec.recipe.threads):
            method = make_method(
                spec,
                method_class,
                config,
                task(noise_rate=rate, trusted=None if trusted is None else torch.tensor(trusted, dtype=torch.int64)),
                device,
                own=own,
                trained=True,
            )
            method.load_state_dict(dict(model.state))
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise StoreError(f"{path}: its stored model cannot be used ({type(error).__name__}: {error})") from None
    return Predictor(method, spec, classes, device)
