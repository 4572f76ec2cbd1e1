"""What methods with a memory, a held-out part or parameters of each sample ask of the contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fer_bench.core.spec import Recipe, RunSpec
from fer_bench.engine.context import TrainingContext
from fer_bench.engine.counters import CostCounter, SelectionCounter
from fer_bench.engine.stages import StageSpan
from fer_bench.method import Stage, Task
from fer_bench.plugins.registry import Plugin
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import Request
from fer_bench.testing.bench import Bench
from fer_bench.testing.run import check_plugin
from tests.helpers.plugins import LOSS
from tests.helpers.training import train_with

Toy = Callable[..., Plugin]


def context(optimizers: dict[str, torch.optim.Optimizer], clip: float = 0.0) -> TrainingContext:
    label = torch.zeros(1, dtype=torch.int64)
    spec = RunSpec("d", "0", "m", "0", {}, recipe=Recipe(clip_norm=clip))
    no_batches: Any = SimpleNamespace(device=torch.device("cpu"))
    made = TrainingContext(spec, no_batches, SelectionCounter(label, label, 2), CostCounter())
    made.optimizers = optimizers
    made.begin_epoch(StageSpan(Stage("train"), 0, 1), 0, 1)
    return made


# --- optimizers ---------------------------------------------------------------------------------------------------


def test_one_backward_pass_steps_every_named_optimizer_and_no_other() -> None:
    a, b, c = (nn.Parameter(torch.tensor(1.0)) for _ in range(3))
    run = context({name: torch.optim.SGD([p], lr=0.1) for name, p in (("main", a), ("noise", b), ("other", c))})
    run.minimize(a * b + c, "main", "noise")
    assert (a.item(), b.item(), c.item()) == (pytest.approx(0.9), pytest.approx(0.9), 1.0), "both gradients come first"
    run.minimize(a**2)
    assert a.item() == pytest.approx(0.72) and b.item() == pytest.approx(0.9)
    with pytest.raises(KeyError, match="no optimizer 'nois'"):
        run.minimize(a**2, "main", "nois")
    assert a.item() == pytest.approx(0.72), "nothing moves where one name is wrong"


def test_clipping_leaves_a_group_alone_that_does_not_follow_the_recipe() -> None:
    a, b = (nn.Parameter(torch.tensor(0.0)) for _ in range(2))
    run = context({"main": torch.optim.SGD([{"params": [a]}, {"params": [b], "follows_recipe": False}], lr=1.0)}, 0.5)
    run.minimize(10 * a + 10 * b)
    assert a.item() == pytest.approx(-0.5, rel=1e-4) and b.item() == -10.0


PER_SAMPLE = """
def build(self, make_net):
    super().build(make_net)
    self.noise = torch.nn.Parameter(torch.randn(self.task.num_samples, 1) * 0.01)

def optimizers(self, stage, make_optimizer):
    own = torch.optim.SGD([{"params": [self.noise], "follows_recipe": False}], lr=0.5)
    return {"main": make_optimizer(self.net.parameters()), "noise": own}

def train_step(self, batch, run):
    assert [g["lr"] for g in run.optimizers["noise"].param_groups] == [0.5]
    self.rates = [g["lr"] for g in run.optimizers["main"].param_groups]
    before = self.noise.detach().clone()
    logits = self.net(batch.view())
    loss = F.cross_entropy(logits + self.noise[batch.index] * F.one_hot(batch.label, logits.shape[1]), batch.label)
    run.minimize(loss, "main", "noise")
    moved = (self.noise.detach() != before).squeeze(1)
    assert set(moved.nonzero().squeeze(1).tolist()) <= set(batch.index.tolist())
    return {"loss": loss.detach()}

def clean_score(self):
    return self.noise.detach().squeeze(1)
"""


@pytest.mark.slow
def test_parameters_of_each_sample_have_a_rate_of_their_own(toy: Toy, bench: Bench) -> None:
    """The whole suite, exact resuming among it; the rate is checked in every step of the method."""
    plugin = toy("per_sample", PER_SAMPLE)
    assert [(name, error) for name, _, error in check_plugin(plugin) if error] == []
    folder = train_with(bench, plugin, "rates", epochs=3)
    main, own = (np.array([record["lr"][name] for record in folder.epochs()]) for name in ("main", "noise"))
    assert (own == 0.5).all() and (np.diff(main) < 0).all()


# --- what a method is told ----------------------------------------------------------------------------------------


def test_labels_are_a_copy_of_the_observed_ones(toy: Toy, bench: Bench) -> None:
    plugin = toy("told", LOSS)
    _, seen = bench.train(plugin, bench.spec(plugin, 0.3), "told")
    labels = seen.method.task.labels
    assert (
        seen.noisy_label is not None
        and np.array_equal(labels.numpy(), seen.noisy_label)
        and labels.dtype == torch.int64
    )
    labels.zero_()
    assert np.array_equal(seen.splits.noisy_label, seen.noisy_label)


def test_a_method_is_told_whether_weights_are_pretrained(toy: Toy, bench: Bench, monkeypatch: Any) -> None:
    plugin = toy("told", LOSS)
    monkeypatch.setattr(
        "fer_bench.engine.build.make_network", lambda *a, **k: nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    )
    for pretrained, told in (("", False), ("timm:tag", True)):
        assert bench.build(plugin, bench.spec(plugin, pretrained=pretrained)).task.pretrained is told


def test_a_method_whose_networks_cannot_be_compiled_is_skipped_where_they_would_be(
    faces_folder: Path, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_bench.models.precision.check_compiler", lambda kind: None)
    plugin = toy("hooked", "@classmethod\ndef needs(cls, config):\n    return Needs(compiles=False)\n" + LOSS)
    for compiled in (False, True):
        request = Request(["ce", "hooked"], dataset=str(faces_folder), plugins=[str(plugin.path)],
                          overrides={"image_size": 32, "compile": compiled})  # fmt: skip
        planned = make_plan(request)
        assert {run.spec.method for run in planned.runs} == ({"ce"} if compiled else {"ce", "hooked"})
        assert planned.skipped == (("hooked: its networks cannot be compiled; leave --compile out",) * compiled)


# --- images by row ------------------------------------------------------------------------------------------------

BY_ROW = """
@classmethod
def needs(cls, config):
    return Needs(views=("weak", "plain"))

def on_epoch_start(self, run):
    rows = torch.tensor([5, 2, 5])
    first, second = run.batch(rows), run.batch(rows)
    assert torch.equal(first.index, rows) and torch.equal(first.label, self.task.labels[rows])
    assert torch.equal(first.view("plain"), second.view("plain"))
    assert torch.equal(first.view("plain")[0], first.view("plain")[2])
    assert not torch.equal(first.view("weak"), second.view("weak")), "each call draws anew"
    walked = torch.cat([batch.view("plain") for batch in run.training_set()])
    assert torch.equal(first.view("plain"), walked[rows])
    self.drawn = first.view("weak").sum()

def on_epoch_end(self, run):
    assert not torch.equal(run.batch(torch.tensor([5, 2, 5])).view("weak").sum(), self.drawn)

def loss(self, batch, run):
    again = run.batch(batch.index)
    return F.cross_entropy(self.net(again.view()), again.label)
"""


@pytest.mark.slow
def test_images_by_row(toy: Toy, bench: Bench) -> None:
    plugin = toy("by_row", BY_ROW)
    assert [(name, error) for name, _, error in check_plugin(plugin) if error] == []
    assert train_with(bench, plugin, "rows", epochs=3).epochs()[-1]["skipped_steps"] == 0


def test_defaults_of_a_task_made_by_hand() -> None:
    task = Task(4, 8, torch.full((4,), 2), 3, 2)
    assert not task.pretrained and task.labels.shape == (0,) and dataclasses.replace(task, pretrained=True).pretrained
