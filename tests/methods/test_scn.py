"""SCN: what its formulas imply, on tiny networks."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.scn as scn
import pytest
import torch
import torch.nn.functional as F

from fer_bench import ops
from tests.helpers.options import assert_refused, assert_trains, steps_of_each
from tests.helpers.tiny import (
    C,
    TinyRun,
    batch_for,
    build,
    task,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"relabel_scope": "low", "relabel_epoch": 1, "dropout": 0.2},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(scn.Scn, options, epoch, size)


@pytest.mark.parametrize(("name", "value"), [("beta", 1.5), ("relabel_epoch", 0)])
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(scn.Scn, name, value)


def test_relabelling_is_strict_and_first_class_wins() -> None:
    p = torch.tensor([[0.4, 0.6, 0, 0, 0, 0, 0], [0.3, 0.7, 0, 0, 0, 0, 0], [0.2, 0.4, 0.4, 0, 0, 0, 0]]).double()
    changed, best = ops.clearly_better_class(p, torch.tensor([0, 0, 3]), 0.25)
    assert changed.tolist() == [False, True, True] and best.tolist() == [1, 1, 1]
    assert not bool(ops.clearly_better_class(p, best, 0.2)[0].any())
    exact = torch.tensor([[0.25, 0.75, 0, 0, 0, 0, 0]])
    assert not bool(ops.clearly_better_class(exact, torch.tensor([0]), 0.5)[0].any())


@pytest.mark.parametrize(("epochs", "first"), [(1, 2), (3, 3), (20, 14), (2000, 347)])
def test_relabels_after_its_number_of_steps_or_most_of_a_short_training(epochs: int, first: int) -> None:
    """An epoch has five steps here; 1728 of them are 346 epochs."""
    assert build(scn.Scn, task(epochs=epochs)).relabel_epoch == first
    assert build(scn.Scn, task(epochs=epochs), relabel_epoch=2).relabel_epoch == 2


def test_relabels_from_its_epoch_on_and_remembers() -> None:
    def confident(method: Any) -> None:
        with torch.no_grad():
            method.net.fc.bias.copy_(torch.tensor([8.0, 0, 0, 0, 0, 0, 0]))

    method = build(scn.Scn, relabel_epoch=10)
    given = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0])
    batch = batch_for(method, labels=given)
    confident(method)
    run = TinyRun(method, epoch=8)  # the 9th epoch
    run.frozen = True
    method.train_step(batch, run)
    assert bool((method.new_label == scn.NOT_RELABELLED).all())
    run.epoch = 9  # the 10th
    logged = method.train_step(batch, run)
    assert int(logged["relabelled"]) == 6
    touched = torch.nonzero(method.new_label != scn.NOT_RELABELLED).flatten()
    assert set(touched.tolist()) == set(batch.index[1:7].tolist())
    assert batch.label.tolist() == given.tolist()  # the data set's labels are not changed
    # the new labels are what the next epoch trains on, and they travel with the state
    other = build(scn.Scn, relabel_epoch=10)
    other.load_state_dict(method.state_dict())
    assert other.current_labels(batch.index, batch.label).tolist() == [0] * 8
    run.epoch = 10
    assert int(other.train_step(batch, run)["relabelled"]) == 0
    # and a label can change back
    z = torch.zeros(1, C)
    z[0, 3] = 9.0
    other.relabel(batch.index[1:2], torch.tensor([0]), torch.tensor([0.5]), z)
    assert int(other.current_labels(batch.index[1:2], batch.label[1:2])) == 3


def test_scope_low_leaves_important_samples_alone() -> None:
    method = build(scn.Scn, relabel_scope="low")
    alpha, z = torch.linspace(1, 0, 10), torch.zeros(10, C)
    z[:, 2] = 9.0
    changed = method.relabel(torch.arange(10), torch.zeros(10, dtype=torch.int64), alpha, z)
    assert int(changed) == 3 and torch.nonzero(method.new_label >= 0).flatten().tolist() == [7, 8, 9]


def test_weights_logits_and_scores_by_alpha() -> None:
    method = build(scn.Scn).eval()
    images = torch.randn(4, 3, 10, 10)
    alpha, raw = method(images)
    torch.testing.assert_close(method.predict(images), alpha[:, None] * raw)
    assert torch.equal(method.predict(images).argmax(1), method.other_predictions(images)["without alpha"].argmax(1))
    with torch.no_grad():
        method.alpha_head.bias.fill_(-60.0)
    torch.testing.assert_close(F.softmax(method.predict(images), 1), torch.full((4, C), 1 / C))
    method.train()
    batch = batch_for(method)
    method.train_step(batch, TinyRun(method))
    assert bool((method.clean_score()[batch.index] < 1e-6).all())
    assert {id(p) for p in method.alpha_head.parameters()} <= {
        id(p) for o in TinyRun(method).optimizers.values() for g in o.param_groups for p in g["params"]
    }
