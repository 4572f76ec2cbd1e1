import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_bench.data import imbalance, stratified

RAF = np.array([1290, 281, 717, 4772, 1982, 705, 2524])


def sample(counts):
    """Labels and ids with these class counts."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return labels, np.array([f"image{k:06d}" for k in range(len(labels))])


class_counts = st.lists(st.integers(1, 40), min_size=2, max_size=8)
factors = st.floats(1, 300)
kinds = st.sampled_from(sorted(imbalance.KINDS))


@pytest.mark.parametrize(
    ("factor", "kept", "total", "realised"),
    [
        (1, [1290, 281, 717, 4772, 1982, 705, 2524], 12271, 16.98),
        (20, [1067, 238, 647, 4772, 1758, 393, 2524], 11399, 20.05),
        (50, [674, 95, 351, 4772, 1295, 183, 2486], 9856, 50.23),
        (100, [477, 47, 221, 4772, 1028, 102, 2214], 8861, 101.53),
        (150, [389, 31, 169, 4772, 898, 73, 2070], 8402, 153.94),
    ],
)
def test_raf_db_table(factor, kept, total, realised):
    found = imbalance.describe(RAF, factor)
    assert imbalance.targets(RAF, factor).tolist() == found["kept"] == kept
    assert found["total"] == total
    assert found["factor"] == pytest.approx(realised, abs=0.01)
    labels, ids = sample(RAF)
    assert np.bincount(labels[imbalance.keep(labels, ids, factor=factor)]).tolist() == kept


def test_capped_profile_says_what_an_exact_one_needs():
    found = imbalance.describe(RAF, 20)
    assert found["capped"] == [6]
    assert found["ideal"][6] == 2896
    assert found["exact_head"] == 4158
    assert (np.array(found["exact_counts"]) <= RAF).all()
    assert imbalance.describe(RAF, 1)["capped"] == []


def test_step_keeps_every_class_of_an_odd_number():
    assert imbalance.targets(np.full(7, 700), 10, "step").tolist() == [700] * 4 + [70] * 3
    assert imbalance.targets(np.full(6, 700), 10, "step").tolist() == [700] * 3 + [70] * 3


def test_ranks_go_by_size_and_ties_by_class_id():
    assert imbalance.targets(np.array([100, 400, 100]), 100).tolist() == [40, 400, 4]


def test_class_that_would_be_empty_keeps_one_and_says_so():
    with pytest.warns(UserWarning, match="no image of class 2"):
        assert imbalance.targets(np.array([50, 40, 30]), 100).tolist() == [50, 5, 1]


def test_class_without_images_is_not_ranked():
    assert imbalance.targets(np.array([100, 0, 100]), 10).tolist() == [100, 0, 10]
    assert imbalance.describe(np.array([100, 0, 100]), 10)["factor"] is None
    assert imbalance.targets(np.array([9]), 10).tolist() == [9]


@pytest.mark.filterwarnings("ignore:imbalance factor")
@given(class_counts, factors, kinds)
def test_targets_fall_with_rank_and_stay_within_what_there_is(counts, factor, kind):
    counts = np.array(counts)
    kept = imbalance.targets(counts, factor, kind)
    order = np.argsort(-counts, kind="stable")
    assert (np.diff(kept[order]) <= 0).all()
    assert (kept >= 1).all() and (kept <= counts).all()
    assert kept[order[0]] == counts.max()


@pytest.mark.filterwarnings("ignore:imbalance factor")
@settings(max_examples=50)
@given(class_counts, factors, factors, kinds, st.integers(0, 3), st.randoms(use_true_random=False))
def test_keep_is_nested_and_independent_of_order(counts, one, other, kind, seed, random):
    labels, ids = sample(counts)
    weak, strong = (imbalance.keep(labels, ids, kind=kind, factor=f, seed=seed) for f in sorted((one, other)))
    assert not (strong & ~weak).any()
    assert np.bincount(labels[strong]).tolist() == imbalance.targets(np.array(counts), max(one, other), kind).tolist()
    order = np.array(random.sample(range(len(ids)), len(ids)))
    shuffled = imbalance.keep(labels[order], ids[order], kind=kind, factor=max(one, other), seed=seed)
    assert (shuffled == strong[order]).all()


def test_factor_one_leaves_the_datas_own_balance():
    labels, ids = sample(RAF)
    for kind in imbalance.KINDS:
        assert imbalance.keep(labels, ids, kind=kind, factor=1).all()


def test_another_seed_keeps_other_images():
    labels, ids = sample([50, 50])
    one, two = (imbalance.keep(labels, ids, factor=5, seed=seed) for seed in (0, 1))
    assert one.sum() == two.sum() and (one != two).any()


@settings(max_examples=50)
@given(class_counts, st.data())
def test_stratified_part_is_nested_holds_every_class_and_ignores_order(counts, data):
    labels, ids = sample(counts)
    small, large = sorted(data.draw(st.integers(len(counts), len(labels))) for _ in range(2))
    part, larger = (stratified.stratified_part(labels, ids, size, seed=5) for size in (small, large))
    assert part.sum() == small and larger.sum() == large
    assert not (part & ~larger).any()
    assert len(np.unique(labels[part])) == len(counts)
    assert (stratified.stratified_part(labels[::-1], ids[::-1], small, seed=5)[::-1] == part).all()


def test_stratified_part_and_holdout_keep_proportions():
    labels, ids = sample(RAF)
    for mask in (stratified.stratified_part(labels, ids, 1000), stratified.holdout(labels, ids, 1000 / 12271)):
        assert mask.sum() == 1000
        assert np.abs(np.bincount(labels[mask]) - RAF * 1000 / 12271).max() < 1


@settings(max_examples=50)
@given(class_counts, st.floats(0, 0.5), st.floats(0, 0.5))
def test_holdout_is_exact_and_nested(counts, one, other):
    labels, ids = sample(counts)
    small, large = (stratified.holdout(labels, ids, f, seed=2) for f in sorted((one, other)))
    assert small.sum() == stratified.nearest_count(min(one, other), len(labels))
    assert not (small & ~large).any()


def test_draws_for_different_purposes_differ():
    labels, ids = sample([200])
    assert (stratified.holdout(labels, ids, 0.5) != stratified.stratified_part(labels, ids, 100)).any()


@given(st.lists(st.integers(1, 200), min_size=1, max_size=7), st.floats(0, 1))
def test_queue_beginnings_are_proportional(counts, share):
    labels, _ = sample(counts)
    rng = np.random.default_rng(0)
    taken = stratified.nearest_count(share, len(labels))
    queue = stratified.stratified_queue(labels, rng.random(len(labels)))
    assert sorted(queue) == list(range(len(labels)))
    # Webster may leave the quota by more than one image, but not by more than half an image per class
    held = np.bincount(labels[queue[:taken]], minlength=len(counts))
    assert np.abs(held - np.array(counts) * taken / len(labels)).max() <= len(counts) / 2 + 0.5


def test_counts_round_half_up_without_binary_fractions():
    assert [stratified.nearest_count(0.1, n) for n in (5, 12271)] == [1, 1227]
    assert stratified.nearest_count(0.3, 15) == 5
    assert stratified.nearest_count(1.0, 3) == 3


def test_bad_input_names_the_value_and_the_range():
    labels, ids = sample([5, 5])
    for factor in (0.5, 0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="factor"):
            imbalance.targets(np.array([5, 5]), factor)
    with pytest.raises(ValueError, match="did you mean 'step'"):
        imbalance.keep(labels, ids, kind="stpe", factor=2)
    for size in (1, 11):
        with pytest.raises(ValueError, match=rf"size = {size} .* 2 .* 10"):
            stratified.stratified_part(labels, ids, size)
    for fraction in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match="fraction"):
            stratified.holdout(labels, ids, fraction)
    with pytest.raises(ValueError, match="shape"):
        imbalance.keep(labels[:3], ids, factor=2)
    with pytest.raises(ValueError, match="integers"):
        imbalance.keep(labels - 1, ids, factor=2)
    assert imbalance.keep(labels[:0], ids[:0], factor=2).shape == (0,)
