"""From a data set and a spec to a training problem: what is carved, cut and corrupted, and what is left alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from fer_bench.core.errors import DataError
from fer_bench.core.spec import HOLD_OUT, Imbalance, Noise, RunSpec
from fer_bench.data.dataset import Dataset
from fer_bench.data.splits import make_splits

CLASSES = ("anger", "happiness", "neutral")


def faces(val: int = 0, counts: tuple[int, ...] = (300, 200, 100)) -> Dataset:
    """``counts`` training images by class, ``val`` and 30 test images per class; rows sorted by id, as in the cache."""
    split = np.repeat(["test", "train", "val"], [30 * 3, sum(counts), val * 3])
    label = np.concatenate([np.repeat([0, 1, 2], 30), np.repeat([0, 1, 2], counts), np.repeat([0, 1, 2], val)])
    ids = np.array([f"{part}/{row:05d}" for row, part in enumerate(split)])
    return Dataset("toy", CLASSES, ids, split, label.astype(np.int64), fingerprint="f" * 64, folder=Path())


def spec(**settings: object) -> RunSpec:
    return dataclasses.replace(RunSpec("toy", "f" * 64, "m", "c", {}), **{"noise": Noise("none"), **settings})  # type: ignore[arg-type]


NOISY = Noise("symmetric", 0.4)


def test_validation_is_carved_from_train_with_the_same_noise() -> None:
    data = faces()
    problem = make_splits(data, spec(noise=NOISY))
    assert not set(problem.train) & set(problem.val)
    assert set(problem.train) | set(problem.val) == set(np.flatnonzero(data.split == "train"))
    assert len(problem.val) == round(HOLD_OUT * 600)
    wrong = (problem.val_label != data.label[problem.val]).mean()
    assert wrong == pytest.approx(0.4, abs=0.02), "the held-out labels are as wrong as the others"


def test_an_official_validation_split_keeps_its_labels() -> None:
    data = faces(val=20)
    problem = make_splits(data, spec(noise=NOISY))
    assert np.array_equal(problem.val, np.flatnonzero(data.split == "val"))
    assert np.array_equal(problem.val_label, data.label[problem.val])
    assert len(problem.train) == 600


def test_held_out_images_carry_the_noise_of_the_same_draw_although_there_is_an_official_split() -> None:
    data = faces(val=20)
    splits = make_splits(data, spec(noise=NOISY, validation="held-out"))
    without = make_splits(faces(), spec(noise=NOISY))
    assert data.ids[splits.val].tolist() == faces().ids[without.val].tolist(), "as where there is no official split"
    assert np.array_equal(splits.val_label, without.val_label) and np.array_equal(
        splits.noisy_label, without.noisy_label
    )
    assert (splits.val_label != data.label[splits.val]).mean() == pytest.approx(0.4, abs=0.02)
    assert not set(splits.val) & set(np.flatnonzero(data.split == "val")) and len(splits.train) == 540
    other = make_splits(data, spec(noise=NOISY, validation="held-out", data_seed=1))
    assert set(other.val) != set(splits.val), "another data seed holds out other images"


@pytest.mark.parametrize("val", [0, 20])
def test_any_share_or_number_of_images_is_held_out(val: int) -> None:
    data = faces(val=val)
    sizes = [
        (len(splits.train), len(splits.val), splits.held_out)
        for held_out in (0.2, 0.5, 50.0)
        for splits in [make_splits(data, spec(validation="held-out", held_out=held_out))]
    ]
    assert sizes == [(480, 120, 120), (300, 300, 300), (550, 50, 50)]
    with pytest.raises(DataError, match="600 images to hold out: toy has 600 training images"):
        make_splits(data, spec(validation="held-out", held_out=600.0))


@pytest.mark.parametrize("val", [0, 20])
def test_all_training_images_are_used_without_a_validation_split(val: int) -> None:
    splits = make_splits(faces(val=val), spec(validation="none"))
    assert (len(splits.train), len(splits.val), splits.held_out) == (600, 0, 0)


def test_people_are_not_divided_by_the_hold_out() -> None:
    data = dataclasses.replace(faces(), group=np.array([f"p{row % 40}" for row in range(690)]))
    splits = make_splits(data, spec())
    assert splits.held_out == pytest.approx(60, abs=8)
    assert set(data.group[splits.train]).isdisjoint(data.group[splits.val])


def test_too_large_a_training_part_says_how_many_are_held_out() -> None:
    with pytest.raises(DataError, match=r"540 of its 600 training images left; 60 are held out .*--val none"):
        make_splits(faces(), spec(train_size=600))
    assert len(make_splits(faces(), spec(train_size=600, validation="none")).train) == 600


def test_errors_are_known_from_a_reference_or_from_injected_noise_only() -> None:
    given, reference = faces(), dataclasses.replace(faces(), label_source="reference")
    assert given.label_source == "given"
    clean, noisy = make_splits(given, spec()), make_splits(given, spec(noise=NOISY))
    assert (clean.errors_known, clean.noise["purity"], clean.noise["realised_rate"]) == (False, [None] * 3, 0)
    assert noisy.errors_known and noisy.noise["purity"] == make_splits(reference, spec(noise=NOISY)).noise["purity"]
    assert make_splits(reference, spec()).errors_known and make_splits(reference, spec()).noise["purity"] == [1, 1, 1]


def test_the_test_set_is_never_touched() -> None:
    data = faces(val=5)
    for settings in ({"noise": NOISY}, {"imbalance": Imbalance("exp", 20.0)}, {"train_size": 60}):
        problem = make_splits(data, spec(**settings))
        assert np.array_equal(problem.test, np.flatnonzero(data.split == "test"))
        assert np.array_equal(problem.test_label, data.label[problem.test])


def test_imbalance_is_made_on_clean_labels_before_noise() -> None:
    data = faces(val=5, counts=(300, 300, 300))
    cut = make_splits(data, spec(imbalance=Imbalance("exp", 25.0)))
    both = make_splits(data, spec(imbalance=Imbalance("exp", 25.0), noise=NOISY))
    assert np.array_equal(cut.train, both.train)
    assert np.bincount(both.clean_label).tolist() == [300, 60, 12]
    assert both.noise["clean_counts"] == [300, 60, 12]
    assert both.noise["noisy_imbalance"] < 25, "symmetric noise refills the tail with wrong labels"


def test_the_realised_noise_is_measured() -> None:
    problem = make_splits(faces(val=5), spec(noise=NOISY))
    assert problem.noise["realised_rate"] == 0.4 == (problem.noisy_label != problem.clean_label).mean()
    assert np.array(problem.noise["confusion"]).sum() == 600


def test_the_training_seed_changes_no_label_and_the_data_seed_does() -> None:
    data = faces(val=5)
    one, same, other = (make_splits(data, spec(noise=NOISY, **s)) for s in ({"seed": 0}, {"seed": 7}, {"data_seed": 1}))
    assert np.array_equal(one.noisy_label, same.noisy_label)
    assert not np.array_equal(one.noisy_label, other.noisy_label)


def test_parts_are_nested_and_keep_their_labels() -> None:
    data = faces(val=5)
    small, large = (make_splits(data, spec(train_size=size, noise=NOISY)) for size in (120, 240))
    assert set(small.train) < set(large.train)
    assert np.bincount(small.clean_label).tolist() == [60, 40, 20]


def test_a_class_without_training_images_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match=r"no training image of neutral in toy .*anger 300, happiness 200, neutral 0"):
        make_splits(faces(val=5, counts=(300, 200, 0)), spec())


@pytest.mark.parametrize("missing", ["train", "test"])
def test_an_empty_split_is_an_error_that_names_it(missing: str) -> None:
    data = faces(val=5)
    kept = np.flatnonzero(data.split != missing)
    cut = dataclasses.replace(data, ids=data.ids[kept], split=data.split[kept], label=data.label[kept])
    with pytest.raises(DataError, match=f"no images in its {missing} split"):
        make_splits(cut, spec())
