"""A first stage that is taken from the finished run of another method gives the numbers of one that is trained here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import Request
from fer_bench.testing.bench import Bench
from fer_bench.testing.probes import records
from tests.helpers.plugins import LOSS, plugin_source
from tests.helpers.training import train_with

Toy = Callable[..., Plugin]


def final_of(folder: RunFolder) -> dict[str, Any]:
    assert folder.final is not None
    return {**folder.final, "seconds": 0, "peak_memory_bytes": 0}


def assert_equal_runs(taken: RunFolder, alone: RunFolder) -> None:
    assert records(taken) == records(alone)
    assert final_of(taken) == final_of(alone), "what the stage cost is counted, and the rest is equal"
    for mine, other in ((taken.scores(), alone.scores()), (taken.probe(), alone.probe())):
        assert mine.keys() == other.keys() and all(np.array_equal(mine[name], other[name]) for name in mine)


BEGINS = (
    """
@classmethod
def needs(cls, config):
    return Needs(first_stage_of="plain")

def stages(self):
    return (Stage("train"), Stage("head", 0.5, extra=True))

def __init__(self, config, task):
    super().__init__(config, task)
    self.register_buffer("draw", torch.zeros(1))

def on_stage_start(self, stage, run):
    if stage == "head":
        self.draw = torch.rand(1, generator=run.generator("head"))

def optimizers(self, stage, make_optimizer):
    return {"main": make_optimizer(self.parameters() if stage == "train" else self.net.get_classifier().parameters())}

def clean_score(self):
    return self.draw.expand(self.task.num_samples)
"""
    + LOSS
)

ENDS = (
    """
@classmethod
def needs(cls, config):
    return Needs(first_stage_of="plain")

def __init__(self, config, task):
    super().__init__(config, task)
    self.register_buffer("position", torch.zeros(8))
    self.register_buffer("seen", torch.zeros(()))

def on_fit_end(self, run):
    self.position = torch.tensor([run.epoch, run.epochs, run.step, run.steps, run.stage_epoch, run.stage_epochs,
        1e6 * run.optimizers["main"].param_groups[0]["lr"], float(torch.rand(1, generator=run.generator("end")))])
    with torch.no_grad():
        for batch in run.training_set():
            self.seen += self.net(batch.view()).sum()
        self.net.get_classifier().weight.mul_(-1)

def clean_score(self):
    return torch.cat([self.position, self.seen[None]]).repeat(self.task.num_samples)[:self.task.num_samples]
"""
    + LOSS
)


@pytest.mark.parametrize("body", [BEGINS, ENDS], ids=["a stage follows", "nothing follows"])
def test_a_stage_taken_over_gives_the_numbers_of_one_trained_here(body: str, toy: Toy, bench: Bench) -> None:
    plain, begins = toy("plain", LOSS), toy("begins", body)
    kept = train_with(bench, plain, "kept", keep_networks=True)
    taken = train_with(bench, begins, "taken", first_stage_run=kept)
    alone = train_with(bench, begins, "alone")
    assert_equal_runs(taken, alone)
    assert taken.epochs()[0]["seconds"] == kept.epochs()[0]["seconds"], "the stage was taken and not trained"
    assert taken.scores()["clean_score"].any(), "the hooks of the method were called"


def test_a_training_taken_over_whole_is_measured_by_the_method_itself(toy: Toy, bench: Bench) -> None:
    """Its last hook turns the classifier round, which the other method's numbers do not show."""
    kept = train_with(bench, toy("plain", LOSS), "whole", epochs=4, keep_networks=True)
    taken = train_with(bench, toy("ends", ENDS), "whole", epochs=4, first_stage_run=kept)
    mine, other = taken.epochs(), kept.epochs()
    assert [record["test"] for record in mine[:-1]] == [record["test"] for record in other[:-1]]
    assert final_of(taken)["test"] == mine[-1]["test"] != other[-1]["test"]
    assert final_of(taken)["test"]["overall"] < final_of(kept)["test"]["overall"]
    probe = taken.probe()["logits"]
    assert len(probe) == 4 and np.array_equal(probe[:-1], kept.probe()["logits"][:-1])
    assert not np.array_equal(probe[-1], kept.probe()["logits"][-1])
    passes = mine[-1]["images_forward"] - other[-1]["images_forward"]
    assert passes == final_of(kept)["train_images"], "the pass of the last hook is counted"


@pytest.mark.parametrize(
    "settings",
    [
        {"variant": "crt"},
        {"variant": "lws"},
        {"variant": "tau"},
        {"variant": "tau", "tau_choice": "train"},
        {"variant": "ncm"},
    ],
    ids=lambda settings: " ".join(settings.values()),
)
def test_every_variant_of_a_built_in_method_has_equal_numbers(settings: dict[str, Any], bench: Bench) -> None:
    plugins = discover()
    kept = train_with(bench, plugins["ce"], "kept", keep_networks=True)
    taken = train_with(bench, plugins["crt"], "taken", settings=settings, first_stage_run=kept)
    alone = train_with(bench, plugins["crt"], "alone", settings=settings)
    assert_equal_runs(taken, alone)
    assert taken.epochs()[0]["seconds"] == kept.epochs()[0]["seconds"], "the stage was taken and not trained"
    if settings["variant"] in ("tau", "ncm"):
        assert final_of(taken)["test"] != final_of(kept)["test"], "the numbers are not those of the other method"


def test_a_run_that_kept_no_networks_is_not_taken_over(toy: Toy, bench: Bench) -> None:
    lost = train_with(bench, toy("plain", LOSS), "lost")
    assert lost.model() is None and not (lost.path / "model.safetensors").exists()
    folder = train_with(bench, toy("begins", BEGINS), "by itself", first_stage_run=lost)
    assert len(folder.epochs()) == 3


def test_a_run_that_is_no_first_stage_is_an_error(toy: Toy, bench: Bench) -> None:
    begins = toy("begins", BEGINS)
    longer = train_with(bench, toy("plain", LOSS), "longer", epochs=3, keep_networks=True)
    with pytest.raises(ValueError, match=r"the stage 'train' has 2 epochs, and .* 3"):
        train_with(bench, begins, "not longer", first_stage_run=longer)
    named = "def build(self, make_net):\n    self.net, self.other = make_net('main'), torch.nn.Linear(1, 1)\n"
    other = train_with(bench, toy("named", named + LOSS), "named", keep_networks=True)
    with pytest.raises(ValueError, match=r"the stage 'train' has no other\.bias, other\.weight, which"):
        train_with(bench, begins, "not named", first_stage_run=other)


def test_the_plan_finds_the_run_that_a_method_begins_with(faces_folder: Path, tmp_path: Path) -> None:
    """Also where the method learns from images that the other run does not see."""
    body = "@classmethod\ndef needs(cls, config):\n    return Needs(first_stage_of='ce', unlabelled=1.0)\n" + LOSS
    (tmp_path / "begins.py").write_text(plugin_source(body))
    common: dict[str, Any] = {"dataset": str(faces_folder), "overrides": {"image_size": 32}, "settings_file": "default"}
    pool = faces_folder / "val"
    planned = make_plan(Request(["ce", "begins"], plugins=[str(tmp_path)], unlabelled=pool, **common))
    runs = SimpleNamespace(**{run.spec.method: run for run in planned.runs})
    assert runs.begins.first_stage_of.key == runs.ce.spec.key == make_plan(Request(["ce"], **common)).runs[0].spec.key
    assert runs.ce.keep_networks and not runs.begins.keep_networks and runs.ce.first_stage_of is None
    assert runs.begins.spec.unlabelled and not runs.ce.spec.unlabelled
    refused = CliRunner().invoke(
        main, ["run", "--methods", "ce", "--dataset", str(faces_folder), "--unlabelled", str(pool)]
    )
    assert refused.exit_code == 2 and "none of ce learns from unlabelled images" in refused.output
