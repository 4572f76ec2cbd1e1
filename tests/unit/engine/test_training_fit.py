"""The sums of what networks answer in training are those that the method itself could take, and cost nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fer_bench.engine.training_fit import TrainingFit
from fer_bench.plugins.registry import Plugin
from fer_bench.store.folder import RunFolder
from fer_bench.store.label_scores import FIT, label_scores
from fer_bench.testing.bench import Bench
from fer_bench.testing.probes import records
from tests.helpers.plugins import LOSS
from tests.helpers.training import train_with

Toy = Callable[..., Plugin]

COUNTS = """
def __init__(self, config, task):
    super().__init__(config, task)
    self.sample_buffer("total", 0.0)

def loss(self, batch, run):
    with torch.no_grad():
        self.net(batch.view())                      # without gradients: not counted
    logits = self.net(batch.view())
    p = logits.detach().softmax(1).gather(1, batch.label[:, None]).squeeze(1)
    self.total[batch.index] += p
    self.net(batch.view("mirror")[:4])              # chosen images: not counted
    return F.cross_entropy(logits, batch.label)

@classmethod
def needs(cls, config):
    return Needs(views=("weak", "mirror"))

def clean_score(self):
    return self.total
"""


def test_sums_are_those_of_the_method_itself(toy: Toy, bench: Bench) -> None:
    scores = train_with(bench, toy("counts", COUNTS), "fit", epochs=3).scores()
    assert scores["fit_probability"] == pytest.approx(scores["clean_score"], rel=1e-6)
    assert (scores["fit_passes"] == 3).all(), "every image once in each of three epochs"
    assert label_scores(scores, "method")["mean_probability"] == pytest.approx(scores["clean_score"] / 3, rel=1e-6)


@pytest.mark.parametrize(
    "images",
    ["0.9 * batch.view() + 0.1 * batch.view().flip(0)", "torch.cat([batch.view()])"],
    ids=["mixed", "a copy"],
)
def test_images_that_are_no_view_give_no_sums(images: str, toy: Toy, bench: Bench) -> None:
    body = f"""
def loss(self, batch, run):
    return F.cross_entropy(self.net({images}), batch.label)
"""
    folder = train_with(bench, toy("mixes", body), "mixed")
    assert not set(FIT) & folder.scores().keys()
    assert folder.final is not None and set(folder.final["label_scores"]) == {"loss", "margin"}


def test_images_that_are_never_visited_leave_no_sums(toy: Toy, bench: Bench) -> None:
    part = """
def epoch_indices(self, labels, generator):
    return torch.arange(len(labels) // 2)
"""
    assert not set(FIT) & train_with(bench, toy("part", part + LOSS), "part").scores().keys()


def test_an_interrupted_run_has_the_same_sums(toy: Toy, bench: Bench) -> None:
    plugin = toy("plain", LOSS)
    spec = bench.spec(plugin, epochs=3)
    whole, _ = bench.train(plugin, spec, "whole")
    stopped = {"yet": False}

    def stopping(folder: RunFolder) -> bool:
        return not stopped["yet"] and len(folder.epochs()) == 1 and not stopped.update(yet=True)

    with pytest.raises(Exception, match="stopped in epoch 2"):
        bench.train(plugin, spec, "parts", stopping)
    parts, _ = bench.train(plugin, spec, "parts")
    assert records(parts) == records(whole)
    for name in FIT:
        assert np.array_equal(parts.scores()[name], whole.scores()[name]), name


def test_sums_by_hand() -> None:
    fit = TrainingFit(torch.tensor([0, 1, 1]), 2)
    net = torch.nn.Linear(4, 2)
    fit.attach(net)
    with torch.no_grad():
        net.weight.zero_()
        net.bias.copy_(torch.tensor([0.0, 2.0]))
    for rows in ([0, 2], [1, 2]):
        view = torch.randn(2, 4)
        fit.begin_step()
        fit.expect(view, torch.tensor(rows))
        net(view)
        net(view.clone())
    p = float(torch.sigmoid(torch.tensor(2.0)))
    found = fit.arrays()
    assert found["fit_probability"] == pytest.approx([1 - p, p, 2 * p])
    assert found["fit_margin"].tolist() == [-2.0, 2.0, 4.0] and found["fit_passes"].tolist() == [1, 1, 2]


def test_sums_of_which_a_part_is_missing_are_left_out() -> None:
    fit = TrainingFit(torch.tensor([0, 1]), 2)
    fit.restore({name: torch.ones(2) for name in FIT})
    assert fit.arrays().keys() == set(FIT) and fit.state() is not None
    fit.restore(None)
    assert fit.arrays() == {} and fit.state() is None
