"""From a request to a tuning: the trials of every method within one budget, and the runs of every study."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fer_bench.core.errors import PluginError, require
from fer_bench.core.presets import load_preset
from fer_bench.core.spec import HOLD_OUT
from fer_bench.core.variant import Variant
from fer_bench.plugins.registry import Plugin
from fer_bench.sweep.draws import Draws
from fer_bench.sweep.plan import Plan, PlannedRun, check_request, make_plan
from fer_bench.sweep.request import Request
from fer_bench.sweep.settings import DEFAULT
from fer_bench.tune.space import FACTORS, trials

if TYPE_CHECKING:
    from fer_bench.data.cache import OnProgress

FIRST_STUDY = 1000
"""Data seed and training seed of the first study; the next ones follow it. A sweep that is reported has other seeds."""

MOST_STUDIES = 100


@dataclass(frozen=True)
class Search:
    """How much is searched.

    Attributes:
        budget: Images that each method may forward and backward in a study, as a multiple of one cross-entropy run.
        studies: Repetitions, each with its own noise, hold-out and training seed. Every trial is run in all of them.

    Raises:
        SpecError: A number is out of range.
    """

    budget: float = 15.0
    studies: int = 3

    def __post_init__(self) -> None:
        enough = 2 <= self.budget <= 10_000
        require(enough, f"--budget {self.budget:g} is out of range: 2 (the defaults and one trial) to 10,000")
        require(1 <= self.studies <= MOST_STUDIES, f"--studies {self.studies} is out of range: 1 to {MOST_STUDIES}")


def make_tuning(
    request: Request,
    search: Search,
    on_progress: OnProgress = lambda what, done, total: None,
    on_checked: Callable[[], None] = lambda: None,
) -> Plan:
    """Plans the runs of a tuning.

    Every method starts from its defaults and the recipe. Each trial after the first replaces the learning rate, the
    weight decay, and the settings of the method's ``[search]`` table. Trials are added until the next one would exceed
    the budget; a trial costs as much as the method says that it forwards for each image.

    Args:
        request: Methods, data, conditions and recipe. Its seeds are replaced by those of the studies.
        search: How much is searched.
        on_progress: As for :func:`fer_bench.sweep.plan.make_plan`.
        on_checked: As for :func:`fer_bench.sweep.plan.make_plan`.

    Raises:
        SpecError: A setting is unknown or out of range, or ``--set`` fixes one that is searched.
        DataError: The data set cannot be read, or does not give what is asked for.
        PluginError: A method that is named cannot be found.
    """
    grid = check_request(request)
    require(request.val != "none", "--val none: trials are compared on held-out images")
    on_checked()
    # no method has more trials than cross-entropy
    variants = {key: _trials(grid.plugins[key], request, math.floor(search.budget)) for key in grid.methods}
    first_study = replace(
        request,
        seeds=(FIRST_STUDY,),
        data_seed=(FIRST_STUDY,),
        settings_file=DEFAULT,
        variants=variants,
        val=HOLD_OUT if request.val is None else request.val,
    )
    plan = make_plan(first_study, on_progress)
    first = within_budget(plan.runs, search.budget)
    runs = [in_study(run, FIRST_STUDY + study) for study in range(search.studies) for run in first]
    if later := runs[len(first) :]:
        Draws((run.spec for run in later), plan.dataset, request.noise_file)
    return replace(plan, runs=tuple(runs), tuning={"budget": search.budget, "studies": search.studies})


def within_budget(runs: Iterable[PlannedRun], budget: float) -> list[PlannedRun]:
    """The runs of the first trials of each method that fit into the budget together. The defaults are always in it."""
    costs: dict[str, dict[int, float]] = {}
    runs = list(runs)
    for run in runs:
        of_method = costs.setdefault(run.spec.method, {})
        number = trial_of(run)
        of_method[number] = max(of_method.get(number, 0.0), forwards(run))
    kept = {method: _first(of_method, budget) for method, of_method in costs.items()}
    return [run for run in runs if trial_of(run) in kept[run.spec.method]]


def _first(costs: dict[int, float], budget: float) -> set[int]:
    kept: set[int] = set()
    spent = 0.0
    for number in sorted(costs):
        spent += costs[number]
        if kept and spent > budget:
            break
        kept.add(number)
    return kept


def forwards(run: PlannedRun) -> float:
    """What a run costs, as a multiple of one cross-entropy run: images that it forwards for each image of a batch."""
    needs = run.plugin.load().needs(run.plugin.restore_config(run.spec.config))
    return needs.forwards_in(run.spec.recipe.epochs)


def trial_of(run: PlannedRun) -> int:
    """The number of the trial that a run of a tuning belongs to."""
    assert run.variant.trial is not None
    return run.variant.trial


def in_study(run: PlannedRun, seed: int) -> PlannedRun:
    """A run with the noise, hold-out and training seed of a study."""
    first = run.first_stage_of
    seeded = None if first is None else replace(first, data_seed=seed, seed=seed)
    return replace(run, spec=replace(run.spec, data_seed=seed, seed=seed), first_stage_of=seeded)


def _trials(plugin: Plugin, request: Request, count: int) -> list[Variant]:
    """The trials of a method; its defaults alone where the plugin is broken, which the plan then says."""
    try:
        search = plugin.search
    except PluginError:
        return [Variant(trial=0)]
    names = {each.name for each in dataclasses.fields(plugin.load().Config)}
    searched = {*search, *(name for name in FACTORS if name not in names)}
    fixed = sorted(set(request.settings.get(plugin.key, {})) & searched)
    require(not fixed, f"--set {plugin.key}.{fixed and fixed[0]}: this setting is searched, and cannot be fixed")
    return trials(load_preset(request.preset, **request.overrides), search, count, plugin.key)
