"""Backbones: any timm model, and networks of our own. All speak timm's interface."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from fer_bench.core.errors import SpecError, nearest
from fer_bench.core.seeds import derive
from fer_bench.models.ferres8 import FerRes8
from fer_bench.models.folded import unfold
from fer_bench.models.pretrained import file_hash, load_weights


def ferres8(pretrained: bool = False, **kwargs: Any) -> FerRes8:
    """FerRes8 under timm's model names; there are no pre-trained weights."""
    return FerRes8(**_known("ferres8", pretrained, kwargs))


def ferres8_wide(pretrained: bool = False, **kwargs: Any) -> FerRes8:
    """FerRes8 with twice the channels: about three times the cost of ``ferres8``."""
    return FerRes8(**_known("ferres8_wide", pretrained, kwargs), widths=(32, 64, 128, 256))


def resnet50_caffe(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """ResNet-50 as in Caffe, for weights that were converted from it (VGGFace2; EAC's ``resnet.py``).

    Its tensors have the names and shapes of timm's ``resnet50``, but it computes something else: the stride is in the
    first 1x1 convolution of a stage, not in the 3x3 one, and the first pooling has no padding and rounds up.
    """
    net: Any = models().create_model("resnet50", **_known("resnet50_caffe", pretrained, kwargs))
    net.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
    for stage in (net.layer2, net.layer3, net.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = stage[0].conv2.stride, stage[0].conv1.stride
    return net


def tf_mobilenetv1_100(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """MobileNet-v1 (Howard et al. 2017) padded as in TensorFlow, for weights that were converted from it.

    timm's ``mobilenetv1_100`` has the same tensors, but its strided convolutions are shifted by a pixel.
    """
    arguments = _known("tf_mobilenetv1_100", pretrained, kwargs)
    return models().create_model("mobilenetv1_100", pad_type="same", **arguments)


def mobilefacenet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """:class:`fer_bench.models.mobilefacenet.MobileFaceNet` under timm's model names."""
    from fer_bench.models.mobilefacenet import MobileFaceNet  # it imports timm

    return MobileFaceNet(**_known("mobilefacenet", pretrained, kwargs))


def _known(backbone: str, pretrained: bool, arguments: dict[str, Any]) -> dict[str, Any]:
    """What our own networks take of timm's arguments; SpecError for weights that timm does not have."""
    if pretrained:
        raise SpecError(f"timm has no pre-trained weights of backbone {backbone}; give a file to --pretrained")
    return {name: arguments[name] for name in ("num_classes", "in_chans") if name in arguments}


WITHOUT_TIMM: dict[str, Callable[..., nn.Module]] = {"ferres8": ferres8, "ferres8_wide": ferres8_wide}
"""Networks that are made without importing timm, which takes longer than the first steps of a short run."""


MakeOwn = Callable[[int], Any]
"""``make(num_classes)``: a network of a function of the user."""


@cache
def models() -> ModuleType:
    """timm, with our own networks among its models."""
    import timm
    from timm.models import register_model

    for make in (*WITHOUT_TIMM.values(), resnet50_caffe, tf_mobilenetv1_100, mobilefacenet):
        register_model(make)
    return timm


def check_backbone(name: str) -> None:
    """Raises SpecError with the nearest names unless there is a network of that name."""
    if name not in WITHOUT_TIMM and not models().is_model(name):
        near = nearest(name, models().list_models(), 5)
        joint = " A" if near.endswith("?") else "; a"
        raise SpecError(f"unknown backbone {name!r}{near}{joint} network of your own is named as FILE.py:FUNCTION")


def make_network(
    backbone: str,
    num_classes: int,
    *,
    seed: int,
    role: str,
    pretrained: str,
    weights: Path | None,
    own: MakeOwn | None = None,
    trained: bool = False,
    images: Callable[[], Tensor] | None = None,
) -> Any:
    """A network whose random parts depend on (seed, role) alone.

    Args:
        backbone: Its name.
        num_classes: Outputs of its classifier.
        seed: Of the run.
        role: Names the stream of its random parts.
        pretrained: As in ``Recipe.pretrained``.
        weights: The file of weights that ``pretrained`` names.
        own: Makes it, where the backbone is a function of the user; None otherwise.
        trained: Whether its weights will be replaced by trained ones, so that no initial weights are needed.
        images: Makes normalised training images, float32 [N, 3, S, S]. They are asked for where the weights have no
            statistics of batch normalisation (:mod:`fer_bench.models.folded`). None: the network is not trained.

    Raises:
        SpecError: The weights cannot be had or do not fit; a network never starts at random instead.
    """
    source, _, tag = pretrained.partition(":")
    name = f"{backbone.partition('.')[0]}.{tag}" if source == "timm" and tag else backbone
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "weights", role))
        try:
            if own is not None:
                net: Any = own(num_classes)
            elif name in WITHOUT_TIMM and source != "timm":
                net = WITHOUT_TIMM[name](num_classes=num_classes)
            else:
                net = models().create_model(name, pretrained=source == "timm" and not trained, num_classes=num_classes)
        except SpecError:
            raise
        except Exception as error:
            if source != "timm":
                raise
            raise SpecError(f"timm's pre-trained weights of {name} cannot be loaded: {error}") from None
    if source and source != "timm" and not trained:
        digest = pretrained.partition(", ")[0]
        if weights is None or file_hash(weights) != digest:
            raise SpecError(f"the weights {digest} are not those of {weights}; give the file with --pretrained")
        loaded = load_weights(net, weights, backbone)
        if loaded.folded and images is not None:
            unfold(net, images())
    return _laid_out(net, "" if own else backbone.partition(".")[0])


RESNETS = ("resnet18", "resnet34", "resnet50", "resnet50_caffe", "resnet101", "resnet152")

SMALL = 96
"""Pixels. Below it a ResNet's many channels lie over maps of few pixels."""


def _laid_out(net: Any, backbone: str) -> Any:
    """The network in the memory layout that was measured to be fast (docs/development/speed.md).

    Images come in channels_last, and most networks want it; ResNets keep PyTorch's own layout for their weights, and
    for small images.
    """
    if backbone not in RESNETS:
        return net.to(memory_format=torch.channels_last)
    net.conv1.register_forward_pre_hook(_plain_if_small)
    return net


def _plain_if_small(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    (images,) = inputs
    return (images.contiguous() if images.shape[-1] < SMALL else images,)
