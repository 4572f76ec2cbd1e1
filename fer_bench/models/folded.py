"""Weights whose batch normalisation is folded into the convolutions, as in models for phones and browsers.

Such a model knows the factor and the offset of each channel, but no longer the mean and variance that they were made
of. With mean 0 and variance 1 the network computes the same in evaluation. In training, though, each channel is
normalised by its batch, and the network computes something else (cosine of the features on faces: 0.13). ``unfold``
gives the layers the statistics of the images that the network is going to be trained on (cosine: 0.96).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_bench.core.errors import require
from fer_bench.models.catalog import FromNpm

CHUNK = 64
"""Images that are measured at a time."""


def folded_state(net: nn.Module, arrays: Mapping[str, np.ndarray], origin: FromNpm) -> dict[str, Tensor]:
    """The state of a network's trunk, its batch normalisations with mean 0 and variance 1.

    Args:
        net: A network that applies its convolutions in the order in which it holds them, each with a batch
            normalisation behind it, and PReLU behind some.
        arrays: The arrays of the model by name, kernels [h, w, inputs, outputs] or, depthwise, [h, w, channels, 1].
        origin: Says which arrays make which convolution. PReLU of its models is ``relu(x) + halves * (x - abs(x))``
            with halves of the wrong sign: as they stand, faces of a person are hardly more alike than others.

    Raises:
        SpecError: The network has other layers.
    """
    layers = _layers(net)
    fits = [bool(unit.halves) for unit in origin.units] == [bool(layer.prelu) for layer in layers]
    require(fits, f"{origin.backbone} does not have the layers of {origin.model}")
    state: dict[str, Tensor] = {}
    for unit, layer in zip(origin.units, layers, strict=True):
        shift = arrays[unit.shift]
        scale = arrays[unit.scale] if unit.scale else np.ones(len(shift))
        order = (2, 3, 0, 1) if layer.depthwise else (3, 2, 0, 1)
        state[f"{layer.conv}.weight"] = _float32(arrays[unit.kernel].transpose(order))
        state[f"{layer.norm}.weight"] = _float32(scale * np.sqrt(1 + layer.eps))
        state[f"{layer.norm}.bias"] = _float32(shift)
        state[f"{layer.norm}.running_mean"] = torch.zeros(len(shift))
        state[f"{layer.norm}.running_var"] = torch.ones(len(shift))
        if layer.prelu:
            state[f"{layer.prelu}.weight"] = _float32(-2 * arrays[unit.halves])
    first = state[f"{layers[0].conv}.weight"]
    state[f"{layers[0].conv}.weight"] = origin.gain * (first.flip(1) if origin.bgr else first)
    return state


@dataclass
class _Layer:
    """Names of a convolution, of the batch normalisation behind it, and of PReLU if there is one."""

    conv: str
    depthwise: bool
    norm: str = ""
    eps: float = 0.0
    prelu: str = ""


def _layers(net: nn.Module) -> list[_Layer]:
    found: list[_Layer] = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            found.append(_Layer(name, module.groups > 1))
        elif isinstance(module, nn.BatchNorm2d):
            found[-1].norm, found[-1].eps = name, module.eps
        elif isinstance(module, nn.PReLU):
            found[-1].prelu = name
    return found


def _float32(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def unfold(net: Any, images: Tensor) -> None:
    """Gives batch normalisations with mean 0 and variance 1 the statistics of images. Their results stay the same.

    Args:
        net: A network in timm's interface; what it computes in evaluation does not change.
        images: float32 [N, 3, S, S], normalised, on the network's device.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = [torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms]
    training = net.training
    net.eval()
    hooks = [norm.register_forward_pre_hook(_summing(into)) for norm, into in zip(norms, sums, strict=True)]
    try:
        with torch.no_grad():
            for chunk in images.split(CHUNK):
                net.forward_features(chunk)
    finally:
        for hook in hooks:
            hook.remove()
        net.train(training)
    for norm, (count, total, squares) in zip(norms, sums, strict=True):
        mean = total / count
        variance = (squares / count - mean.square()).clamp_(min=0)
        scale = norm.weight.detach().double().cpu() / (1 + norm.eps) ** 0.5
        norm.weight.data.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.data.add_((scale * mean).to(norm.bias))
        norm.running_mean, norm.running_var = mean.to(norm.bias), variance.to(norm.bias)


def _summing(into: Tensor) -> Callable[[nn.Module, tuple[Tensor]], None]:
    """A hook that adds the count, sum and sum of squares of a layer's input to ``into`` [3, channels]."""

    def add(_: nn.Module, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        into[0] += values[:, 0].numel()
        into[1] += values.sum((0, 2, 3)).cpu()
        into[2] += values.square().sum((0, 2, 3)).cpu()

    return add
