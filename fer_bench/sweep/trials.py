"""Trials of a search: which runs each has, how well it did, and which one is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from fer_bench.core.spec import Imbalance, Noise

if TYPE_CHECKING:
    from fer_bench.core.variant import Variant
    from fer_bench.store.records import Record
    from fer_bench.sweep.record import Sweep

Split = Literal["val", "test"]

CHOSEN_BY = "accuracy on noisy validation labels at the last epoch (mean over classes under imbalance)"
"""How a trial is chosen, for captions and settings files."""


@dataclass(frozen=True)
class Trial:
    """One setting of a method in a search.

    Attributes:
        method: Key of the method.
        number: Number of the trial; 0 for the defaults.
        variant: Its values.
        records: Its finished runs: one for each condition and study.
        failed: How many of its runs failed.
        pending: How many of its runs are neither finished nor failed.
    """

    method: str
    number: int
    variant: Variant
    records: tuple[Record, ...]
    failed: int = 0
    pending: int = 0

    @property
    def complete(self) -> bool:
        """Whether all runs are finished. Only such trials can be chosen: the others lack conditions or studies."""
        return bool(self.records) and not self.failed and not self.pending

    def score(self, split: Split) -> float:
        """Mean accuracy at the last epoch over conditions and studies, a fraction.

        Labels of the split "val" are noisy, those of "test" are clean.
        """
        return fmean(accuracy(record, split) for record in self.records)

    def at(self, condition: str) -> list[Record]:
        """The finished runs of a condition, in the order of the studies."""
        return [record for record in self.records if condition_of(record) == condition]

    @property
    def cost(self) -> float:
        """Images forwarded and backwarded in a study, as a multiple of one cross-entropy run; mean over conditions."""
        return fmean(cost(record) for record in self.records)


def accuracy(record: Record, split: Split) -> float:
    """What a trial is chosen by: overall accuracy at the last epoch, or mean accuracy over classes under imbalance."""
    measured = record.epochs[-1][split]
    return float(measured["mean" if record.spec["imbalance"]["factor"] > 1 else "overall"])


def cost(record: Record) -> float:
    """Images forwarded and backwarded, as a multiple of those of one cross-entropy run on the same images."""
    final = record.final
    one_run = 2 * record.spec["recipe"]["epochs"] * final["train_images"]
    return float((final["images_forward"] + final["images_backward"]) / one_run)


def condition_of(record: Record) -> str:
    """Noise and imbalance of a run: "clean", "symmetric 0.4, exp imbalance 50"."""
    noise, imbalance = Noise(**record.spec["noise"]), Imbalance(**record.spec["imbalance"])
    return condition_name(noise, imbalance)


def condition_name(noise: Noise, imbalance: Imbalance) -> str:
    """The same of the settings themselves."""
    return noise.label + (f", {imbalance.kind} imbalance {imbalance.factor:g}" if imbalance.factor != 1 else "")


Trials = Mapping[str, Sequence[Trial]]
"""Trials by method, in the order of their numbers."""


def trials_of(sweep: Sweep) -> dict[str, list[Trial]]:
    """The trials of a search by method, in the order of their numbers. Empty for an ordinary sweep."""
    records = {record.key: record for record in sweep.records()}
    runs: dict[tuple[str, int], list[tuple[str, str]]] = {}
    variants: dict[tuple[str, int], Variant] = {}
    for folder, (state, _) in zip(sweep.runs, sweep.states(), strict=True):
        key, method = folder.path.name, folder.path.parent.name
        variant = sweep.variants.get(key)
        if variant is not None and variant.trial is not None:
            runs.setdefault((method, variant.trial), []).append((key, state))
            variants[method, variant.trial] = variant
    found: dict[str, list[Trial]] = {}
    for method, number in sorted(runs):
        mine = runs[method, number]
        done = tuple(records[key] for key, _ in mine if key in records)
        failed = sum(state == "failed" for _, state in mine)
        trial = Trial(method, number, variants[method, number], done, failed, len(mine) - len(done) - failed)
        found.setdefault(method, []).append(trial)
    return found


def best(trials: Sequence[Trial], split: Split) -> Trial | None:
    """The complete trial with the highest score, the first of equal ones; None if no trial is complete."""
    return max((trial for trial in trials if trial.complete), key=lambda trial: trial.score(split), default=None)


def conditions_of(trials: Sequence[Trial]) -> list[str]:
    """The conditions of finished runs, in the order of the sweep."""
    return list(dict.fromkeys(condition_of(record) for trial in trials for record in trial.records))


def study_of(record: Record) -> int:
    """What tells the studies apart: the data seed of their runs."""
    return int(record.spec["data_seed"])


def values_of(trial: Trial) -> dict[str, Any]:
    """The values of a trial by name, those of the recipe first; empty for the defaults."""
    return {**trial.variant.recipe, **trial.variant.settings}
