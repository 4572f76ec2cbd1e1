"""Resampling of a batch: what it does to images and landmarks, what it draws, and what it leaves as it was."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fer_bench.core.spec import Augmentation, Recipe
from fer_bench.engine.augment import Views
from fer_bench.engine.resampling import Placement, draw_matrix
from fer_bench.method import VIEWS

CPU = torch.device("cpu")
SEED = (0, "augment", 1, 2)
MOVES = {"rotate": 15.0, "scale": 0.1, "shift": 0.15}
NONE = torch.zeros(1, dtype=torch.bool)


def views(**augmentation: float) -> Views:
    return Views(Recipe(augmentation=Augmentation(erase=0.0, **augmentation)), CPU)


def spots(places: Tensor, size: int = 64) -> Tensor:
    """Images [B, 3, size, size] with a blurred bright spot at each place, [B, 2] as fractions."""
    centres = (torch.arange(size) + 0.5) / size
    x, y = (torch.exp(-((centres - places[:, axis, None]) ** 2) / (2 * 0.03**2)) for axis in (0, 1))
    return (y[:, :, None] * x[:, None, :])[:, None].expand(-1, 3, -1, -1)


def centre_of_mass(images: Tensor) -> Tensor:
    """[B, 2] as fractions."""
    size = images.shape[-1]
    centres, mass = (torch.arange(size) + 0.5) / size, images.mean(1)
    total = mass.sum((1, 2))
    return torch.stack([(mass.sum(1) * centres).sum(1) / total, (mass.sum(2) * centres).sum(1) / total], 1)


def test_landmarks_go_where_their_pixels_go() -> None:
    places = 0.35 + 0.3 * torch.rand((50, 2), generator=torch.Generator().manual_seed(0))
    flipped = torch.arange(50) % 2 == 1
    matrix = draw_matrix(50, Augmentation(**MOVES), CPU, *SEED)
    placement = Placement(flipped, matrix)
    images = torch.where(flipped[:, None, None, None], spots(places).flip(-1), spots(places))
    moved = placement.points(places[:, None])[:, 0]
    seen = centre_of_mass(placement.resampled(images))
    assert float((moved - seen).abs().max()) < 0.002  # an eighth of a pixel
    assert float((moved - places).abs().max()) > 0.1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_is_exact(turns: int) -> None:
    angle = torch.tensor(turns * math.pi / 2)
    matrix = torch.tensor([[[angle.cos(), angle.sin(), 0.0], [-angle.sin(), angle.cos(), 0.0]]])
    images = torch.rand((1, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    turned = Placement(NONE, matrix).resampled(images)
    torch.testing.assert_close(turned, torch.rot90(images, -turns, (2, 3)), atol=1e-4, rtol=0)


def test_draws_are_uniform_up_to_their_limits() -> None:
    matrix = draw_matrix(20_000, Augmentation(**MOVES), CPU, *SEED)
    assert matrix is not None
    linear = matrix[:, :, :2]
    size = 1 / linear.det().sqrt()
    angle = torch.rad2deg(torch.atan2(linear[:, 0, 1], linear[:, 0, 0]))
    shift = -torch.linalg.solve(linear, matrix[:, :, 2]) / 2
    for values, middle, limit in ((angle, 0, 15), (size, 1, 0.1), (shift[:, 0], 0, 0.15), (shift[:, 1], 0, 0.15)):
        away = (values - middle) / limit
        assert float(away.abs().max()) <= 1 + 1e-4
        assert abs(float(away.mean())) < 0.02 and abs(float(away.std()) - 1 / math.sqrt(3)) < 0.01


def test_draws_depend_on_the_seed_alone() -> None:
    first, again = (draw_matrix(8, Augmentation(**MOVES), CPU, *SEED) for _ in range(2))
    other = draw_matrix(8, Augmentation(**MOVES), CPU, 1, *SEED[1:])
    assert first is not None and again is not None and other is not None
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_nothing_is_drawn_without_limits() -> None:
    assert draw_matrix(8, Augmentation(), CPU, *SEED) is None


def test_views_keep_their_relations() -> None:
    images = torch.randint(0, 256, (64, 3, 24, 24), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    make, placement = views(**MOVES).batch(images, *SEED)
    weak = make("weak")
    assert torch.equal(make("mirror"), weak.flip(-1)) and torch.equal(make("mirror-erased"), weak.flip(-1))
    still, same = views().batch(images, *SEED)
    assert torch.equal(placement.flipped, same.flipped), "the mirror is drawn as without resampling"
    assert torch.equal(make("plain"), still("plain")) and torch.equal(make("flipped"), still("flipped"))
    assert not torch.equal(make("second"), weak) and not torch.allclose(weak, still("weak"))
    assert all(make(name).is_contiguous(memory_format=torch.channels_last) for name in VIEWS)


def test_the_mean_colour_comes_in_from_outside() -> None:
    white = torch.full((16, 3, 24, 24), 255, dtype=torch.uint8)
    weak = views(shift=0.5).batch(white, *SEED)[0]("weak")
    assert float(weak.min()) == 0.0 and float(weak.flatten(1).max(1).values.min()) > 2
