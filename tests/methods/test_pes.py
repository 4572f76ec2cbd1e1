"""Properties of PES: which part is trained, renewed and frozen when, and who is selected."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import fer_bench_methods.pes as pes
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.engine.stages import stage_spans
from fer_bench.method import Task
from fer_bench.models.ferres8 import FerRes8
from fer_bench.plugins.registry import describe_config, discover
from fer_bench.testing.bench import Bench, relabelled

C, N = 4, 12
LABELS = torch.arange(N) % C


def build(epochs: int = 60, pretrained: bool = False, **options: Any) -> pes.Pes:
    counts = torch.bincount(LABELS)
    task = Task(C, N, counts, epochs, 4, labels=LABELS, pretrained=pretrained)
    options = {"warm_up": 25 / 211, **options}
    method = pes.Pes(pes.Pes.Config(**options), task)
    torch.manual_seed(0)
    method.build(lambda role: FerRes8(C))
    return method


def sgd(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.1)


def lengths(method: pes.Pes) -> dict[str, int]:
    return {span.stage.name: span.epochs for span in stage_spans(method.stages(), method.task.epochs)}


# --- stages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(60, (7, 2, 2, 49)), (40, (5, 1, 1, 33)), (14, (2, 1, 1, 10)), (211, (25, 7, 5, 174)), (4, (1, 1, 1, 1))],
)
def test_stages(epochs: int, expected: tuple[int, ...]) -> None:
    found = lengths(build(epochs))
    assert tuple(found.values()) == expected and list(found) == ["warm_up", "refine_1", "refine_2", "selected"]


@pytest.mark.parametrize(
    ("epochs", "share"), [(10, 0.4), (250, 0.4), (300, 1 / 3), (600, 1 / 6), (1000, 25 / 211), (9000, 25 / 211)]
)
def test_a_short_training_from_random_weights_warms_up_for_longer(epochs: int, share: float) -> None:
    """3 steps an epoch: 300 steps are 100 epochs."""
    assert build(epochs, warm_up=None).warm_up == pytest.approx(share)
    assert build(epochs, warm_up=None, pretrained=True).warm_up == 25 / 211
    assert build(epochs, warm_up=0.2).warm_up == build(epochs, warm_up=0.2, pretrained=True).warm_up == 0.2


def test_stages_of_a_head_and_of_few_epochs() -> None:
    assert lengths(build(60, renew="head")) == {"warm_up": 7, "refine_1": 2, "selected": 51}
    assert lengths(build(3)) == {"warm_up": 1, "refine_2": 1, "selected": 1}
    assert lengths(build(2)) == {"warm_up": 1, "selected": 1} and lengths(build(1)) == {"warm_up": 1}
    assert lengths(build(20, warm_up=1.0, refine_1=0.0, refine_2=0.0)) == {"warm_up": 20}
    assert lengths(build(20, refine_2=0.0)) == {"warm_up": 2, "refine_1": 1, "selected": 17}


def test_what_is_renewed() -> None:
    assert build().renew == "block" and build(pretrained=True).renew == "head"
    assert build(pretrained=True, renew="block").renew == "block"
    method = build()
    parts = {name.partition(".")[0] for name, p in method.net.named_parameters()
             if any(p is q for part in method.late_parts("refine_1") for q in part.parameters())}  # fmt: skip
    assert parts == {"block2", "fc"}
    assert [type(part).__name__ for part in method.late_parts("refine_2")] == ["Linear"]


TRAINED = {
    ("warm_up", "frozen"): {"stem", "block1", "block2", "fc"},
    ("refine_1", "frozen"): {"block2", "fc"},
    ("refine_2", "frozen"): {"fc"},
    ("selected", "frozen"): {"stem", "block1"},
    ("selected", "all"): {"stem", "block1", "block2", "fc"},
}


@pytest.mark.parametrize(("stage", "late"), TRAINED)
def test_what_is_trained(stage: str, late: str) -> None:
    """Also in a run that goes on, where only the optimizers are made anew."""
    method = build(late_training=late)
    (optimizer,) = method.optimizers(stage, sgd).values()
    names = {id(p): name.partition(".")[0] for name, p in method.net.named_parameters()}
    assert {names[id(p)] for group in optimizer.param_groups for p in group["params"]} == TRAINED[stage, late]
    assert {n.partition(".")[0] for n, p in method.net.named_parameters() if p.requires_grad} == TRAINED[stage, late]
    assert [g["follows_recipe"] for g in optimizer.param_groups] == [stage == "selected"]
    assert isinstance(optimizer, torch.optim.Adam if stage.startswith("refine") else torch.optim.SGD)


@pytest.mark.parametrize(
    ("skipped", "trained"),
    [
        ({"refine_1": 0.0}, {"stem", "block1", "block2"}),
        ({"refine_2": 0.0}, {"stem", "block1"}),
        ({"refine_1": 0.0, "refine_2": 0.0}, {"stem", "block1", "block2", "fc"}),
    ],
)
def test_the_last_stage_trains_what_no_refinement_renewed(skipped: dict[str, float], trained: set[str]) -> None:
    method = build(**skipped)
    method.optimizers("selected", sgd)
    assert {n.partition(".")[0] for n, p in method.net.named_parameters() if p.requires_grad} == trained


@pytest.mark.parametrize(
    ("stage", "steps", "epochs", "rate"),
    [("refine_1", 352, 7, 1e-4), ("refine_2", 352, 5, 1e-4), ("refine_1", 50, 1, 0.0049), ("refine_2", 4, 1, 0.01)],
)
def test_the_rate_of_a_refinement(stage: str, steps: int, epochs: int, rate: float) -> None:
    for method, expected in ((build(), rate), (build(refine_lr=2e-3), 2e-3)):
        optimizers = method.optimizers(stage, sgd)
        run = SimpleNamespace(stage=stage, steps=steps, stage_epochs=epochs, optimizers=optimizers)
        method.on_epoch_start(run)
        assert optimizers["main"].param_groups[0]["lr"] == pytest.approx(expected, abs=5e-5 if rate > 1e-3 else 1e-9)


# --- selection ----------------------------------------------------------------------------------------------------


def test_class_weights() -> None:
    counts = torch.tensor([40, 10, 0, 4])
    weight = pes.class_weights(counts)
    assert torch.allclose(weight, torch.tensor([0.45, 1.8, 0.0, 4.5]))
    assert (counts * weight).sum() == pytest.approx(counts.sum().item()), "on average a selected sample weighs 1"
    assert pes.class_weights(counts, 3.0).tolist() == pytest.approx([0.45, 1.8, 0.0, 3.0])
    assert (pes.class_weights(torch.tensor([5, 5, 5])) == 1).all() and (pes.class_weights(torch.zeros(3)) == 1).all()


def test_the_loss_of_the_last_stage() -> None:
    method, z = build(), torch.randn(6, C)
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    method.class_weight.copy_(torch.tensor([0.5, 2.0, 1.0, 0.0]))
    w = method.class_weight[labels]
    by_hand = (w * F.cross_entropy(z, labels, reduction="none")).sum() / w.sum()
    found = method.objective(z, labels, "selected")
    assert torch.allclose(found, by_hand) and method.objective(z, labels, "warm_up") == F.cross_entropy(z, labels)
    method.class_weight.mul_(7.0)
    assert torch.allclose(method.objective(z, labels, "selected"), found), "only ratios of weights count"
    same = method.objective(z[3:], labels[3:], "selected")
    assert torch.allclose(same, F.cross_entropy(z[3:], labels[3:])), "a batch of one class"


class Answers:
    """A network that answers with stored logits of the rows that it is shown."""

    def __init__(self, table: Tensor) -> None:
        self.table, self.training = table, True

    def modules(self) -> Iterator[Answers]:
        yield self

    def eval(self) -> None:
        self.training = False

    def __call__(self, rows: Tensor) -> Tensor:
        assert not self.training and not torch.is_grad_enabled()
        return self.table[rows]


def select(method: pes.Pes, first: Tensor, second: Tensor) -> None:
    del method.net
    answers = Answers(torch.cat([first, second]))
    object.__setattr__(method, "net", answers)
    rows = torch.arange(N)

    def training_set() -> Iterator[Any]:
        for part in rows.split(5):
            yield SimpleNamespace(
                index=part, label=LABELS[part], view=lambda name, part=part: part + (N if name == "second" else 0)
            )

    method.select(SimpleNamespace(training_set=training_set))
    assert answers.training


def test_who_is_selected() -> None:
    method = build()
    first, second = torch.randn(N, C), torch.randn(N, C)
    select(method, first, second)
    p = (F.softmax(first, 1) + F.softmax(second, 1)) / 2
    assert torch.equal(method.selected, p.argmax(1) == LABELS)
    assert torch.allclose(method.clean_score(), p[torch.arange(N), LABELS])
    assert torch.equal(method.class_weight, pes.class_weights(torch.bincount(LABELS[method.selected], minlength=C)))
    rows = method.epoch_indices(LABELS, torch.Generator().manual_seed(0))
    assert rows is not None and sorted(rows.tolist()) == method.selected.nonzero().squeeze(1).tolist()


@pytest.mark.parametrize("right", [True, False])
def test_all_or_nobody_selected(right: bool) -> None:
    """Then all are visited, with weights of 1: nobody cannot be trained on."""
    method = build()
    assert method.clean_score() is None
    logits = 5.0 * F.one_hot(LABELS if right else (LABELS + 1) % C, C)
    select(method, logits, logits)
    assert method.selected.all() if right else not method.selected.any()
    assert method.epoch_indices(LABELS, torch.Generator()) is None and (method.class_weight == 1).all()


def test_wrong_settings() -> None:
    for name, value in (("warm_up", 0.0), ("warm_up", 1.0), ("refine_lr", 0.0), ("weight_cap", -1.0)):
        with pytest.raises(ValueError, match=name):
            pes.Pes.Config(**{name: value})


def test_remarks() -> None:
    assert pes.Pes.remarks(pes.Pes.Config(renew="head")) == ("the classifier is renewed after early stopping",)
    assert "trained to the end" in pes.Pes.remarks(pes.Pes.Config(late_training="all"))[0]


# --- whole runs ---------------------------------------------------------------------------------------------------


def run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, change: Any = lambda splits: splits, **settings: Any
) -> Any:
    """A run of 6 epochs whose networks are kept as every stage found, renewed and left them."""
    plugin, kept = discover()["pes"], SimpleNamespace(before={}, after={})
    cls = plugin.load()
    start, end = cls.on_stage_start, cls.on_fit_end

    def state(method: Any) -> dict[str, Tensor]:
        return {key: value.clone() for key, value in method.net.state_dict().items()}

    def on_stage_start(self: Any, stage: str, run: Any) -> None:
        kept.before[stage] = state(self)
        start(self, stage, run)
        kept.after[stage] = state(self)

    def on_fit_end(self: Any, run: Any) -> None:
        kept.before["end"] = state(self)
        end(self, run)

    monkeypatch.setattr(cls, "on_stage_start", on_stage_start)
    monkeypatch.setattr(cls, "on_fit_end", on_fit_end)
    config = describe_config(plugin.configure(bench.dataset.name, "clean", settings))
    spec = dataclasses.replace(bench.spec(plugin, 0.3, epochs=6), config=config)
    kept.folder, kept.seen = bench.train(plugin, spec, name, change_splits=change)
    return kept


def changed(a: dict[str, Tensor], b: dict[str, Tensor], statistics: bool = False) -> set[str]:
    """Parts of the network in which parameters, or running statistics, differ."""
    return {
        name.partition(".")[0]
        for name, value in a.items()
        if ("running" in name) == statistics and "num_batches" not in name and not torch.equal(value, b[name])
    }


@pytest.mark.parametrize("late", ["frozen", "all"])
def test_every_part_is_stopped_in_its_time(bench: Bench, monkeypatch: pytest.MonkeyPatch, late: str) -> None:
    kept = run(bench, monkeypatch, late, late_training=late)
    stages, every = ["refine_1", "refine_2", "selected", "end"], {"stem", "block1", "block2", "fc"}
    assert changed(kept.after["warm_up"], kept.before["refine_1"]) == every
    renewed = [changed(kept.before[stage], kept.after[stage]) for stage in stages[:3]]
    assert renewed == [{"block2", "fc"}, {"fc"}, set()]
    trained = [changed(kept.after[a], kept.before[b]) for a, b in pairwise(stages)]
    assert trained == [{"block2", "fc"}, {"fc"}, every if late == "all" else {"stem", "block1"}]
    for a, b in pairwise(stages):
        moving = changed(kept.after[a], kept.before[b], statistics=True)
        assert moving == {"stem", "block1", "block2"}, "statistics of frozen parts go on changing"
    assert kept.after["refine_1"]["block2.norm1.running_mean"].abs().max() == 0


def test_renewed_parts_do_not_depend_on_the_warm_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    a = run(bench, monkeypatch, "own labels").after["refine_1"]
    b = run(bench, monkeypatch, "other labels", relabelled(lambda labels: (labels + 1) % 4)).after["refine_1"]
    assert changed(a, b) == {"stem", "block1"}


def test_the_warm_up_is_cross_entropy(bench: Bench) -> None:
    plugins, first = discover(), []
    for key in ("ce", "pes"):
        spec = bench.spec(plugins[key], 0.3, epochs=8, schedule="constant")
        if key == "pes":
            spec = dataclasses.replace(spec, config={**spec.config, "warm_up": 0.5})
        first.append([r["test"] for r in bench.train(plugins[key], spec, "as ce")[0].epochs()])
    assert first[0][:4] == first[1][:4] and first[0][4:] != first[1][4:]


def test_the_rate_of_the_warm_up(bench: Bench) -> None:
    plugin = discover()["pes"]
    for schedule in ("constant", "recipe"):
        spec = bench.spec(plugin, 0.3, epochs=8)
        config = {**spec.config, "warm_up": 0.5, "warm_up_schedule": schedule}
        folder, _ = bench.train(plugin, dataclasses.replace(spec, config=config), f"warm-up {schedule}")
        rates = [record["lr"]["main"] for record in folder.epochs()[:4]]
        assert (len(set(rates)) == 1) == (schedule == "constant") and rates[0] == 2e-3


@pytest.mark.parametrize(("noise", "factor", "options"), [(0.4, 1.0, {}), (0.0, 50.0, {"weight_cap": 3.0})])
def test_it_trains(train: Callable[..., Any], noise: float, factor: float, options: dict[str, Any]) -> None:
    folder, seen = train("pes", noise=noise, factor=factor, epochs=6, warm_up=25 / 211, **options)
    records = folder.epochs()
    assert [record["selection"] is None for record in records] == [True] * 3 + [False] * 3
    images = seen.method.task.num_samples
    visited = sum(len(batch) for batch in seen.batches)
    kept = [round(record["selection"]["kept"] * images) or images for record in records[3:]]
    assert visited == 3 * images + sum(kept)
    assert folder.final["images_forward"] == visited + 2 * 3 * images
