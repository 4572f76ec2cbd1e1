"""MentorNet's variant 'dd' in the real engine: two students, and a mentor learned on the faces it is told about."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from fer_bench.data.splits import Splits
from fer_bench.engine import trainer
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.store.folder import RunFolder
from fer_bench.testing.bench import Bench, Seen
from fer_bench.testing.checks import CHECKS

BUILT_IN = discover()["mentornet"]


@dataclass(frozen=True)
class Configured(Plugin):
    """A plugin with settings of its own in the place of its defaults."""

    settings: dict[str, Any] = field(default_factory=dict)

    def configure(self, dataset: str, noise: str, settings: Any) -> Any:
        return super().configure(dataset, noise, {**self.settings, **settings})


def dd(**settings: Any) -> Configured:
    settings = {"variant": "dd", "mentor_steps": 40, **settings}
    return Configured(BUILT_IN.key, BUILT_IN.path, BUILT_IN.origin, settings=settings)


def train(
    bench: Bench, name: str, plugin: Plugin, clean: Callable[[Splits], np.ndarray] = lambda splits: splits.clean_label
) -> tuple[RunFolder, Seen]:
    """Four epochs at 40 % noise, with other clean labels where ``clean`` gives them."""
    make_splits = trainer.make_splits

    def posed(*arguments: Any) -> Splits:
        splits = make_splits(*arguments)
        return dataclasses.replace(splits, clean_label=clean(splits))

    with mock.patch.object(trainer, "make_splits", posed):
        return bench.train(plugin, bench.spec(plugin, noise=0.4, epochs=4), name)


@pytest.fixture(scope="module")
def whole(bench: Bench) -> tuple[RunFolder, Seen]:
    return train(bench, "dd", dd(trusted=0.5))


@pytest.mark.parametrize(
    "name",
    ["needs_are_honoured", "true_labels_are_out_of_reach", "trains", "resumes_exactly", "state_round_trip",
     "absent_class", "equal_labels", "clean_score"],
)  # fmt: skip
def test_the_promises_of_the_contract(name: str, bench: Bench) -> None:
    CHECKS[name](dd(), bench)


def test_mentor_is_fitted_to_what_the_first_student_lost_on_trusted_faces(whole: tuple[RunFolder, Seen]) -> None:
    folder, seen = whole
    method, problem, final = seen.method, seen.problem, folder.final
    assert problem is not None and final is not None
    trusted = method.task.trusted.numpy()
    assert final["clean_labels_used"] == len(trusted) == 32 and final["remarks"] == ["variant dd"]
    assert [record["stage"] for record in folder.epochs()] == ["first student"] * 2 + ["second student"] * 2
    # two of four epochs are recorded, by percentages of that student's own training
    dump = method.dump[:, :2]
    assert bool(method.dump[:, 2:].isnan().all()) and not bool(dump.isnan().any())
    assert 0 <= dump[:, 0, 1].min() <= dump[:, 0, 1].max() < 50 <= dump[:, 1, 1].min() and dump[:, 1, 1].max() < 100
    assert (dump[..., 2].numpy() == problem.noisy_label[trusted, None]).all()
    assert (dump[..., 3].numpy() == problem.clean_label[trusted, None]).all()
    fit_rows, test_rows = method.recorded(torch.Generator().manual_seed(0))
    rows = torch.cat([fit_rows, test_rows])
    assert len(fit_rows) == 51 and len(test_rows) == 13
    right = {(float(loss), target) for loss, target in rows[:, [0, 4]].tolist()}
    agree = problem.noisy_label[trusted] == problem.clean_label[trusted]
    assert right == {(float(loss), float(agree[place])) for place in range(32) for loss in dump[place, :, 4].tolist()}
    assert 0 < agree.mean() < 1 and 0 <= float(method.mentor_quality) <= 1
    assert folder.epochs()[-1]["train"]["mentor_auc"] == pytest.approx(float(method.mentor_quality))


def test_true_labels_of_other_faces_change_nothing(whole: tuple[RunFolder, Seen], bench: Bench) -> None:
    folder, seen = whole
    trusted = seen.method.task.trusted.numpy()

    def others(problem: Splits) -> np.ndarray:
        true = (problem.clean_label + 1) % 4
        true[trusted] = problem.clean_label[trusted]
        return true

    def of_trusted(problem: Splits) -> np.ndarray:
        true = problem.clean_label.copy()
        true[trusted] = (true[trusted] + 1) % 4
        return true

    same, others_seen = train(bench, "others", dd(trusted=0.5), others)
    state, other_state = seen.method.state_dict(), others_seen.method.state_dict()
    assert all(torch.equal(torch.nan_to_num(state[name]), torch.nan_to_num(other_state[name])) for name in state)
    assert [r["train"] for r in same.epochs()] == [r["train"] for r in folder.epochs()]
    _, changed = train(bench, "trusted", dd(trusted=0.5), of_trusted)
    assert not torch.equal(changed.method.mentor.hidden, seen.method.mentor.hidden)
    assert torch.equal(changed.method.first.fc.weight, seen.method.first.fc.weight)


def test_only_the_second_student_answers(whole: tuple[RunFolder, Seen], bench: Bench) -> None:
    method, images = whole[1].method.eval(), bench.images(5)
    with torch.no_grad():
        assert torch.equal(method.predict(images), method.net(images))
        assert torch.equal(method.other_predictions(images)["first student"], method.first(images))
        assert not torch.equal(method.net(images), method.first(images))


def test_double_budget_is_a_whole_training_for_each_student(bench: Bench) -> None:
    folder, seen = train(bench, "double", dd(budget="double"))
    assert [record["stage"] for record in folder.epochs()] == ["first student"] * 4 + ["second student"] * 4
    assert folder.final["remarks"] == ["variant dd", "twice the epochs"]  # type: ignore[index]
    assert not bool(seen.method.dump.isnan().any()) and len(seen.method.task.trusted) == 6


def test_settings_that_differ_from_the_predefined_variant() -> None:
    config, default = dd(mentor_steps=None).configure("toy", "clean", {}), BUILT_IN.configure("toy", "clean", {})
    names = ("burn_in_until", "fixed", "has_network", "fitting_steps", "starts_at_zero", "dropout_spec")
    schedule = "0.5,17,0.05,83"
    assert [getattr(config, name) for name in names] == [18, True, True, 3000, True, schedule]
    assert [getattr(default, name) for name in names] == [0, False, False, 30000, True, schedule]
    method = BUILT_IN.load()
    assert method.needs(default).trusted == 0 and method.needs(config).trusted == 0.1
    assert list(method.remarks(default)) == ["variant pd"]
    own = dd(burn_in=5, fixed_after_burn_in=False, mentor_steps=7).configure("toy", "clean", {})
    assert (own.burn_in_until, own.fixed, own.fitting_steps) == (5, False, 7)
    with pytest.raises(ValueError, match="'dd' has none"):
        method.Config(variant="dd", mentor="closed_form")
