"""The augmented views of a batch: what each is relative to 'weak', and that every draw is named."""

from __future__ import annotations

import gc
import math
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fer_bench.core.spec import Augmentation, Recipe
from fer_bench.data.points import POINTS
from fer_bench.engine.augment import ASPECT, Views, erased_boxes, erased_by_mask
from fer_bench.method import VIEWS

CPU = torch.device("cpu")
SEED = (0, "augment", 1, 2)


def images(count: int = 64, size: int = 24) -> Tensor:
    """Grey levels from 40 to 215, so that no pixel equals the mean colour after erasing by chance."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(40, 216, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def views(**augmentation: float) -> Views:
    return Views(Recipe(augmentation=Augmentation(**augmentation)), CPU)


def erased(view: Tensor) -> Tensor:
    """bool [B, H, W]: pixels that have the mean colour in all channels."""
    return (view == 0).all(1)


def test_mirror_is_the_exact_mirror_of_weak_with_its_box() -> None:
    make, _ = views(erase=1.0, noise=0.5).batch(images(), *SEED)
    assert torch.equal(make("mirror"), make("weak").flip(-1))
    assert erased(make("weak")).flatten(1).any(1).all()


def test_mirror_erased_has_a_box_of_its_own_and_is_the_mirror_elsewhere() -> None:
    make, _ = views(erase=1.0).batch(images(), *SEED)
    weak, other = make("weak").flip(-1), make("mirror-erased")
    box, own = erased(weak), erased(other)
    assert own.flatten(1).any(1).all()
    assert (box != own).flatten(1).any(1).float().mean() > 0.95, "the boxes must be drawn independently"
    both = ~(box | own)[:, None].expand_as(weak)
    assert torch.equal(weak[both], other[both])
    assert both.flatten(1).any(1).all()


def test_mirror_erased_has_no_pixel_noise() -> None:
    clean, _ = views(erase=0.0).batch(images(), *SEED)
    noisy, _ = views(erase=0.0, noise=1.0).batch(images(), *SEED)
    assert torch.equal(clean("mirror-erased"), noisy("mirror-erased"))
    assert not torch.equal(clean("weak"), noisy("weak"))


def test_second_is_another_draw_of_the_same_recipe() -> None:
    make, (flipped, _) = views(erase=0.0).batch(images(400, 8), *SEED)
    plain = views().plain(images(400, 8))
    mirrored = (make("second") == plain.flip(-1)).flatten(1).all(1)
    assert ((make("second") == plain).flatten(1).all(1) ^ mirrored).all()
    agreement = float((mirrored == flipped).float().mean())
    assert abs(agreement - 0.5) < 0.12  # 4.8 standard deviations


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_flip_at_its_ends(probability: float) -> None:
    make, (flipped, _) = views(flip=probability, erase=0.0).batch(images(), *SEED)
    plain = views().plain(images())
    assert torch.equal(make("weak"), plain.flip(-1) if probability else plain)
    assert bool(flipped.all()) == bool(probability) == bool(flipped.any())
    assert torch.equal(make("mirror-erased"), plain if probability else plain.flip(-1))


def test_flipped_says_which_images_are_mirrored() -> None:
    make, (flipped, _) = views(erase=0.0).batch(images(400, 8), *SEED)
    plain = views().plain(images(400, 8))
    assert torch.equal(make("weak"), torch.where(flipped[:, None, None, None], plain.flip(-1), plain))
    assert abs(float(flipped.float().mean()) - 0.5) < 0.12


def test_erased_shares_and_shapes() -> None:
    augmentation, side, count = Augmentation(erase=0.3, erase_min=0.05, erase_max=0.2), 100, 4000
    boxes = erased_boxes(count, side, side, augmentation, *SEED).double()
    top, bottom, left, right = boxes.unbind(1)
    assert (top >= 0).all() and (bottom <= side).all() and (left >= 0).all() and (right <= side).all()
    hit = bottom > top
    assert abs(float(hit.double().mean()) - 0.3) < 0.035
    tall, wide = (bottom - top)[hit], (right - left)[hit]
    share = tall * wide / side**2
    # sides are rounded to pixels: by half a pixel, which is at most 4 % of the shortest side (12.2)
    assert share.min() >= 0.05 * 0.94 and share.max() <= 0.2 * 1.06
    assert abs(float(share.mean()) - 0.125) < 0.005
    aspect = tall / wide
    assert ASPECT[0] * 0.92 <= aspect.min() and aspect.max() <= ASPECT[1] * 1.08
    assert abs(float(aspect.log().median()) - (math.log(ASPECT[0]) + math.log(ASPECT[1])) / 2) < 0.1


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_erase_at_its_ends(probability: float) -> None:
    make, _ = views(erase=probability).batch(images(), *SEED)
    assert bool(erased(make("weak")).flatten(1).any(1).all()) == bool(probability)
    assert bool(erased(make("weak")).any()) == bool(probability)


def test_noise_has_the_stated_variance_in_grey_levels() -> None:
    grey = torch.full((50, 3, 32, 32), 128, dtype=torch.uint8)
    views_ = views(noise=1.0, erase=0.0)
    levels = (views_.batch(grey, *SEED)[0]("weak") / views_.scale.view(3, 1, 1) + views_.mean.view(3, 1, 1)).double()
    assert torch.allclose(levels, levels.round(), atol=1e-3), "levels are whole numbers"
    variance = float(levels.var())
    # 30, and 1/12 for the rounding down; 153,600 draws have a standard error of 0.11
    assert abs(variance - (30 + 1 / 12)) < 0.5
    assert abs(float(levels.mean()) - 127.5) < 0.1
    clipped = views_.batch(torch.full((8, 3, 32, 32), 255, dtype=torch.uint8), *SEED)[0]("weak") / views_.scale.view(
        3, 1, 1
    ) + views_.mean.view(3, 1, 1)
    assert clipped.max() <= 255.001


def test_noise_hits_the_given_share() -> None:
    make, _ = views(noise=0.25, erase=0.0, flip=0.0).batch(images(800, 8), *SEED)
    changed = (make("weak") != views().plain(images(800, 8))).flatten(1).any(1)
    assert abs(float(changed.float().mean()) - 0.25) < 0.07


def test_normalisation() -> None:
    recipe = Recipe(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))
    plain = Views(recipe, CPU).plain(images(4))
    expected = (images(4).double() / 255 - torch.tensor(recipe.mean).double().view(1, 3, 1, 1)) / torch.tensor(
        recipe.std
    ).double().view(1, 3, 1, 1)
    assert plain.dtype == torch.float32 and torch.allclose(plain.double(), expected, atol=1e-5)


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_is_normalised_float_in_channels_last(name: str) -> None:
    view = views(noise=0.5).batch(images(), *SEED)[0](name)
    assert view.shape == (64, 3, 24, 24) and view.dtype == torch.float32 and view.isfinite().all()
    assert view.is_contiguous(memory_format=torch.channels_last)


def test_equal_seeds_draw_equally_whatever_was_asked_for_before() -> None:
    torch.manual_seed(1)
    one, (flipped, _) = views(noise=0.5).batch(images(), *SEED)
    straight = {name: one(name).clone() for name in VIEWS}
    torch.manual_seed(2)
    torch.rand(5)
    other, (again, _) = views(noise=0.5).batch(images(), *SEED)
    assert torch.equal(flipped, again)
    for name in reversed(VIEWS):
        assert torch.equal(other(name), straight[name]), name


@pytest.mark.parametrize("seed", [(1, "augment", 1, 2), (0, "augment", 2, 2), (0, "augment", 1, 3)])
def test_other_seeds_epochs_and_steps_draw_otherwise(seed: tuple[int, str, int, int]) -> None:
    assert not torch.equal(views().batch(images(), *SEED)[0]("weak"), views().batch(images(), *seed)[0]("weak"))


def test_making_views_leaves_the_images_and_each_other_alone() -> None:
    source = images()
    make, _ = views(noise=1.0, erase=1.0).batch(source, *SEED)
    weak = make("weak").clone()
    for name in VIEWS:
        make(name)
    assert torch.equal(source, images()) and torch.equal(make("weak"), weak)


def test_landmarks_are_mirrored_with_the_view(tmp_path: Path) -> None:
    """A white pixel and a landmark at its centre stay together in the batches of the engine."""
    from fer_bench.core.spec import Imbalance, Noise, RunSpec
    from fer_bench.data.dataset import Dataset
    from fer_bench.engine.job import Resources, TrainingJob
    from fer_bench.engine.trainer import train
    from fer_bench.method import Info, Method, Needs
    from fer_bench.store.folder import RunFolder

    size, count, found = 16, 40, []
    rng = np.random.default_rng(0)
    pixels = np.zeros((count, 3, size, size), np.uint8)
    place = rng.integers(0, size, (count, 2))
    pixels[np.arange(count), :, place[:, 1], place[:, 0]] = 255
    points = np.repeat(((place + 0.5) / size).astype(np.float32)[:, None], len(POINTS), axis=1)

    class Stop(Exception):
        pass

    class Look(Method):
        info = Info("", "", "", 0, "", "")

        @classmethod
        def needs(cls, config: object) -> Needs:
            return Needs(landmarks=True)

        def train_step(self, batch, run):  # type: ignore[no-untyped-def]
            found.append((batch.view(), batch.landmarks, batch.landmarks_ok, batch.index))
            raise Stop

    class Drawn(Dataset):
        def pixels(self, side: int) -> np.ndarray:
            return pixels

    split = np.array(["train"] * 30 + ["val"] * 2 + ["test"] * 8)
    ids = np.array([f"{i:03d}" for i in range(count)])
    ok = np.arange(count) % 3 > 0
    faces = Drawn(
        *("dots", ("a", "b"), ids, split, np.arange(count) % 2),
        **{"landmarks": points, "landmarks_ok": ok, "fingerprint": "0", "folder": tmp_path},
    )
    recipe = Recipe(image_size=size, batch_size=30, augmentation=Augmentation(erase=0.0))
    spec = RunSpec("dots", "0", "look", "0", {}, noise=Noise("none"), imbalance=Imbalance(), recipe=recipe)
    with pytest.raises(Stop):
        train(TrainingJob(spec, faces, Look, Look.Config(), RunFolder(tmp_path), Resources(CPU)))
    view, landmarks, landmarks_ok, index = found[0]
    spots = view.sum(1).flatten(1).argmax(1)
    seen = torch.stack([spots % size, spots // size], 1)
    assert torch.equal((landmarks[:, 0] * size - 0.5).round().long(), seen)
    moved = (landmarks[:, 0] - torch.from_numpy(points[:30, 0])[index]).abs().sum(1) > 1e-6
    assert 0 < int(moved.sum()) < 30, "some images must be mirrored and some not"
    assert torch.equal(landmarks_ok, torch.from_numpy(ok[:30])[index])


def test_a_batch_makes_each_view_once() -> None:
    make, _ = views().batch(images(), *SEED)
    assert make("weak") is make("weak")


def test_views_go_with_their_batch() -> None:
    """Not when Python next looks for cycles: by then hundreds of batches may have gathered."""
    gc.collect()
    gc.disable()
    try:
        make, _ = views().batch(images(), *SEED)
        made = [weakref.ref(make(name)) for name in VIEWS]
        del make
        assert [view() for view in made] == [None] * len(VIEWS)
    finally:
        gc.enable()


def test_a_gpu_erases_the_same_rectangles_in_the_same_memory() -> None:
    maker = views(erase=0.7, noise=0.0, flip=0.0)
    plain = maker.plain(images(64, 24))
    boxes = erased_boxes(64, 24, 24, maker.augmentation, *SEED)
    box_by_box = maker._erase(plain.clone(), *SEED)
    by_mask = erased_by_mask(plain, boxes)
    assert torch.equal(by_mask, box_by_box) and not torch.equal(by_mask, maker.plain(images(64, 24)))
    assert by_mask.is_contiguous(memory_format=torch.channels_last)
