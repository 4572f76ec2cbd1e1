"""Class activation maps, and the network that they need."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def class_activation_maps(features: Tensor, weight: Tensor, detach_weight: bool = True) -> Tensor:
    """A[b, k, h, w] = sum_c W[k, c] F[b, c, h, w] for all classes: no bias, no ReLU, no normalisation.

    Args:
        features: F [B, C, H, W], the last feature map.
        weight: W [K, C] of the classifier.
        detach_weight: True lets the gradient reach the features only, as in the official EAC code, which reads the
            weight's ``.data``.

    Returns:
        [B, K, H, W].

    >>> class_activation_maps(torch.ones(1, 2, 1, 3), torch.tensor([[1.0, 2.0]]))
    tensor([[[[3., 3., 3.]]]])
    """
    return torch.einsum("kc,bchw->bkhw", weight.detach() if detach_weight else weight, features)


def mirror(maps: Tensor) -> Tensor:
    """The maps [..., H, W] mirrored along the width; equal to the official ``grid_sample`` up to float rounding.

    >>> mirror(torch.tensor([[1, 2, 3]]))
    tensor([[3, 2, 1]])
    """
    return maps.flip(-1)


@torch.no_grad()
def pooled_linear_classifier(net: Any) -> nn.Linear:
    """The classifier of a network that ends in global average pooling and one linear layer on the pooled channels.

    Class activation maps mean something only then. It is tried on a small feature map rather than read off the
    architecture.

    Args:
        net: A network as ``make_net`` returns it.

    Raises:
        ValueError: The head of the network does something else (a norm, max pooling, tokens).

    >>> class Net(nn.Module):
    ...     num_features = 4
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.fc = nn.Linear(4, 3)
    ...     def forward_head(self, x):
    ...         return self.fc(x.mean(dim=(2, 3)))
    ...     def get_classifier(self):
    ...         return self.fc
    >>> pooled_linear_classifier(Net())
    Linear(in_features=4, out_features=3, bias=True)
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
