"""Taking a convolutional network apart at its resolutions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

PROBE = 64
"""Width of the image on which the parts are tried."""


def resolution_stages(net: Any) -> list[tuple[int, nn.Sequential]]:
    """The parts of ``net.forward_features`` whose outputs share a resolution, finest first.

    The layers are the network's own, not copies, and one after the other they are ``forward_features``. That is tried
    on an image rather than read off the architecture. A part begins with the layer that changes the resolution: ResNet
    gives (2, stem), (4, pooling and layer 1), (8, layer 2), (16, layer 3), (32, layer 4).

    Args:
        net: A network as ``make_net`` returns it.

    Returns:
        (stride, layers) of each part.

    Raises:
        ValueError: The network is more than a sequence of its children (tokens, skips over stages, a channels-last
            map).

    >>> class Net(nn.Sequential):
    ...     def forward_features(self, x):
    ...         return self[1](self[0](x))
    ...     def get_classifier(self):
    ...         return self[2]
    >>> net = Net(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 8, 3, 2, 1), nn.Linear(8, 2))
    >>> [(stride, len(layers)) for stride, layers in resolution_stages(net)]
    [(2, 1), (4, 1)]
    """
    device = next(net.parameters()).device
    x = torch.linspace(-1, 1, 2 * 3 * PROBE * PROBE, device=device).sin().mul(3).view(2, 3, PROBE, PROBE)
    training = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            found = _units_of_features(net, x)
    finally:
        for module, mode in training:
            module.training = mode
    parts: list[tuple[int, list[nn.Module]]] = []
    for unit, width in found:
        stride = PROBE // width
        if not parts or parts[-1][0] != stride:
            parts.append((stride, []))
        parts[-1][1].append(unit)
    return [(stride, nn.Sequential(*units)) for stride, units in parts]


def _units_of_features(net: Any, x: Tensor) -> list[tuple[nn.Module, int]]:
    """The longest sequence of the network's layers that computes its last feature map, with their output widths."""
    failures = (RuntimeError, TypeError, ValueError, IndexError, AssertionError, NotImplementedError)
    try:
        wanted = net.forward_features(x)
    except failures as error:
        raise ValueError(
            f"{type(net).__name__} cannot be taken apart: no {PROBE}-pixel image passes ({error})"
        ) from None
    found: list[tuple[nn.Module, int]] = []
    complete, classifier = 0, net.get_classifier()
    for unit in _units(net.children()):
        if unit is classifier:
            break
        try:
            x = unit(x)
        except failures:
            break
        if not isinstance(x, Tensor) or x.ndim != 4:
            break
        found.append((unit, x.shape[-1]))
        if x.shape == wanted.shape and torch.allclose(x, wanted, rtol=1e-4, atol=1e-5):
            complete = len(found)
    if not complete:
        raise ValueError(
            f"{type(net).__name__} cannot be taken apart: its feature map is not what its layers give one after the "
            "other; use a plain convolutional network such as a ResNet"
        )
    return found[:complete]


def _units(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """The modules, with a plain nn.Sequential replaced by what it holds."""
    for module in modules:
        if type(module) is nn.Sequential:
            yield from _units(module.children())
        else:
            yield module
