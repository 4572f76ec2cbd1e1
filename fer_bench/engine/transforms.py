"""Transforms of torchvision that a recipe names, and RandAugment: image by image, every draw from a derived seed.

They are slower than the batched augmentation of :mod:`fer_bench.engine.augment`, and there are many of them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from fer_bench.core.errors import SpecError, nearest
from fer_bench.core.seeds import derive

Transform = Callable[[Tensor], Tensor]

WHERE = "augmentation.transforms"


@cache
def make_transforms(calls: Sequence[str]) -> Transform:
    """The transforms that a recipe names, one after the other.

    Args:
        calls: Calls of classes of ``torchvision.transforms.v2``, with values for arguments:
            ``("ColorJitter(brightness=0.3)", "RandomGrayscale(p=0.1)")``.

    Returns:
        A function of one image, uint8 [3, H, W], that returns an image of the same shape and dtype.

    Raises:
        SpecError: There is no such transform, or it does not take these arguments.
    """
    from torchvision.transforms import v2

    return v2.Compose([_make(call) for call in calls])


def check_transforms(calls: Sequence[str], size: int) -> None:
    """Raises SpecError unless the transforms keep the shape and dtype of an image of ``size`` pixels."""
    if not calls:
        return
    image = torch.arange(3 * size * size).remainder(256).view(3, size, size).to(torch.uint8)
    for call in calls:
        transform = make_transforms((call,))
        try:
            (changed,) = each_image(transform, image[None], 0)
        except Exception as error:
            raise SpecError(f"{WHERE}: {call} does not work on an image of {size} px: {error}") from None
        if changed.shape != image.shape or changed.dtype != image.dtype:
            raise SpecError(
                f"{WHERE}: {call} makes {changed.dtype} {tuple(changed.shape)} of an image uint8 {tuple(image.shape)}; "
                "a transform must keep both"
            )


def each_image(transform: Transform, images: Tensor, *seed: int | str) -> Tensor:
    """Every image of a batch changed on its own. torchvision draws from torch's global generator on the CPU.

    Args:
        transform: The change.
        images: uint8 [B, 3, H, W].
        *seed: Name of the random stream.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(*seed, "operations"))  # type: ignore[arg-type]
        return torch.stack([transform(image) for image in images.contiguous()])


@cache
def rand_augment() -> Transform:
    """RandAugment (Cubuk et al., NeurIPS 2020).

    A magnitude of 10 of 30 is a third of the way to the strongest change of each operation.
    """
    from torchvision.transforms.v2 import RandAugment  # slow to import, and few methods need it

    return RandAugment(num_ops=2, magnitude=10)


def _make(call: str) -> Transform:
    from torchvision.transforms import v2

    name, arguments = _parsed(call)
    known = {n: c for n, c in vars(v2).items() if isinstance(c, type) and issubclass(c, v2.Transform)}
    if name not in known:
        raise SpecError(f"{WHERE}: torchvision.transforms.v2 has no {name!r}{nearest(name, known)}")
    try:
        return known[name](**arguments)
    except Exception as error:
        raise SpecError(f"{WHERE}: {call}: {error}") from None


def _parsed(call: str) -> tuple[str, dict[str, object]]:
    """Name and arguments of a call such as ``RandomRotation(degrees=10)``."""
    try:
        match ast.parse(call, mode="eval").body:
            case ast.Call(ast.Name(name), [], keywords) if all(keyword.arg for keyword in keywords):
                return name, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        pass
    raise SpecError(f"{WHERE}: {call!r} is no call with named values, as in RandomRotation(degrees=10)")
