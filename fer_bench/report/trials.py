"""The table of a tuning: every method with its defaults, as it was tuned, and with the best trial on the test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fer_bench.core.text import counted
from fer_bench.report.rendering import MISSING, Block, Cell, Table
from fer_bench.sweep.trials import CHOSEN_BY, Trial, Trials, accuracy, best, conditions_of, study_of
from fer_bench.sweep.variants import label_of

if TYPE_CHECKING:
    import pandas as pd

    from fer_bench.store.records import Record

TITLE = "Tuning of methods for facial expression recognition"

MEASURES = {"overall": "Overall accuracy", "mean": "Mean accuracy over classes"}

COLUMNS = ("default", "tuned (noisy validation)", "oracle (best on test)")


@dataclass(frozen=True)
class Outcome:
    """What the tuning of one method gave; None where no trial is complete.

    Attributes:
        default: The trial with the defaults.
        tuned: The trial with the highest accuracy on noisy validation labels.
        oracle: The trial with the highest accuracy on the test set: an upper bound of what any choice could give.
    """

    default: Trial | None
    tuned: Trial | None
    oracle: Trial | None

    @property
    def columns(self) -> tuple[Trial | None, ...]:
        """The trials in the order of COLUMNS."""
        return self.default, self.tuned, self.oracle


def outcome(trials: Sequence[Trial]) -> Outcome:
    """The three trials of a method that a table shows."""
    default = next((trial for trial in trials if trial.number == 0 and trial.complete), None)
    return Outcome(default, best(trials, "val"), best(trials, "test"))


def trial_table(
    trials: Trials,
    tuning: Mapping[str, Any],
    unfinished: Sequence[str] = (),
    names: Mapping[str, str] = MappingProxyType({}),
    order: str = "",
) -> Table:
    """The table of a tuning.

    It has a block for each measure and condition, one for the accuracies that trials were chosen by, and one for the
    trials, their cost and the chosen values. Cells are means over the studies with their standard deviation.

    Args:
        trials: Trials by method.
        tuning: ``budget`` and ``studies`` of the tuning.
        unfinished: Lines on runs that are missing; they come first in the notes.
        names: What methods are called, by key; the key itself where it is not among them.
        order: How the methods are sorted, for a note.
    """
    outcomes = {method: outcome(each) for method, each in trials.items()}
    conditions = conditions_of([trial for each in trials.values() for trial in each])
    called = {names.get(method, method): each for method, each in outcomes.items()}
    searched = {names.get(method, method): each for method, each in trials.items()}
    blocks = [_accuracy_block(called, condition, measure) for measure in MEASURES for condition in conditions]
    blocks += [_choice_block(called), _search_block(searched, called)]
    several = tuning["studies"] > 1
    studies = f"mean ± standard deviation over {tuning['studies']} studies" if several else "one study"
    caption = (
        f"Test results of {counted(len(outcomes), 'method')} with default settings, as tuned, and with the trial that "
        f"is best on the test set, after the last epoch: {studies}."
    )
    notes = [*unfinished, *filter(None, [order]), *_notes(searched, tuning)]
    return Table(TITLE, tuple(blocks), caption, tuple(notes), _numbers(outcomes, conditions))


def _accuracy_block(outcomes: Mapping[str, Outcome], condition: str, measure: str) -> Block:
    """Test accuracy of the three trials of each method, and what the oracle is ahead of the tuned one."""
    lines = []
    for method, each in outcomes.items():
        values = [_test(trial, condition, measure) for trial in each.columns]
        gap = f"{fmean(values[2]) - fmean(values[1]):.2f}" if values[1] and values[2] else MISSING
        lines.append((method, (*(Cell(_spread(found)) for found in values), Cell(gap))))
    title = f"{MEASURES[measure]} on test, last epoch (%): {condition}"
    return Block(title, "Method", (*COLUMNS, "oracle - tuned"), tuple(lines))


def _choice_block(outcomes: Mapping[str, Outcome]) -> Block:
    """The accuracies on noisy validation labels that trials were chosen by: means over conditions and studies."""
    lines = []
    for method, each in outcomes.items():
        cells = [Cell() if trial is None else Cell(f"{100 * trial.score('val'):.2f}") for trial in each.columns]
        lines.append((method, tuple(cells)))
    return Block("Accuracy on noisy validation labels (%), mean over conditions", "Method", COLUMNS, tuple(lines))


def _search_block(trials: Trials, outcomes: Mapping[str, Outcome]) -> Block:
    """How much was tried, and the chosen values."""
    lines = []
    for method, each in trials.items():
        done = [trial for trial in each if trial.complete]
        spent = f"{sum(trial.cost for trial in done):.1f}"
        chosen = [values_text(trial) for trial in (outcomes[method].tuned, outcomes[method].oracle)]
        lines.append((method, (Cell(f"{len(done)} of {len(each)}"), Cell(spent), *map(Cell, chosen))))
    columns = ("complete trials", "cost of a study", "tuned", "oracle")
    return Block("Search (cost in cross-entropy runs)", "Method", columns, tuple(lines))


def values_text(trial: Trial | None) -> str:
    """The settings of a trial."""
    if trial is None:
        return MISSING
    variant = trial.variant
    return label_of({**variant.recipe, **variant.settings}) if trial.number else "default"


def _test(trial: Trial | None, condition: str, measure: str) -> list[float]:
    """Test accuracy of each study, %."""
    return [] if trial is None else [100 * _measured(record, measure) for record in trial.at(condition)]


def _measured(record: Record, measure: str) -> float:
    return float(record.epochs[-1]["test"][measure])


def _spread(values: Sequence[float]) -> str:
    if not values:
        return MISSING
    return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _notes(trials: Trials, tuning: Mapping[str, Any]) -> list[str]:
    found = [
        f"Tuned: the trial with the best {CHOSEN_BY}, mean over conditions and studies. One setting is chosen for all "
        "conditions. No test label and no clean validation label is used.",
        "Oracle: the trial with the best test accuracy by the same rule. It needs the test labels, so it is an upper "
        "bound and not an estimate of performance.",
        f"Budget: images in forward and backward passes of {tuning['budget']:g} cross-entropy runs for each method, "
        "condition and study. The passes that a method declares decide how many trials it has. Its measured cost can "
        "be higher, for example by a second training. Validation images are held out of the training set, with labels "
        "of the same noise draw.",
        "Tuned columns are measured on the runs that the settings were chosen from. For results to report, run the "
        "settings file with other seeds: fer-bench run --settings settings.toml",
    ]
    found += [f"{m}: the budget has room for the default alone." for m, each in trials.items() if len(each) == 1]
    failed = {method: sum(trial.failed > 0 for trial in each) for method, each in trials.items()}
    found += [f"{m}: {counted(n, 'trial')} failed and cannot be chosen." for m, n in failed.items() if n]
    waiting = sum(trial.pending > 0 for each in trials.values() for trial in each)
    if waiting:
        trials_left = counted(waiting, "trial")
        found.append(f"Not finished: {trials_left}. Other trials may be chosen, and settings.toml is not written yet.")
    return found


def _numbers(outcomes: Mapping[str, Outcome], conditions: Sequence[str]) -> pd.DataFrame:
    """The values behind the cells: one line for each method, column, condition and study."""
    import pandas as pd

    lines = [
        {
            "method": method,
            "column": column,
            "trial": trial.number,
            "values": values_text(trial),
            "condition": condition,
            "study": study_of(record),
            "validation": 100 * accuracy(record, "val"),
            **{f"test_{measure}": 100 * _measured(record, measure) for measure in MEASURES},
            "key": record.key,
        }
        for method, each in outcomes.items()
        for column, trial in zip(("default", "tuned", "oracle"), each.columns, strict=True)
        if trial is not None
        for condition in conditions
        for record in trial.at(condition)
    ]
    return pd.DataFrame(lines)
