"""What a network must offer: timm's interface, as :class:`fer_bench.method.Net` describes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

PARTS = {
    "forward_features": "forward_features(x): the last feature map [B, D, h, w]",
    "forward_head": "forward_head(x, pre_logits=False): logits [B, C], or pooled features [B, D], of a feature map",
    "get_classifier": "get_classifier(): the last linear layer",
    "num_features": "num_features: D",
}


def interface_error(net: Any, images: Tensor, num_classes: int) -> str:
    """What a network lacks of the interface that methods rely on; "" for nothing.

    Args:
        net: The network, in evaluation mode.
        images: float32 [B, 3, H, W].
        num_classes: C.
    """
    missing = [text for name, text in PARTS.items() if not hasattr(net, name)]
    if missing:
        return f"a {type(net).__name__} has no {'; no '.join(missing)}"
    calls: dict[str, Callable[[], Any]] = {
        "net(x)": lambda: net(images),
        "forward_features(x)": lambda: net.forward_features(images),
        "forward_head(x)": lambda: net.forward_head(answers["forward_features(x)"]),
        "forward_head(x, pre_logits=True)": lambda: net.forward_head(answers["forward_features(x)"], pre_logits=True),
    }
    shapes = dict.fromkeys(calls, (len(images), num_classes))
    shapes["forward_head(x, pre_logits=True)"] = (len(images), net.num_features)
    answers: dict[str, Any] = {}
    for name, call in calls.items():
        try:
            with torch.no_grad():
                answers[name] = answer = call()
        except Exception as error:  # networks fail in their own ways
            return f"{name} raises {type(error).__name__}: {error}"
        if name != "forward_features(x)" and getattr(answer, "shape", None) != shapes[name]:
            found = list(answer.shape) if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
            return f"{name} gives {found}, not {list(shapes[name])}"
    logits, _, again, pooled = answers.values()
    if not torch.allclose(logits, again, rtol=1e-3, atol=1e-4):
        return "net(x) is not forward_head(forward_features(x))"
    return _classifier_error(net, pooled, logits)


def _classifier_error(net: Any, pooled: Tensor, logits: Tensor) -> str:
    classifier = net.get_classifier()
    if not isinstance(classifier, nn.Linear):
        return f"get_classifier() gives a {type(classifier).__name__} and no torch.nn.Linear"
    if not any(part is classifier for part in net.modules()):
        return "get_classifier() gives a layer that is no part of the network"
    with torch.no_grad():
        same = torch.allclose(classifier(pooled), logits, rtol=1e-3, atol=1e-4)
    return "" if same else "net(x) is not get_classifier()(forward_head(x, pre_logits=True))"
