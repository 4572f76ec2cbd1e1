"""Intervals, paired tests over blocks, and ranks. The formulas come from SciPy and scikit-posthocs.

A **block** is everything that two methods share when they are compared: condition (data set, noise, imbalance, and any
other setting that varies), draw of the training data, and training seed. Tests are over differences within blocks.
Blocks that share a draw of the data are not independent: a test over them speaks of other seeds on these data, not of
other data. ``unit="draw"`` averages the seeds of a draw first, so that only draws and conditions count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from fer_bench.core.errors import nearest, require

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05

LEVEL = 0.95

MIN_PAIRS = 6
"""With fewer pairs no two-sided test on signs can reach 0.05 (five pairs: 2/32 = 0.0625), so none is made."""

TESTS = ("sign-flip", "wilcoxon")

INTERVALS = ("t", "bootstrap")

UNITS = {"seed": ["condition", "data_seed", "seed"], "draw": ["condition", "data_seed"]}
"""What one block is: the columns of arranged runs that are equal within it."""

RESAMPLES = 2**16
"""The permutation test makes all sign flips if there are at most this many, which is up to 16 pairs."""

FLIPS = 2**14
"""With more pairs it makes this many random sign flips, from a fixed seed."""


@dataclass(frozen=True)
class Summary:
    """Statistics of some values.

    Attributes:
        n: Number of values.
        mean: Their mean.
        sd: Standard deviation with divisor n - 1; None if n < 2.
        low: Lower end of the 95 % interval of the mean; None if n < 2.
        high: Upper end.
    """

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """A row against another one over the blocks that both have.

    Attributes:
        row: The row.
        other: The row it is compared with.
        pairs: Number of blocks.
        difference: Mean of row - other.
        low: Lower end of its 95 % interval (Student's t); None for one pair.
        high: Upper end.
        p: Two-sided p-value, uncorrected; None below MIN_PAIRS.
        corrected: p-value corrected by Holm's method over the tested comparisons of the family; None where p is None.
        improvement: Probability that a run of the row beats a run of the other in the same condition; ties count half.
    """

    row: str
    other: str
    pairs: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    corrected: float | None
    improvement: float

    @property
    def significant(self) -> bool:
        """Whether the corrected p-value is below ALPHA."""
        return self.corrected is not None and self.corrected < ALPHA


@dataclass(frozen=True)
class Leaders:
    """The row with the best mean, and the rows that are not significantly worse.

    Attributes:
        best: The row with the best mean.
        rows: The best row and those that are not significantly worse; only the best if ``tested`` is False.
        tested: Whether a test could find a difference: there are enough pairs for the number of comparisons.
        comparisons: Every other row against the best.
    """

    best: str
    rows: frozenset[str]
    tested: bool
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Ranks:
    """Friedman's test over complete blocks.

    Attributes:
        mean: Mean rank of each row; 1 is best.
        blocks: Number of blocks.
        statistic: Friedman's chi-square.
        p: Its p-value.
    """

    mean: pd.Series
    blocks: int
    statistic: float
    p: float


def summary(values: ArrayLike, interval: str = "t") -> Summary:
    """Statistics of the finite values.

    Args:
        values: [n] numbers.
        interval: "t" for Student's t with n - 1 degrees of freedom, or "bootstrap" for BCa with 9,999 resamples from a
            fixed seed, which is too narrow for a handful of runs.

    Raises:
        ValueError: There are no finite values.
    """
    _check(interval, INTERVALS, "interval")
    numbers = np.asarray(values, float)
    numbers = numbers[np.isfinite(numbers)]
    n = len(numbers)
    if not n:
        raise ValueError("there are no values to summarise")
    mean = float(numbers.mean())
    if n < 2:
        return Summary(n, mean, None, None, None)
    sd = float(numbers.std(ddof=1))
    low, high = t_interval(n, mean, sd) if interval == "t" else _bootstrap(numbers)
    return Summary(n, mean, sd, float(low), float(high))


def t_interval(n: ArrayLike, mean: ArrayLike, sd: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of means, elementwise; NaN where n < 2."""
    from scipy import stats

    n, mean = np.asarray(n, float), np.asarray(mean, float)
    half = stats.t.ppf(0.5 + LEVEL / 2, np.where(n > 1, n - 1, np.nan)) * np.asarray(sd, float) / np.sqrt(n)
    return mean - half, mean + half


def _bootstrap(values: np.ndarray) -> tuple[float, float]:
    from scipy import stats

    if values.min() == values.max():
        return float(values[0]), float(values[0])  # BCa divides by the spread
    found = stats.bootstrap((values,), np.mean, confidence_level=LEVEL, rng=np.random.default_rng(0))
    return found.confidence_interval


def blocks(frame: pd.DataFrame, column: str, unit: str = "seed") -> pd.DataFrame:
    """Values of ``column`` with one line for each block (see UNITS) and one column for each row of the table.

    Args:
        frame: Arranged runs.
        column: A column of numbers.
        unit: A key of ``UNITS``.

    Returns:
        NaN where a row has no run in a block. Blocks without any value are left out.
    """
    import pandas as pd

    _check(unit, UNITS, "unit")
    values = frame.assign(value=pd.to_numeric(frame[column]).astype(float))
    table = values.pivot_table(index=UNITS[unit], columns="row", values="value", aggfunc="mean", sort=False)
    return table.dropna(how="all")


def paired_p(differences: ArrayLike, test: str = "sign-flip") -> float:
    """Two-sided p-value of paired differences around 0; 1 if all are 0.

    Args:
        differences: [n] finite numbers, at least one.
        test: "sign-flip" for a permutation test of the mean, with all 2^n signs up to 16 pairs, or "wilcoxon" for
            signed ranks with zeros by Pratt's method.

    Raises:
        ValueError: The differences are not finite numbers [n].
    """
    return paired_ps([differences], test)[0]


def paired_ps(samples: Sequence[ArrayLike], test: str = "sign-flip") -> list[float]:
    """The p-value of each sample, see :func:`paired_p`. Samples of one size share their random signs, and the time."""
    _check(test, TESTS, "test")
    values = [_finite(sample) for sample in samples]
    if test == "wilcoxon":
        return [_wilcoxon(each) for each in values]
    large: dict[int, list[int]] = {}
    for number, each in enumerate(values):
        if 2 ** len(each) > RESAMPLES:
            large.setdefault(len(each), []).append(number)
    found = {
        number: p
        for numbers in large.values()
        for number, p in zip(numbers, _random_flips(np.stack([values[n] for n in numbers])), strict=True)
    }
    return [found[number] if number in found else _all_flips(each) for number, each in enumerate(values)]


def _finite(sample: ArrayLike) -> np.ndarray:
    values = np.asarray(sample, float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"differences must be finite numbers [n], not {values}")
    return values


def _wilcoxon(values: np.ndarray) -> float:
    from scipy import stats

    return float(stats.wilcoxon(values, zero_method="pratt").pvalue) if values.any() else 1.0


def _all_flips(values: np.ndarray) -> float:
    from scipy import stats

    if not values.any():
        return 1.0
    found = stats.permutation_test(
        (values,),
        lambda x, axis: np.mean(x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
    )
    return min(1.0, float(found.pvalue))


def _random_flips(samples: np.ndarray) -> list[float]:
    """The sign-flip test with random signs for samples [k, n]; the order and direction of the pairs do not change p.

    SciPy's takes 17 s of a core for one sample of 1,000 pairs, and a large sweep makes hundreds of tests. Here the
    signs, which take most of the time, are drawn once for all samples.
    """
    rng, batch = np.random.default_rng(0), 1024
    sizes = np.sort(np.abs(samples), axis=1)
    least, as_large = np.abs(samples.sum(axis=1)) * (1 - 1e-12), np.zeros(len(samples), int)
    for _ in range(FLIPS // batch):
        signs = rng.integers(0, 256, (batch, -(-sizes.shape[1] // 8)), np.uint8)
        coins = np.unpackbits(signs, axis=1, count=sizes.shape[1]).astype(float)
        as_large += (np.abs(sizes.sum(axis=1) - 2 * (coins @ sizes.T)) >= least).sum(axis=0)
    return [float(p) for p in (as_large + 1) / (FLIPS + 1)]


def holm(p: Sequence[float]) -> list[float]:
    """Corrects p-values for their number by Holm's step-down method; in the order of the arguments.

    ``statsmodels`` gives the same numbers, but collects garbage in each call: half a second with 10,000 runs in memory.
    """
    given = np.asarray(p, float)
    order = np.argsort(given)
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(1, np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)))
    return [float(value) for value in corrected]


@cache
def smallest_p(pairs: int, comparisons: int = 1, test: str = "sign-flip") -> float:
    """The smallest corrected p-value that this many pairs can give.

    All differences then have one sign; Holm's first step multiplies by the number of comparisons.
    """
    return min(1.0, comparisons * paired_p(np.arange(1.0, pairs + 1), test))


def pairs_needed(comparisons: int, test: str = "sign-flip") -> int:
    """The fewest pairs with which a comparison out of this many can be significant."""
    return next(pairs for pairs in range(MIN_PAIRS, 1000) if smallest_p(pairs, comparisons, test) < ALPHA)


def against(table: pd.DataFrame, baseline: str, test: str = "sign-flip", higher: bool = True) -> list[Comparison]:
    """Compares every other row with ``baseline``, Holm-corrected over the rows tested.

    Args:
        table: From :func:`blocks`. Rows that share no block with the baseline are left out.
        baseline: A column of ``table``.
        test: See :func:`paired_p`.
        higher: Whether higher is better.

    Raises:
        SpecError: There is no such baseline.
    """
    require(baseline in table, f"unknown baseline {baseline!r}{nearest(baseline, map(str, table))}")
    conditions = table.index.get_level_values("condition").factorize()[0]
    found, theirs = [], table[baseline].to_numpy()
    for row in table.columns.drop(baseline):
        mine = table[row].to_numpy()
        both = ~np.isnan(mine - theirs)
        if both.any():
            better, worse = (mine, theirs) if higher else (theirs, mine)
            improvement = probability_of_improvement(better[both], worse[both], conditions[both])
            found.append((str(row), (mine - theirs)[both], improvement))
    tested = [differences for _, differences, _ in found if len(differences) >= MIN_PAIRS]
    raw = paired_ps(tested, test)
    ps = iter(zip(raw, holm(raw), strict=True))
    comparisons = []
    for row, differences, improvement in found:
        about = summary(differences)
        p, corrected = next(ps) if about.n >= MIN_PAIRS else (None, None)
        comparisons.append(
            Comparison(row, baseline, about.n, about.mean, about.low, about.high, p, corrected, improvement)
        )
    return comparisons


def leaders(table: pd.DataFrame, test: str = "sign-flip", higher: bool = True) -> Leaders:
    """The best mean of ``table``, and all rows that a test against the best does not find significantly worse.

    The test counts only if it could find a difference: every row has at least MIN_PAIRS blocks in common with the best,
    and enough of them for the number of comparisons. Nothing is compared if the table has fewer than MIN_PAIRS blocks.

    Raises:
        ValueError: There are no rows.
    """
    means = table.mean().dropna()
    if means.empty:
        raise ValueError("there are no values to compare")
    best = str(means.idxmax() if higher else means.idxmin())
    # equal means are equally good, tested or not
    rows = {str(row) for row in means.index[means == means[best]]}
    compared = against(table[means.index], best, test, higher) if len(table) >= MIN_PAIRS else []
    tested = (
        len(compared) == len(means) - 1 > 0
        and all(c.p is not None for c in compared)
        and smallest_p(min(c.pairs for c in compared), len(compared), test) < ALPHA
    )
    if tested:
        rows |= {c.row for c in compared if not c.significant}
    return Leaders(best, frozenset(rows), tested, tuple(compared))


def probability_of_improvement(mine: np.ndarray, theirs: np.ndarray, conditions: np.ndarray) -> float:
    """Probability that a run of one row has a higher value than a run of another in the same condition; ties half.

    It is the mean over conditions of Mann-Whitney's U / (n m) (Agarwal et al., "Deep Reinforcement Learning at the Edge
    of the Statistical Precipice", NeurIPS 2021). SciPy's function takes half a second for two hundred of these.

    Args:
        mine: [n] values of the row, at least one, one for each block.
        theirs: [n] values of the other.
        conditions: [n] the condition of each block.
    """
    shares = []
    for condition in np.unique(conditions):
        part = conditions == condition
        below, up_to = (np.searchsorted(np.sort(theirs[part]), mine[part], side) for side in ("left", "right"))
        shares.append((below + up_to).mean() / (2 * part.sum()))
    return float(np.mean(shares))


def friedman(table: pd.DataFrame, higher: bool = True) -> Ranks | None:
    """Mean ranks and Friedman's test over the blocks that all rows have; None below three rows or MIN_PAIRS blocks."""
    from scipy import stats

    complete = table.dropna()
    if complete.shape[1] < 3 or len(complete) < MIN_PAIRS:
        return None
    ranks = complete.rank(axis=1, ascending=not higher).mean()
    if complete.eq(complete.iloc[:, 0], axis=0).all(axis=None):
        return Ranks(ranks, len(complete), 0.0, 1.0)  # all tied: scipy divides 0 by 0
    found = stats.friedmanchisquare(*(complete[row] for row in complete))
    return Ranks(ranks, len(complete), float(found.statistic), float(found.pvalue))


def nemenyi(table: pd.DataFrame) -> pd.DataFrame:
    """Nemenyi's test on the mean ranks of complete blocks: p-values of all pairs of rows, rows x rows, symmetric."""
    from scikit_posthocs import posthoc_nemenyi_friedman

    complete = table.dropna()
    return posthoc_nemenyi_friedman(complete.to_numpy()).set_axis(complete.columns).set_axis(complete.columns, axis=1)


def _check(value: str, known: Iterable[str], what: str) -> None:
    require(value in known, f"unknown {what} {value!r}{nearest(value, known)}")
