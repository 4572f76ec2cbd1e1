"""Class activation maps, and the agreement between the maps of a face and of its mirror image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def class_activation_maps(features: Tensor, weight: Tensor, detach_weight: bool = True) -> Tensor:
    """A[b, k, h, w] = sum_c W[k, c] F[b, c, h, w]: maps [B, K, H, W] of features [B, C, H, W] and classifier [K, C].

    No bias, no ReLU, no normalisation, all K classes. By default the gradient reaches the features only, as in the
    official EAC code, which reads the weight's ``.data``.
    """
    return torch.einsum("kc,bchw->bkhw", weight.detach() if detach_weight else weight, features)


def mirror(maps: Tensor) -> Tensor:
    """The maps [..., H, W] mirrored along the width; equal to the official ``grid_sample`` up to float rounding."""
    return maps.flip(-1)


def flip_consistency(maps: Tensor, maps_of_mirror: Tensor) -> Tensor:
    """AC = mean over (b, k, h, w) of (A1 - mirror(A2))^2, a scalar (EAC ``src/loss.py``, ``ACLoss``)."""
    return (maps - mirror(maps_of_mirror)).square().mean()


@torch.no_grad()
def pooled_linear_classifier(net: Any) -> nn.Linear:
    """The classifier, if the network ends in global average pooling and one linear layer on the pooled channels.

    Class activation maps mean something only then. It is tried on a small feature map rather than read off the
    architecture: any head that does something else (a norm, max pooling, tokens) is a ValueError.
    """
    classifier = net.get_classifier()
    name = type(net).__name__
    if not isinstance(classifier, nn.Linear):
        raise ValueError(
            "class activation maps need a network that ends in global average pooling and one nn.Linear; "
            f"the classifier of {name} is {type(classifier).__name__}"
        )
    weight = classifier.weight
    features = torch.linspace(-1, 1, 2 * net.num_features * 6, device=weight.device, dtype=weight.dtype).sin()
    features = features.view(2, net.num_features, 2, 3)
    was_training = net.training
    net.eval()
    try:
        same = torch.allclose(net.forward_head(features), classifier(features.mean(dim=(2, 3))), atol=1e-4)
    except (RuntimeError, IndexError, AssertionError):
        same = False
    finally:
        net.train(was_training)
    if not same:
        raise ValueError(
            "class activation maps need a network that ends in global average pooling and one nn.Linear; "
            f"the head of {name} does something else between its feature map and its classifier"
        )
    return classifier
