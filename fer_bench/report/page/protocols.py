"""What a run reports under each selection protocol: queries over its stored epochs, nothing is trained again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_bench.runs import LAST, MEASURES, select


@dataclass(frozen=True)
class Protocol:
    key: str
    title: str
    about: str


PROTOCOLS = (
    Protocol("last", "last epoch", "Every run reports its last epoch; nothing is chosen."),
    Protocol("mean_last_5", f"mean of last {LAST}", f"The mean of the last {LAST} epochs; nothing is chosen."),
    Protocol("best_val", "best on validation", "The epoch with the best accuracy on the validation images."),
    Protocol(
        "best_test",
        "best on test (oracle)",
        "ORACLE: the epoch with the best accuracy on the test images themselves. Nobody can choose it without the test "
        "labels; it is here to show what choosing it adds.",
    ),
)


def report(epochs: list[dict[str, Any]], protocol: str) -> dict[str, Any] | None:
    """MEASURES, ``recall`` [C] and ``confusion`` [C][C] of the test images, and the ``epoch``s they are from.

    ``epochs`` are the records of one run. None where the protocol cannot be followed (no validation images). A mean
    over epochs sums their confusion matrices; the recall of a class without test images is None.
    """
    found = select(epochs, protocol)
    if found is None:
        return None
    chosen = epochs[-LAST:] if protocol == "mean_last_5" else [found]
    tests = [record["test"] for record in chosen]
    recalls = np.array([test["recall"] for test in tests], dtype=float).mean(0)
    return {
        **{name: float(np.mean([test[name] for test in tests])) for name in MEASURES},
        "recall": [None if np.isnan(value) else float(value) for value in recalls],
        "confusion": np.sum([test["confusion"] for test in tests], axis=0).tolist(),
        "epoch": [record["epoch"] for record in chosen],
    }
