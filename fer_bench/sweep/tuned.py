"""The settings file of a tuning: what was chosen for each method, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fer_bench.sweep.settings import MethodSettings, Settings, Tuning
from fer_bench.sweep.trials import CHOSEN_BY, Trial, Trials, best, conditions_of

if TYPE_CHECKING:
    from fer_bench.sweep.record import Sweep

DIGITS = 4
"""Decimals of accuracies and costs in the file."""


def tuned_settings(sweep: Sweep, trials: Trials) -> Settings | None:
    """The settings that a tuning chose.

    Returns:
        The settings; None while a trial is pending, because another one may still be chosen, and where no method has a
        complete trial.
    """
    if any(trial.pending for each in trials.values() for trial in each):
        return None
    chosen = {method: found for method, each in trials.items() if (found := _chosen(each)) is not None}
    return Settings(chosen, _tuning(sweep, trials)) if chosen else None


def _chosen(trials: Sequence[Trial]) -> MethodSettings | None:
    tuned = best(trials, "val")
    if tuned is None:
        return None
    complete = [trial for trial in trials if trial.complete]
    default = next((trial for trial in complete if trial.number == 0), None)
    return MethodSettings(
        settings=tuned.variant.settings,
        recipe=tuned.variant.recipe,
        trial=tuned.number,
        trials=len(complete),
        failed=len(trials) - len(complete),
        cost=round(sum(trial.cost for trial in complete), DIGITS),
        validation=round(tuned.score("val"), DIGITS),
        default_validation=None if default is None else round(default.score("val"), DIGITS),
        code=tuned.records[0].spec["code"],
    )


def _tuning(sweep: Sweep, trials: Trials) -> Tuning:
    all_trials = [trial for each in trials.values() for trial in each]
    records = [record for trial in all_trials for record in trial.records]
    spec: Mapping[str, Any] = records[0].spec
    return Tuning(
        sweep=sweep.name,
        data=spec["dataset"],
        fingerprint=spec["fingerprint"],
        conditions=tuple(conditions_of(all_trials)),
        **{name: spec["recipe"][name] for name in ("backbone", "image_size", "epochs", "batch_size")},
        train_size=spec["train_size"],
        budget=sweep.tuning["budget"],
        studies=sweep.tuning["studies"],
        chosen_by=CHOSEN_BY,
        version=_distinct(record.environment.get("packages", {}).get("fer-bench") for record in records),
        commit=_distinct(record.environment.get("commit") for record in records),
        created=sweep.content["created"],
    )


def _distinct(values: Any) -> str:
    return ", ".join(sorted({value for value in values if value}))
