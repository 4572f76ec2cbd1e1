"""Three ways to augment a batch of 64 decoded faces: mirror, normalise, erase, each image with draws of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.timing import alternate
from fer_bench.core.spec import Recipe
from fer_bench.engine.augment import Views


def measure(size: int, repeats: int, batch: int = 64) -> dict[str, Any]:
    """Seconds per batch by way; kornia only where it is installed."""
    recipe = Recipe(image_size=size)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    ways = {"own": _own(recipe, images), "torchvision v2, image by image": _torchvision(recipe, images)}
    kornia = _kornia(recipe, images)
    if kornia:
        ways["kornia, whole batch"] = kornia
    return alternate(ways, repeats)


def _own(recipe: Recipe, images: Tensor) -> Callable[[], Tensor]:
    views = Views(recipe, torch.device("cpu"))
    return lambda: views.batch(images, 0, "augment", 0, 0)[0]("weak")


def _torchvision(recipe: Recipe, images: Tensor) -> Callable[[], Tensor]:
    from torchvision.transforms import v2

    chain = v2.Compose(
        [
            v2.RandomHorizontalFlip(recipe.augmentation.flip),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(recipe.mean, recipe.std),
            v2.RandomErasing(recipe.augmentation.erase, (recipe.augmentation.erase_min, recipe.augmentation.erase_max)),
        ]
    )
    return lambda: torch.stack([chain(image) for image in images]).contiguous(memory_format=torch.channels_last)


def _kornia(recipe: Recipe, images: Tensor) -> Callable[[], Tensor] | None:
    try:
        import kornia.augmentation as K
    except ImportError:
        return None
    chain = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=recipe.augmentation.flip),
        K.Normalize(torch.tensor(recipe.mean), torch.tensor(recipe.std)),
        K.RandomErasing(
            (recipe.augmentation.erase_min, recipe.augmentation.erase_max), (0.3, 3.3), p=recipe.augmentation.erase
        ),
        data_keys=["input"],
    )
    return lambda: chain(images.float() / 255).contiguous(memory_format=torch.channels_last)
