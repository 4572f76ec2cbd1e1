"""Transforms of torchvision that a recipe names: how they are read, what they may do, and which views they change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fer_bench.core.errors import SpecError
from fer_bench.core.spec import Augmentation, Recipe
from fer_bench.engine.augment import Views
from fer_bench.engine.transforms import check_transforms, each_image, make_transforms

CPU = torch.device("cpu")
SEED = (0, "augment", 1, 2)
ALWAYS_INVERTED = "RandomInvert(p=1.0)"


def images(count: int = 16) -> Tensor:
    return torch.randint(0, 256, (count, 3, 24, 24), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def views(*transforms: str) -> Views:
    return Views(Recipe(augmentation=Augmentation(erase=0.0, transforms=transforms)), CPU)


def test_calls_are_applied_one_after_the_other() -> None:
    both = make_transforms((ALWAYS_INVERTED, "RandomGrayscale(p=1.0)"))
    (grey,) = each_image(both, images(1), *SEED)
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[1], grey[2])
    weights = torch.tensor([0.2989, 0.587, 0.114])[:, None, None]
    assert float((grey[0] - (weights * (255 - images(1)[0])).sum(0)).abs().max()) <= 1


def test_training_views_are_changed_and_the_others_are_not() -> None:
    changed, plain = views(ALWAYS_INVERTED).batch(images(), *SEED)[0], views().batch(255 - images(), *SEED)[0]
    for name in ("weak", "mirror", "mirror-erased", "second"):
        assert torch.equal(changed(name), plain(name)), name
    as_it_is = views().batch(images(), *SEED)[0]
    for name in ("plain", "flipped", "strong"):
        assert torch.equal(changed(name), as_it_is(name)), name


def test_each_image_and_each_view_has_draws_of_its_own() -> None:
    one = torch.full((40, 3, 24, 24), 60, dtype=torch.uint8)
    make = views("RandomInvert(p=0.5)").batch(one, *SEED)[0]
    pale = {name: make(name).mean((1, 2, 3)) > 0 for name in ("weak", "second")}
    assert 8 < int(pale["weak"].sum()) < 32 and not torch.equal(pale["weak"], pale["second"])
    torch.manual_seed(5)
    again = views("RandomInvert(p=0.5)").batch(one, *SEED)[0]
    assert torch.equal(make("weak"), again("weak"))


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    views("ColorJitter(brightness=0.5)").batch(images(), *SEED)[0]("weak")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("call", ["ColorJitter(brightness=0.3)", "RandomRotation(degrees=[-5, 5])", "AugMix()"])
def test_calls_that_work(call: str) -> None:
    check_transforms((call,), 48)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("ColorJiter()", "has no 'ColorJiter'; did you mean 'ColorJitter'"),
        ("Compose", "'Compose' is no call with named values"),
        ("RandomRotation(10)", "is no call with named values, as in"),
        ("RandomRotation(**{})", "is no call with named values"),
        ("RandomRotation(degrees=open('x'))", "is no call with named values"),
        ("__import__('os').remove('x')", "is no call with named values"),
        ("RandomInvert(q=1)", r"RandomInvert\(q=1\): .*unexpected keyword"),
        ("RandomErasing(p=-3)", "interval"),
        ("Resize(size=20)", r"makes torch.uint8 \(3, 20, 20\) of an image uint8 \(3, 48, 48\)"),
        ("Normalize(mean=[0.0], std=[1.0])", "does not work on an image of 48 px: .*float"),
        ("MixUp(num_classes=7)", "does not work on an image"),
    ],
)
def test_calls_that_are_refused(call: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"augmentation.transforms: .*{message}"):
        check_transforms((call,), 48)
