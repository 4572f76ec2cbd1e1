"""Parts of the contract that few methods use, each through the engine with a plugin made for it."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import fer_bench
from fer_bench.data.points import MIRRORED
from fer_bench.engine.job import Interrupted
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.testing.bench import Bench
from fer_bench.testing.checks import CHECKS
from fer_bench.testing.probes import records
from tests.helpers.plugins import LOSS

Toy = Callable[..., Plugin]

TWO_STAGES = (
    """
def stages(self):
    return (Stage("trunk", 0.5), Stage("head", 0.5))

def optimizers(self, stage, make_optimizer):
    if stage == "head":
        return {"main": make_optimizer(self.net.get_classifier().parameters(), lr=0.01)}
    return {"main": make_optimizer(self.parameters())}

def on_stage_start(self, stage, run):
    if stage == "head":
        torch.nn.init.normal_(self.net.get_classifier().weight)

def epoch_indices(self, labels, generator):
    counts = torch.bincount(labels, minlength=self.task.num_classes)
    return torch.multinomial(1.0 / counts[labels].double(), len(labels), replacement=True, generator=generator)

def on_fit_end(self, run):
    with torch.no_grad():
        self.net.get_classifier().weight.mul_(0.5)
"""
    + LOSS
)

TWO_OPTIMIZERS = """
@classmethod
def needs(cls, config):
    return Needs(views=("weak", "second"), networks=2, forwards=2.5, landmarks=True)

def __init__(self, config, task):
    super().__init__(config, task)
    self.sample_buffer("last", 0.0)
    self.register_buffer("draws", torch.zeros(3))
    self.register_buffer("points", torch.zeros(task.num_samples, 19, 2))
    self.register_buffer("hooks", torch.zeros(4, dtype=torch.int64))

def build(self, make_net):
    self.net, self.peer = make_net("a"), make_net("b")

def optimizers(self, stage, make_optimizer):
    return {"a": make_optimizer(self.net.parameters()), "b": make_optimizer(self.peer.parameters(), lr=1e-4)}

def on_stage_start(self, stage, run):
    self.hooks[0] += 1

def on_epoch_start(self, run):
    self.hooks[1] += 1

def on_epoch_end(self, run):
    self.hooks[2] += 1

def on_fit_end(self, run):
    self.hooks[3] += 1

def train_step(self, batch, run):
    self.draws = torch.rand(3, generator=run.generator("mine"), device=run.device)
    self.points[batch.index] = batch.landmarks
    assert batch.landmarks_ok.dtype == torch.bool and batch.landmarks_ok.shape == (len(batch),)
    if run.step % 2:
        self.net(batch.view())
        return {}
    loss = F.cross_entropy(self.net(batch.view()), batch.label, reduction="none")
    run.minimize(loss.mean(), "a")
    with torch.no_grad():
        self.peer(batch.view("second"))
    run.minimize(F.cross_entropy(self.peer(batch.view("second")), batch.label), "b")
    self.last[batch.index] = -loss.detach()
    run.record_selection(batch.index, loss < loss.median())
    return {"loss": loss.mean().detach(), "number": 2.0}

def other_predictions(self, images):
    return {"peer": self.peer(images)}

def clean_score(self):
    return self.last
"""


def test_stages_samplers_and_a_change_after_the_fit(toy: Toy, bench: Bench) -> None:
    plugin = toy("two_stages", TWO_STAGES)
    folder, seen = bench.train(plugin, bench.spec(plugin, factor=10.0, epochs=4))
    epochs = folder.epochs()
    assert [epoch["stage"] for epoch in epochs] == ["trunk", "trunk", "head", "head"]
    assert [epoch["lr"]["main"] for epoch in epochs] == pytest.approx([2e-3, 1e-3, 1e-2, 5e-3]), (
        "a schedule for each stage"
    )
    labels = torch.cat([batch.label for batch in seen.batches])
    counts, shares = seen.method.task.class_counts, torch.bincount(labels) / len(labels)
    assert counts.max() >= 8 * counts.min() and shares.min() > 0.12, "the sampler must even out the classes"
    trunk = [p for n, p in seen.method.named_parameters() if "fc" not in n]
    assert all(p.requires_grad for p in trunk)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resumes_exactly", "build_is_reproducible", "state_round_trip", "leaves_the_process_as_it_was"]
)
@pytest.mark.parametrize("body", [TWO_STAGES, TWO_OPTIMIZERS], ids=["stages", "optimizers"])
def test_unusual_plugins_keep_the_promises(body: str, name: str, toy: Toy, bench: Bench) -> None:
    CHECKS[name](toy("unusual", body), bench)


def test_two_optimizers_hooks_buffers_and_skipped_steps(toy: Toy, bench: Bench) -> None:
    plugin = toy("two_optimizers", TWO_OPTIMIZERS)
    folder, seen = bench.train(plugin, bench.spec(plugin, noise=0.3, epochs=3))
    final, epochs = folder.final, folder.epochs()
    assert final is not None
    steps = len(seen.batches)
    assert epochs[0]["lr"] == pytest.approx({"a": 2e-3, "b": 1e-4})
    assert final["skipped_steps"] == steps // 2 == 6, "every second step is skipped"
    assert seen.method.get_buffer("hooks").tolist() == [1, 3, 3, 1]
    assert set(final["other_predictions"]) == {"peer"} and 0 <= final["other_predictions"]["peer"]["overall"] <= 1
    assert final["detection_by"] == "method" and final["detection"]["auroc"] is not None
    assert 0 < epochs[0]["selection"]["kept"] <= 0.5 and sum(epochs[0]["selection"]["kept_by_class"]) > 0
    half = sum(len(batch) for batch in seen.batches[::2])
    assert final["images_forward"] == 3 * half + (sum(len(b) for b in seen.batches) - half)
    assert final["images_backward"] == 2 * half, "forwards without gradients and of skipped steps do not count"
    with np.load(folder.path / "scores.npz") as scores:
        assert np.array_equal(scores["clean_score"], seen.method.get_buffer("last").numpy())


def test_a_generator_of_ones_own_differs_by_name_epoch_and_step_only(toy: Toy, bench: Bench) -> None:
    plugin = toy("two_optimizers", TWO_OPTIMIZERS)
    _, seen = bench.train(plugin, bench.spec(plugin), "generator")
    run = seen.runs[0]
    drawn = {}
    for epoch in (0, 1):
        for step in (0, 1):
            run.epoch, run.step = epoch, step
            for name in ("a", "b"):
                drawn[epoch, step, name] = torch.rand(2, generator=run.generator(name)).tolist()
                assert drawn[epoch, step, name] == torch.rand(2, generator=run.generator(name)).tolist()
    assert len({tuple(v) for v in drawn.values()}) == len(drawn)


def test_landmarks_are_those_of_the_rows_up_to_the_mirror(toy: Toy, bench: Bench) -> None:
    plugin = toy("two_optimizers", TWO_OPTIMIZERS)
    _, seen = bench.train(plugin, bench.spec(plugin), "landmarks")
    assert bench.dataset.landmarks is not None and bench.dataset.landmarks_ok is not None
    batch = seen.batches[0]
    of_rows = torch.from_numpy(bench.dataset.landmarks[seen.splits.train])[batch.index]
    mirrored = of_rows[:, list(MIRRORED)] * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    assert batch.landmarks is not None and batch.landmarks_ok is not None
    straight = torch.isclose(batch.landmarks, of_rows).all(2).all(1)
    turned = torch.isclose(batch.landmarks, mirrored).all(2).all(1)
    assert (straight ^ turned).all() and straight.any() and turned.any()
    assert torch.equal(batch.landmarks_ok, torch.from_numpy(bench.dataset.landmarks_ok[seen.splits.train])[batch.index])


def test_all_methods_see_the_same_batches_and_views(toy: Toy, bench: Bench) -> None:
    plain, _ = toy("plain", LOSS), None
    greedy = toy(
        "greedy",
        "def build(self, make_net):\n    torch.rand(7)\n    self.net = make_net('main')\n"
        "@classmethod\ndef needs(cls, config):\n    return Needs(views=('weak', 'second'))\n"
        "def loss(self, batch, run):\n    torch.rand(len(batch)); batch.view('second')\n"
        "    return F.cross_entropy(self.net(batch.view()), batch.label)\n",
    )
    one, other = (bench.train(plugin, bench.spec(plugin, noise=0.3), "paired")[1] for plugin in (plain, greedy))
    assert len(one.batches) == len(other.batches)
    for a, b in zip(one.batches, other.batches, strict=True):
        assert torch.equal(a.index, b.index) and torch.equal(a.label, b.label) and torch.equal(a.view(), b.view())
    assert torch.equal(one.start["net.stem.0.weight"], other.start["net.stem.0.weight"]), "the same initial weights"


def test_epochs_shuffle_anew_and_visit_every_image_once(toy: Toy, bench: Bench) -> None:
    plugin = toy("plain", LOSS)
    _, seen = bench.train(plugin, bench.spec(plugin, epochs=2), "order")
    half = len(seen.batches) // 2
    first, second = (torch.cat([b.index for b in part]) for part in (seen.batches[:half], seen.batches[half:]))
    everything = list(range(seen.method.task.num_samples))
    assert sorted(first.tolist()) == sorted(second.tolist()) == everything != first.tolist()
    assert not torch.equal(first, second)


def test_the_seed_changes_training_and_the_data_seed_the_labels(toy: Toy, bench: Bench) -> None:
    plugin = toy("plain", LOSS)
    spec = bench.spec(plugin, noise=0.3)
    runs = [
        bench.train(plugin, dataclasses.replace(spec, **change), "seeds")
        for change in ({}, {"seed": 1}, {"data_seed": 1})
    ]
    given = [seen.noisy_label.tolist() for _, seen in runs]  # type: ignore[union-attr]
    assert given[0] == given[1] != given[2]
    assert not torch.equal(runs[0][1].batches[0].index, runs[1][1].batches[0].index)
    assert torch.equal(runs[0][1].batches[0].index, runs[2][1].batches[0].index)
    assert records(runs[0][0]) != records(runs[1][0])


def test_clipping_and_schedules_reach_every_optimizer(toy: Toy, bench: Bench) -> None:
    plugin = toy("plain", LOSS)
    for schedule, rates in (("constant", [1, 1, 1]), ("exponential", [1, 0.9, 0.81]), ("cosine", [1, 0.75, 0.25])):
        spec = bench.spec(
            plugin, epochs=3, schedule=schedule, clip_norm=1e-3, optimizer="sgd", weight_decay=0.0, momentum=0.0
        )
        folder, seen = bench.train(plugin, spec, schedule)
        assert [epoch["lr"]["main"] / 2e-3 for epoch in folder.epochs()] == pytest.approx(rates)
        steps = len(seen.batches) // 3
        far = sum(((p - seen.start[n]) ** 2).sum() for n, p in seen.method.named_parameters()).sqrt()  # type: ignore[union-attr]
        assert 0 < far <= 1e-3 * 2e-3 * steps * sum(rates) * 1.01, "clipped gradients bound how far the weights go"


def test_progress_and_position(toy: Toy, bench: Bench) -> None:
    plugin = toy(
        "position",
        """
def __init__(self, config, task):
    super().__init__(config, task)
    self.told = []
def train_step(self, batch, run):
    self.told.append((run.epoch, run.epochs, run.step, run.steps, run.stage, run.progress))
    return super().train_step(batch, run)
"""
        + LOSS,
    )
    _, seen = bench.train(plugin, bench.spec(plugin, epochs=2))
    told: list[tuple[float, ...]] = seen.method.told  # type: ignore[assignment]
    steps = len(told) // 2
    assert [t[:5] for t in told] == [(e, 2, s, steps, "train") for e in range(2) for s in range(steps)]
    assert [t[5] for t in told] == pytest.approx([i / len(told) for i in range(len(told))])


def test_stopping_keeps_the_finished_epochs(toy: Toy, bench: Bench) -> None:
    plugin = toy("plain", LOSS)
    spec = bench.spec(plugin, epochs=3)
    with pytest.raises(Interrupted):
        bench.train(plugin, spec, "stops", lambda folder: len(folder.epochs()) == 2)
    stopped = next(bench.folder.glob(f"plain-{spec.key}-stops"))
    assert len((stopped / "epochs.jsonl").read_text().splitlines()) == 2 and (stopped / "checkpoint.pt").exists()
    folder, _ = bench.train(plugin, spec, "stops")
    assert len(folder.epochs()) == 3 and not (stopped / "checkpoint.pt").exists()


def words_of(path: Path) -> set[str]:
    """Every identifier, and every word of every string that is not a docstring, in a source file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    words: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            words |= set(re.findall(r"\w+", node.value))
        words |= {
            value for name in ("id", "attr", "name", "arg") if isinstance(value := getattr(node, name, None), str)
        }
    return words


def test_the_harness_names_no_method() -> None:
    """Documentation may name one as an example; code may not, neither as a string nor as a name."""
    sources = sorted(Path(fer_bench.__file__).parent.rglob("*.py"))
    assert len(sources) > 20
    keys = discover().keys()
    found = {str(path): sorted(words_of(path) & keys) for path in sources}
    assert {path: named for path, named in found.items() if named} == {}


def test_methods_import_nothing_of_the_harness_and_no_other_method() -> None:
    allowed = {"fer_bench.method", "fer_bench.ops"}
    for key, plugin in discover().items():
        imports = re.findall(
            r"^\s*(?:from|import)\s+(fer_bench[\w.]*)", plugin.path.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert set(imports) <= allowed, f"{key} imports {sorted(set(imports) - allowed)}"
