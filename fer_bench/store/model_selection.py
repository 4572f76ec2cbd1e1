"""Which epoch of a run a number is taken from."""

from __future__ import annotations

from typing import Any

PROTOCOLS = ("last", "mean_last_5", "best_val", "best_test")
"""Which epoch a table reports. All are queries over the stored epochs; ``best_test`` is an oracle."""

LAST = 5

MEASURES = ("overall", "mean", "macro_f1", "worst", "nll", "ece")


def select(epochs: list[dict[str, Any]], protocol: str) -> dict[str, Any] | None:
    """The record that a protocol reports; the earliest among equals, None where a run cannot have it.

    ``mean_last_5`` gives the last epoch's number with the means of the test measures over the last five epochs; a run
    of fewer epochs has none.
    """
    if protocol == "last":
        return epochs[-1]
    if protocol == "mean_last_5":
        return _mean(epochs[-LAST:]) if len(epochs) >= LAST else None
    split = protocol.removeprefix("best_")
    if epochs[-1].get(split) is None:
        return None
    return max(epochs, key=lambda record: (record[split]["overall"], -record["epoch"]))


def head_tail(recall: list[float | None] | None, counts: list[int] | None) -> tuple[float | None, float | None]:
    """Mean recall over the head and over the tail classes, fractions.

    Classes are sorted by their number of training images, counted by reference label after imbalance was made and
    before noise, so that all noise rates of one data set have the same head and tail. The head are the classes above
    the median count, the tail those below it; a class at the median (the middle one of seven) is in neither. Both are
    None where counts are not known or the largest class is less than twice the smallest: then there is no tail.
    """
    from statistics import fmean, median

    if not recall or not counts or max(counts) < 2 * min(counts):
        return None, None
    middle, pairs = median(counts), list(zip(recall, counts, strict=True))
    head = [r for r, count in pairs if count > middle and r is not None]
    tail = [r for r, count in pairs if count < middle and r is not None]
    return fmean(head) if head else None, fmean(tail) if tail else None


def _mean(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Measures and recalls averaged over records; a class without test images stays without a recall."""
    from statistics import fmean

    tests = [record["test"] for record in records]
    test: dict[str, Any] = {name: fmean(t[name] for t in tests) for name in MEASURES}
    if all("recall" in t for t in tests):
        columns = zip(*(t["recall"] for t in tests), strict=True)
        test["recall"] = [None if None in column else fmean(column) for column in columns]
    return {"epoch": records[-1]["epoch"], "test": test}
