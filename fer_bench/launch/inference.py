"""Trained methods for new images: :func:`load_model` and :func:`predict`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_bench.core.errors import DataError, SpecError, nearest, require
from fer_bench.core.spec import restore
from fer_bench.data.catalog import DATASETS
from fer_bench.data.names import IMAGE_SUFFIXES
from fer_bench.data.walk import files_under
from fer_bench.launch.devices import choose_devices
from fer_bench.plugins.own_backbone import backbone_of_run
from fer_bench.plugins.registry import discover, plugin_folders
from fer_bench.store.records import Record
from fer_bench.sweep.arguments import to_location, to_path, to_text, to_tuple
from fer_bench.sweep.find import finished_run, sweeps_with

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.engine.predictor import Predictor

CHUNK = 256
"""Images that are decoded at a time."""

logger = logging.getLogger(__name__)


def load_model(
    run: str | PathLike[str],
    *,
    out: str | PathLike[str] = "results",
    device: str = "cpu",
    plugins: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    backbone: str = "",
) -> Predictor:
    """Loads the trained method of a run that was trained with ``keep_model``.

    Args:
        run: The folder of the run, its key, or how its key begins; or a sweep with one run.
        out: Folder of runs and sweeps, for keys.
        device: cpu, cuda, cuda:N, or auto.
        plugins: Folders and files with methods of your own.
        backbone: "FILE.py:FUNCTION", where the network is one of your own.

    Returns:
        A callable: ``model(files)`` are class probabilities float32 [n, C], in the order of ``model.classes``.

    Raises:
        SpecError: There is no such run, it is not finished, or it did not keep its model; the message has the command
            that keeps it.
        PluginError: The method cannot be loaded, or its code has changed since.
        StoreError: Files of the run are damaged or missing.
    """
    import torch

    from fer_bench.engine.predictor import load_predictor

    (name,) = choose_devices(to_text(device, "device"), 1, 1)
    record = finished_run(to_path(out, "out"), to_location(run, "run"))
    require(record.folder.has_model, without_model(record))
    spec = restore(record.spec, str(record.folder.path / "spec.json"))
    known = discover(plugin_folders(to_tuple(plugins, "plugins", to_location)))
    require(spec.method in known, f"unknown method {spec.method!r}{nearest(spec.method, known)}; see --plugins")
    plugin = known[spec.method]
    method_class = plugin.load(spec.code)
    network = backbone_of_run(spec.recipe.backbone, to_text(backbone, "backbone"))
    own = network.load() if network else None
    found = load_predictor(record, spec, method_class, plugin.restore_config(spec.config), torch.device(name), own)
    if found is None:  # it was removed in the meantime
        raise SpecError(without_model(record))
    if note := how_cropped(found):
        logger.warning(note)
    return found


def how_cropped(model: Predictor) -> str:
    """What a person must do where the reader of the training data cuts out faces; "" if it does not."""
    entry = DATASETS.get(model.spec.dataset)
    if entry is None or not entry.cropped:
        return ""
    return (
        f"the model was trained on {entry.name}, whose faces are cut out by the boxes in its lists; images are taken "
        "whole here, so cut the faces out first"
    )


def without_model(record: Record) -> str:
    """What is said of a run that did not keep its model: the command that trains it again and keeps it."""
    text = f"run {record.key} did not keep its model"
    commands = [sweep.content["command"] for sweep in sweeps_with(record.folder)]
    command = next((each for each in commands if each.startswith("fer-bench ")), "")
    if command:
        return f"{text}; to train it again and keep it:\n  {command} --keep-model --force"
    return f"{text}; train it again with --keep-model --force (in Python: keep_model=True, force=True)"


def predict(
    run: str | PathLike[str],
    images: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    out: str | PathLike[str] = "results",
    device: str = "cpu",
    plugins: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    backbone: str = "",
) -> pd.DataFrame:
    """Class probabilities of images by the trained method of a run.

    Args:
        run: As for :func:`load_model`, as are ``out``, ``device``, ``plugins`` and ``backbone``.
        images: Files, and folders whose images are taken at any depth.
        out: Folder of runs and sweeps.
        device: cpu, cuda, cuda:N, or auto.
        plugins: Folders and files with methods of your own.
        backbone: "FILE.py:FUNCTION", where the network is one of your own.

    Returns:
        One row for each image that can be read, with ``image`` (its path), ``predicted`` (the most probable class) and
        ``p_CLASS`` for each class. Images that cannot be read are left out, with a warning that names each.

    Raises:
        SpecError: As for :func:`load_model`, as are PluginError and StoreError.
    """
    model = load_model(run, out=out, device=device, plugins=plugins, backbone=backbone)
    return predictions(model, to_tuple(images, "images", to_path), logger.warning)


def predictions(
    model: Predictor, images: Sequence[Path], unreadable: Callable[[str], object] = lambda message: None
) -> pd.DataFrame:
    """The frame of :func:`predict`.

    Args:
        model: The trained method.
        images: Files and folders.
        unreadable: Called with a message for each file or folder that cannot be read.
    """
    import pandas as pd

    from fer_bench.data.sources import decode

    files: list[Path] = []
    for path in images:
        try:
            found = _images_under(path) if path.is_dir() else [path]
            if not found:
                unreadable(f"{path}: no image in it ({', '.join(IMAGE_SUFFIXES)})")
            files += found
        except DataError as error:
            unreadable(str(error))
    read: list[Path] = []
    parts = [np.empty((0, len(model.classes)), np.float32)]
    for start in range(0, len(files), CHUNK):
        pixels = []
        for path in files[start : start + CHUNK]:
            try:
                pixels.append(decode(path, model.size))
                read.append(path)
            except (DataError, OSError) as error:
                unreadable(str(error))
        if pixels:
            parts.append(model.probabilities(np.stack(pixels)))
    values = np.concatenate(parts)
    best = np.array(model.classes, dtype=object)[values.argmax(axis=1)] if len(values) else []
    frame = pd.DataFrame({"image": [str(path) for path in read], "predicted": best})
    return pd.concat([frame, pd.DataFrame(values, columns=[f"p_{name}" for name in model.classes])], axis=1)


def _images_under(folder: Path) -> list[Path]:
    return [path for path in files_under(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
