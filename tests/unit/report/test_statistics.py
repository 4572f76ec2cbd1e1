"""Statistics against known answers: exact sign-flip counts, textbook values, and what must not change a p-value."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from fer_bench.core.errors import SpecError
from fer_bench.report import statistics as s

NUMBERS = st.integers(-50, 50).map(lambda k: k / 8)
DIFFERENCES = st.lists(NUMBERS, min_size=6, max_size=9)
PLENTY = settings(max_examples=25, deadline=None)


def table(values: dict[str, list[float]], seeds: int = 3) -> pd.DataFrame:
    """Blocks in reading order: ``seeds`` for each condition."""
    count = len(next(iter(values.values())))
    index = [(f"c{k // seeds}", 0, k % seeds) for k in range(count)]
    names = ["condition", "data_seed", "seed"]
    return pd.DataFrame(values, index=pd.MultiIndex.from_tuples(index, names=names), dtype=float)


# --- intervals -----------------------------------------------------------------------------------------------------


def test_t_interval_of_a_textbook_example() -> None:
    # t(0.975, 4) = 2.776445 (any table of Student's t); mean 3, sd sqrt(2.5)
    found = s.summary([1, 2, 3, 4, 5])
    half = 2.776445105 * math.sqrt(2.5 / 5)
    assert (found.n, found.mean) == (5, 3)
    assert found.sd == pytest.approx(math.sqrt(2.5))
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))


def test_interval_of_few_or_equal_values() -> None:
    assert s.summary([4.0]) == s.Summary(1, 4.0, None, None, None)
    for kind in s.INTERVALS:
        assert s.summary([2.0, 2.0, math.nan], kind) == s.Summary(2, 2.0, 0.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="no values"):
        s.summary([math.nan])


def test_bootstrap_interval_is_reproducible_and_covers_the_mean() -> None:
    values = np.random.default_rng(0).normal(5, 1, 40)
    found = s.summary(values, "bootstrap")
    assert found == s.summary(values, "bootstrap")
    assert found.low < found.mean < found.high
    plain = s.summary(values)
    assert found.high - found.low == pytest.approx(plain.high - plain.low, rel=0.15)


# --- paired tests --------------------------------------------------------------------------------------------------


def flips(differences: list[float]) -> float:
    """The definition, one sign vector after the other."""
    observed, count = abs(sum(differences)), 0
    for signs in range(2 ** len(differences)):
        total = sum(-d if signs >> k & 1 else d for k, d in enumerate(differences))
        count += abs(total) >= observed
    return count / 2 ** len(differences)


@PLENTY
@given(DIFFERENCES)
def test_sign_flips_are_all_counted(differences: list[float]) -> None:
    assert s.paired_p(differences) == pytest.approx(min(1, flips(differences)), abs=1e-12)


@pytest.mark.slow
@PLENTY
@given(st.sampled_from(s.TESTS), DIFFERENCES, st.randoms())
def test_order_and_direction_of_pairs_do_not_matter(test: str, differences: list[float], random: object) -> None:
    shuffled = list(differences)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    p = s.paired_p(differences, test)
    assert 0 < p <= 1
    assert s.paired_p(shuffled, test) == pytest.approx(p)
    assert s.paired_p([-d for d in differences], test) == pytest.approx(p)
    assert s.paired_p([4 * d for d in differences], test) == pytest.approx(p)


def test_many_pairs_do_not_depend_on_their_order() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, 30)
    assert s.paired_p(values) == s.paired_p(values[::-1]) == s.paired_p(-values)


def test_random_flips_estimate_what_all_flips_say() -> None:
    for seed in range(4):
        values = np.random.default_rng(seed).normal(0.2, 1, 18)
        flips = np.unpackbits(np.arange(2**18, dtype=">u4").view(np.uint8).reshape(-1, 4), axis=1)[:, -18:]
        signs = 1 - 2 * flips.astype(int)
        exact = float((np.abs(signs @ values) >= abs(values.sum()) - 1e-12).mean())
        # four standard errors of an estimate from random flips
        assert s.paired_p(values) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / s.FLIPS))
    assert s.paired_p(np.ones(400)) == 1 / (s.FLIPS + 1), "the smallest p that so many flips can give"


def test_samples_are_tested_together_as_alone() -> None:
    rng = np.random.default_rng(0)
    samples = [rng.normal(0.2, 1, size) for size in (30, 6, 20, 30, 400)] + [np.zeros(30), np.zeros(7)]
    for test in s.TESTS:
        assert s.paired_ps(samples, test) == [s.paired_p(sample, test) for sample in samples]
    assert s.paired_ps([]) == []


def test_wilcoxon_of_a_textbook_example() -> None:
    # Fisher's maize pairs (Darwin 1876): the smaller rank sum is 24 of n = 15, exact two-sided p = 0.04126
    maize = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert s.paired_p(maize, "wilcoxon") == pytest.approx(0.04126, abs=5e-6)


def test_fishers_permutation_test_of_darwins_maize() -> None:
    # Fisher, The Design of Experiments (1935), section 21: 863 of 32,768 sign vectors reach the sum 314, on either
    # side, so p = 2 * 863 / 32768
    maize = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sum(maize) == 314
    assert s.paired_p(maize) == pytest.approx(2 * 863 / 32768, abs=1e-12)


def test_no_difference_and_bad_input() -> None:
    for test in s.TESTS:
        assert s.paired_p([0.0] * 7, test) == 1
    with pytest.raises(ValueError, match="finite"):
        s.paired_p([1, math.nan])
    with pytest.raises(SpecError, match="did you mean 'wilcoxon'"):
        s.paired_p([1.0] * 6, "wilcoxn")


def test_five_pairs_cannot_be_significant_and_six_can() -> None:
    assert s.paired_p([1, 2, 3, 4, 5]) == 2 / 2**5 > s.ALPHA
    assert s.smallest_p(s.MIN_PAIRS) == 2 / 2**6 < s.ALPHA
    assert s.smallest_p(6, 7) == pytest.approx(7 * 2 / 2**6)
    assert [s.pairs_needed(number) for number in (1, 2, 7)] == [6, 7, 9]
    assert s.pairs_needed(7, "wilcoxon") == 9


# --- Holm ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_holm_is_that_of_statsmodels(count: int) -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.round(np.random.default_rng(count).random(count), 2)  # some are equal
    assert s.holm(p.tolist()) == multipletests(p, method="holm")[1].tolist()


def test_holm_of_a_textbook_example() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([]) == []


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_only_raises(p: list[float]) -> None:
    corrected = s.holm(p)
    assert all(c >= value - 1e-12 and c <= 1 for c, value in zip(corrected, p, strict=True))
    assert corrected[int(np.argmin(p))] == pytest.approx(min(1, len(p) * min(p)))
    ordered = [corrected[k] for k in np.argsort(p)]
    assert ordered == sorted(ordered)


# --- comparisons ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=4, deadline=None)  # statsmodels collects garbage on each call, which takes its time
@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=6, max_size=9), st.randoms())
def test_comparisons_do_not_depend_on_the_order_of_blocks_or_rows(rows: list, random: object) -> None:
    values = table(dict(zip("abc", map(list, zip(*rows, strict=True)), strict=True)))
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    found = {c.row: c for c in s.against(values, "a")}
    again = {c.row: c for c in s.against(values.iloc[order][["c", "a", "b"]], "a")}
    for row in "bc":
        for name in ("pairs", "difference", "p", "corrected", "improvement"):
            assert getattr(found[row], name) == pytest.approx(getattr(again[row], name), abs=1e-9)
    back = next(c for c in s.against(values, "b") if c.row == "a")
    assert back.difference == pytest.approx(-found["b"].difference)
    assert back.p == pytest.approx(found["b"].p)
    assert back.improvement + found["b"].improvement == pytest.approx(1)


def test_fewer_than_six_pairs_are_not_tested() -> None:
    short = table({"a": [1, 2, 3, 4, 5], "b": [2, 3, 4, 5, 6]})
    (found,) = s.against(short, "a")
    assert (found.pairs, found.difference, found.p, found.corrected) == (5, 1, None, None)
    assert not found.significant
    lead = s.leaders(short)
    assert (lead.best, lead.rows, lead.tested) == ("b", {"b"}, False)


def test_missing_blocks_are_left_out_of_the_pair() -> None:
    values = table({"a": [1.0] * 8, "b": [2, 2.5, 3, 2, 2.5, 3, math.nan, math.nan], "c": [math.nan] * 8})
    (found,) = s.against(values, "a")
    assert (found.row, found.pairs, found.p) == ("b", 6, 2 / 64)
    with pytest.raises(SpecError, match="unknown baseline 'd'"):
        s.against(values, "d")


def test_leaders_are_the_best_and_what_is_not_told_from_it() -> None:
    base = np.arange(10.0)
    near = base + np.array([1, -1] * 5) * 0.5
    values = table({"best": list(base + 1), "near": list(near + 1), "far": list(base - 3)})
    lead = s.leaders(values)
    assert (lead.best, lead.rows, lead.tested) == ("best", {"best", "near"}, True)
    low = s.leaders(values, higher=False)
    assert (low.best, low.rows) == ("far", {"far"})
    equal = s.leaders(table({"a": [1.0, 2.0], "b": [2.0, 1.0], "c": [0.0, 0.0]}))
    assert equal.rows == {"a", "b"} and not equal.tested


def test_probability_of_improvement_counts_pairs_within_conditions() -> None:
    # condition 0: 1 of 4 pairs and a tie; condition 1: all 4
    mine, theirs, conditions = np.array([1, 2, 30, 40]), np.array([1, 3, 10, 20]), np.array([0, 0, 1, 1])
    assert s.probability_of_improvement(mine, theirs, conditions) == pytest.approx(((1 + 0.5) / 4 + 1) / 2)
    (found,) = s.against(table({"a": mine, "b": theirs}, seeds=2), "b", higher=False)
    assert found.improvement == pytest.approx(1 - ((1 + 0.5) / 4 + 1) / 2)


def test_probability_of_improvement_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = rng.integers(0, 9, 40).astype(float), rng.integers(2, 11, 40).astype(float)
    u = stats.mannwhitneyu(mine, theirs).statistic
    assert s.probability_of_improvement(mine, theirs, np.zeros(40)) == pytest.approx(u / 40**2)


# --- ranks ---------------------------------------------------------------------------------------------------------


def demsar() -> pd.DataFrame:
    """Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7 (2006), table 6: AUC of C4.5
    and three variants on 14 data sets."""
    rows = """.763 .768 .771 .798
    .599 .591 .590 .569
    .954 .971 .968 .967
    .628 .661 .654 .657
    .882 .888 .886 .898
    .936 .931 .916 .931
    .661 .668 .609 .685
    .583 .583 .563 .625
    .775 .838 .866 .875
    1.000 1.000 1.000 1.000
    .940 .962 .965 .962
    .619 .666 .614 .669
    .972 .981 .9751 .975
    .957 .978 .946 .970"""
    values = np.array([[float(v) for v in line.split()] for line in rows.splitlines()])
    return table(dict(zip(("c45", "m", "cf", "m_cf"), values.T.tolist(), strict=True)), seeds=1)


def test_friedman_and_nemenyi_of_demsar() -> None:
    found = s.friedman(demsar())
    assert found.blocks == 14
    # the paper's mean ranks, and its critical difference of 1.25 at alpha = 0.05 for k = 4, N = 14
    assert found.mean.to_dict() == pytest.approx({"c45": 3.143, "m": 2.0, "cf": 2.893, "m_cf": 1.964}, abs=5e-4)
    assert found.p < 0.05
    p = s.nemenyi(demsar())
    assert np.allclose(p, p.T)
    for a in p:
        for b in p:
            assert (p.at[a, b] < 0.05) == (abs(found.mean[a] - found.mean[b]) > 1.25)


@PLENTY
@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=6, max_size=9))
def test_ranks_are_of_the_order_only(rows: list) -> None:
    values = table(dict(zip("abc", map(list, zip(*rows, strict=True)), strict=True)))
    assume((values.nunique(axis=1) > 1).any())
    found = s.friedman(values)
    assert found.mean.sum() == pytest.approx(6)
    for other in (s.friedman(np.exp(values)), s.friedman(values[::-1]), s.friedman(-values, higher=False)):
        assert other.p == pytest.approx(found.p) and other.mean.to_dict() == pytest.approx(found.mean.to_dict())


def test_ranks_need_three_rows_and_six_complete_blocks() -> None:
    assert s.friedman(table({"a": [1.0] * 8, "b": [2.0] * 8})) is None
    holes = table({"a": [1.0] * 8, "b": [2.0] * 8, "c": [3.0] * 5 + [math.nan] * 3})
    assert s.friedman(holes) is None
    assert s.friedman(table({name: [1.0] * 6 for name in "abc"})).p == 1


# --- blocks --------------------------------------------------------------------------------------------------------


def test_blocks_are_seeds_or_draws() -> None:
    frame = pd.DataFrame(
        [(row, c, d, k, 10 * d + k + (row == "b")) for row in "ab" for c in "xy" for d in (0, 1) for k in (0, 2)],
        columns=["row", "condition", "data_seed", "seed", "test_overall"],
    )
    seeds = s.blocks(frame, "test_overall")
    assert seeds.shape == (8, 2) and (seeds["b"] - seeds["a"] == 1).all()
    draws = s.blocks(frame, "test_overall", "draw")
    assert draws["a"].to_list() == [1, 11, 1, 11]
    with pytest.raises(SpecError, match="unknown unit"):
        s.blocks(frame, "test_overall", "day")
