"""The speed program measures what it says, and what was made faster gives the same numbers, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import Tensor

from benchmarks.speed import __main__ as program
from benchmarks.speed import evaluation, flip_pairs, peers, plan, start, tables, training, whole
from benchmarks.speed.floor import Floor
from benchmarks.speed.layers import Layers
from benchmarks.speed.timing import alternate
from fer_bench.core.seeds import derive, torch_generator
from fer_bench.core.spec import Augmentation, Recipe
from fer_bench.engine.augment import Views, erased_boxes
from fer_bench.engine.counters import CostCounter
from fer_bench.engine.evaluate import EVALUATION_BATCH, logits
from fer_bench.models.networks import make_network, models
from fer_bench.plugins.registry import discover

CPU = torch.device("cpu")
SEED = (3, "augment", 1, 2)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pixels(count: int, size: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


# --- the same numbers ---------------------------------------------------------------------------------------------


def slow_views(images: Tensor, recipe: Recipe) -> dict[str, Tensor]:
    """The definition of some views, operation by operation on the whole batch, as they were before they were fast."""
    mean = 255 * torch.tensor(recipe.mean).view(1, 3, 1, 1)
    scale = 1 / (255 * torch.tensor(recipe.std).view(1, 3, 1, 1))

    def coin(probability: float, *purpose: str) -> Tensor:
        return torch.rand(len(images), generator=torch_generator(*SEED, *purpose)) < probability

    def erased(view: Tensor, name: str) -> Tensor:
        top, bottom, left, right = erased_boxes(len(view), *view.shape[-2:], recipe.augmentation, *SEED, name).unbind(1)
        side = torch.arange(view.shape[-1])
        rows = (side >= top[:, None]) & (side < bottom[:, None])
        columns = (side >= left[:, None]) & (side < right[:, None])
        return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], torch.zeros(()), view)

    def mirrored(flipped: Tensor) -> Tensor:
        return torch.where(flipped[:, None, None, None], images.flip(-1), images)

    def augmented(flipped: Tensor, name: str) -> Tensor:
        view = mirrored(flipped).float()
        noisy = coin(recipe.augmentation.noise, name, "noise").nonzero().squeeze(1)
        grain = torch.randn((len(noisy), *view.shape[1:]), generator=torch_generator(*SEED, name, "noise pixels"))
        view[noisy] = (view[noisy] + grain * recipe.augmentation.noise_variance**0.5).clamp(0, 255).floor()
        return erased((view - mean) * scale, name)

    flipped = coin(recipe.augmentation.flip, "flip")
    return {
        "weak": augmented(flipped, "weak"),
        "second": augmented(coin(recipe.augmentation.flip, "second", "flip"), "second"),
        "mirror-erased": erased((mirrored(~flipped).float() - mean) * scale, "mirror-erased"),
        "plain": (images.float() - mean) * scale,
        "flipped": (mirrored(flipped).float() - mean) * scale,
    }


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_views_equal_their_definition_bit_for_bit(noise: float) -> None:
    recipe = Recipe(augmentation=Augmentation(noise=noise, erase=0.7))
    make, _ = Views(recipe, CPU).batch(pixels(33), *SEED)
    for name, expected in slow_views(pixels(33), recipe).items():
        assert torch.equal(make(name), expected), name
    assert torch.equal(make("mirror"), make("weak").flip(-1))


def test_logits_do_not_depend_on_the_batch_that_an_image_is_evaluated_in() -> None:
    """Otherwise the size of the test set would change the answer for each of its images."""
    net = make_network("ferres8", 7, seed=0, role="a", pretrained="", weights=None).eval()
    images, views = pixels(EVALUATION_BATCH + 41, 32), Views(Recipe(), CPU)
    together = logits(net, images, torch.arange(len(images)).numpy(), views, 7)
    backwards = logits(net, images, torch.arange(len(images)).flip(0).numpy(), views, 7)
    assert torch.equal(together, backwards.flip(0))


def test_the_built_in_network_begins_the_same_whether_timm_makes_it_or_not() -> None:
    ours = make_network("ferres8", 7, seed=4, role="a", pretrained="", weights=None)
    torch.manual_seed(derive(4, "weights", "a"))
    theirs = models().create_model("ferres8", num_classes=7)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


FRESH_PROCESS = """
import json, resource, sys
import torch
import fer_bench.engine.trainer
from fer_bench.engine import memory
from fer_bench.models.networks import make_network

make_network("ferres8", 7, seed=0, role="a", pretrained="", weights=None)
imported = [name for name in ("timm", "torchvision", "torch._dynamo") if name in sys.modules]

def pages():
    step = lambda: [torch.empty(2 << 20).fill_(1) for _ in range(8)]
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = pages()
memory.keep_freed_memory()
print(json.dumps({"imported": imported, "given back": given_back, "kept": pages()}))
"""


@pytest.mark.slow
def test_a_fresh_process_imports_little_and_keeps_freed_memory() -> None:
    ran = subprocess.run([sys.executable, "-c", FRESH_PROCESS], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert found["imported"] == [], "these take longer to import than a short run takes to its first step"
    assert found["kept"] < found["given back"] / 2, "pages of 4 tensors of 8 x 8 MiB each that were taken anew"


CHECKED = """
import sys
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import Request

class Checked(Exception):
    pass

def on_checked():
    raise Checked

try:
    make_plan(Request(["ce"], noise=[0.2], train_size=70), on_checked=on_checked)
except Checked:
    print("torch" in sys.modules)
"""


def test_workers_are_prepared_before_pytorch_is_imported() -> None:
    ran = subprocess.run([sys.executable, "-c", CHECKED], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n", "the process of the workers imports it at the same time, not afterwards"


# --- what the program measures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("networks", "forwards", "backwards"), [(1, 1, 1), (2, 2, 2), (1, 2, 1), (2, 5, 3)])
def test_the_floor_makes_the_passes_that_it_is_asked_for(networks: int, forwards: int, backwards: int) -> None:
    floor = Floor(Recipe(image_size=16, batch_size=4), networks, forwards, backwards)
    meter = CostCounter()
    meter.active = True
    for net in floor.nets:
        meter.attach(net)
    before = [net.fc.weight.detach().clone() for net in floor.nets]
    floor()
    meter.settle(stepped=True)
    assert (meter.forward, meter.backward) == (4 * forwards, 4 * backwards)
    assert not any(torch.equal(old, net.fc.weight) for old, net in zip(before, floor.nets, strict=True))


@pytest.mark.parametrize(
    ("method", "networks", "passes"), [("ce", 1, (1, 1)), ("jocor", 2, (2, 2)), ("lanet", 1, (2, 1))]
)
def test_a_method_is_measured_beside_the_floor_of_its_own_passes(method: str, networks: int, passes: Any) -> None:
    steps = 3
    figure = training.measure(method, "ferres8", size=16, batch=16, steps=steps)
    assert (figure["networks"], tuple(figure["passes"])) == (networks, passes)
    # the last step of an epoch ends with the epoch and is not a sample
    assert figure["step"]["samples"] == figure["floor"]["samples"] == steps - 1
    assert 0 < figure["views"]["cpu"] < figure["step"]["cpu"]
    ratio = figure["ratios"]["cpu"]
    assert ratio["step"] == figure["step"]["cpu"] / figure["floor"]["cpu"] and ratio["evaluation"] > 0


@pytest.mark.slow
def test_a_whole_training_is_measured_beside_the_floor_of_its_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "COUNTED", 160)
    figure = whole.measure("decoupling", "ferres8", size=16, batch=16, images=160, repeats=2)
    assert figure["passes"] == [2.0, 2.0]
    assert figure["ratio"] == figure["train"] / figure["floor"] > 0
    assert figure["work"] == pytest.approx(1, abs=0.01), "evaluation is not counted, and it has no layers of its own"


@pytest.mark.slow
def test_layers_of_its_own_are_work_of_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "COUNTED", 384)
    figure = whole.measure("dmue", "ferres8", size=16, batch=64, images=384, repeats=2)
    assert figure["passes"] == [1.0, 1.0] and figure["work"] > 2, "eight copies of the last stage"


@pytest.mark.slow
def test_gradients_of_gradients_are_work_of_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "COUNTED", 384)
    figure = whole.measure("har", "ferres8", size=16, batch=64, images=384, repeats=2)
    assert figure["passes"][1] < 1 < figure["work"], "the first stage trains on half of the images"


def test_passes_of_layers_are_counted_by_what_they_cost() -> None:
    layers, net = Layers(), torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU())
    with layers.counting() as counts:
        net(torch.zeros(2, 3)).sum().backward()
        net(torch.zeros(2, 3))
        net(torch.zeros(5, 3))
        with layers.paused():
            net(torch.zeros(2, 3)).sum().backward()
        loss = net(torch.ones(4, 3)).square().sum()
        torch.autograd.grad(loss, net[0].weight, create_graph=True)[0].sum().backward()
    net(torch.zeros(2, 3))
    found = {(call.layer.split()[0], call.shape[0], call.backward): count for call, count in counts.items()}
    assert found == {
        ("Linear", 2, None): 2, ("ReLU", 2, None): 2, ("Linear", 2, (False, True)): 1, ("ReLU", 2, (True, False)): 1,
        ("Linear", 5, None): 1, ("ReLU", 5, None): 1,
        ("Linear", 4, None): 1, ("ReLU", 4, None): 1, ("Linear", 4, (False, True)): 1, ("ReLU", 4, (True, False)): 1,
    }, "the net as a whole is no layer; a gradient that is differentiated is no backward pass"  # fmt: skip
    once = layers.seconds(counts, repeats=2)
    assert once > 0 and layers.seconds(counts + counts, repeats=2) == pytest.approx(2 * once), "measured once"


def test_works_alternate_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    found = alternate({name: lambda name=name: calls.append(name) for name in "ab"}, repeats=2)  # type: ignore[misc]
    assert calls == ["a", "b"] * 3 and found["a"]["samples"] == 2


def test_the_plain_loops_minimise_what_the_methods_minimise(tmp_path: Path) -> None:
    from fer_bench.method import Task

    peers.write_jpegs(tmp_path, 14, 7)
    recipe, plugins = Recipe(image_size=32, batch_size=14), discover()
    task = Task(7, 14, torch.full((7,), 2), 4, 14, noise_rate=peers.NOISE)
    for name in peers.METHODS:
        loop = peers.PlainLoop(name, tmp_path, recipe, workers=0)
        images, mirrored, labels = next(iter(loop.train))
        plain = loop.step(images, mirrored, labels)
        module = __import__(f"fer_bench_methods.{name}", fromlist=["_"])
        config = plugins[name].configure("d", "symmetric 0.2", {})
        if name == "ce":
            own = F.cross_entropy(loop.net(images), labels)
        elif name == "eac":
            maps = [loop.net.forward_features(x) for x in (images, mirrored)]
            consistency = module.attention_consistency(*maps, loop.net.get_classifier().weight)
            own = F.cross_entropy(loop.net.forward_head(maps[0]), labels) + config.lam * consistency
        elif name == "nla":
            own = module.Nla(config, task).objective(loop.net(images), loop.net(mirrored), labels, 0.5)["loss"]
        elif name == "jocor":
            joint = module.joint_loss(loop.net(images), loop.other(images), labels, config.co_lambda)
            own = joint[module.small_loss(joint, module.keep_count(14, peers.NOISE))].mean()
        else:
            pooled = loop.net.forward_head(loop.net.forward_features(images), pre_logits=True)
            alpha = loop.alpha(pooled).sigmoid().squeeze(1)
            own = F.cross_entropy(alpha[:, None] * loop.net.fc(pooled), labels)
            own = own + module.rank_loss(alpha, config.beta, config.margin_1)
        assert torch.allclose(plain, own, rtol=1e-4), name
    loop.epoch()
    assert 0 <= loop.evaluate() <= 1


def test_the_halves_of_a_flip_pair_are_normalised_apart() -> None:
    figure = flip_pairs.measure("ferres8", 16, 8, repeats=1)
    assert figure["gradient_difference"] < 1e-3 and {"two calls", "one call"} < set(figure)


def test_the_operations_of_an_evaluation_are_counted() -> None:
    figure = evaluation.measure("ferres8", 16, 8, images=130, repeats=1)
    outputs = ((8, 16, 3, 3), (4, 32, 16, 3), (2, 64, 32, 3), (2, 64, 64, 3), (2, 64, 32, 1))
    outputs += ((1, 128, 64, 3), (1, 128, 128, 3), (1, 128, 64, 1), (1, 7, 128, 1))
    assert figure["operations"]["evaluation"] == sum(
        2 * side**2 * out * into * kernel**2 for side, out, into, kernel in outputs
    )
    # backward: twice the forward pass, but no gradient of the images
    first = 2 * 8**2 * 16 * 3 * 9
    assert figure["operations"]["training"] == 3 * figure["operations"]["evaluation"] - first
    # which sizes of batch give other last digits depends on the processor
    assert set(figure["unequal"]) <= set(evaluation.OTHER_BATCHES)
    assert {"batches of 64", "training", "matrix product"} < set(figure)


def test_a_large_set_is_not_read_to_make_the_first_step() -> None:
    figure = start.large_set(20_000, 100)
    assert figure["pixel_bytes"] == 600_000_000 > 3 * figure["grown_bytes"]


# --- the program --------------------------------------------------------------------------------------------------


def test_a_stored_figure_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[bool] = []

    def work() -> dict[str, Any]:
        measured.append(True)
        return {"wall": 2.5, "slowest": 3.5, "samples": 1}

    monkeypatch.setattr(program, "figures", lambda quick: {"first step": work})
    for words, times in (([], 1), ([], 1), (["--again"], 2), (["--only", "step"], 2)):
        result = CliRunner().invoke(program.main, ["--out", str(tmp_path), *words], catch_exceptions=False)
        assert result.exit_code == 0 and len(measured) == times
    stored = json.loads((tmp_path / "speed.json").read_text())["first step"]
    assert stored["wall"] == 2.5 and stored["machine"]["cores"]


def test_the_table_says_where_a_goal_was_missed() -> None:
    def cell(ratio: float) -> dict[str, Any]:
        ratios = {"step": ratio, "views": 0.034, "evaluation": 0.2}
        return {"passes": [2, 1], "floor": {"cpu": 0.0123}, "ratios": {"cpu": ratios}}

    names = ("step ce ferres8 48 px batch 64", "step eac resnet18 224 px batch 16", "step ce ferres8 64 px batch 64")
    figures = dict(zip(names, map(cell, (1.149, 1.06, 1.5)), strict=True))
    lines = tables.markdown(figures).splitlines()
    assert lines[2] == "| ferres8 | 48 | 64 | ce | 2 / 1 | 12.3 | 1.149 | 1.15 met | 3.4 | 20.0 |"
    assert "1.05 missed" in lines[3] and "met" not in lines[4] and "missed" not in lines[4]


def test_a_training_is_judged_with_the_work_of_its_own_layers() -> None:
    figures = {
        f"training {name} ferres8 48 px batch 64": {"passes": [2.04, 1.0], "ratio": ratio, "work": work}
        for name, ratio, work in (("dmue", 4.0, 3.6), ("rul", 1.8, 1.2), ("pes", 1.0, 0.9))
    }
    assert tables.markdown(figures).splitlines()[2:] == [
        "| dmue | 2.0 / 1.0 | 4.00 | 3.60 | 1.11 | 1.3 met |",
        "| rul | 2.0 / 1.0 | 1.80 | 1.20 | 1.50 | 1.3 missed |",
        "| pes | 2.0 / 1.0 | 1.00 | 0.90 | 1.00 | 1.3 met |",
    ]


def test_every_kind_of_figure_is_shown() -> None:
    seconds = {"wall": 2.0, "cpu": 0.5}
    ratios = {
        "cpu": {"training": 3.1, "epoch": 2.9, "test only": 2.2},
        "wall": {"training": 3.3, "epoch": 3.0, "test only": 2.4},
    }
    shown = tables.markdown(
        {
            "plain loop ce ferres8 48 px batch 64 workers 0": {"plain_over_harness": ratios},
            "plain loop ce ferres8 48 px batch 64 workers 2": {"plain_over_harness": ratios},
            "augmentation 48 px": {"own": seconds, "machine": {"cores": 2}},
            "flip pair ferres8 48 px batch 64": {"one call": seconds, "gradient_difference": 2e-6},
            "evaluation ferres8 48 px batch 64": {
                **{"evaluated": 1000, "trained": 500, "batches of 64": seconds, "training": seconds},
                **{
                    "operations": {"evaluation": 10**7, "training": 3 * 10**7, "matrix product": 10**9},
                    "matrix product": seconds,
                },
                **{"share_by_operations": 0.284, "unequal": [128]},
            },
            "memory ce ferres8 48 px": {"run": 900 << 20, "floor": 800 << 20, "above_floor_per_cached": 1.2},
            "two jobs ferres8 48 px batch 64": {"images_per_second": {"2 x 1 threads": 2000.0}, "gain": 1.4},
            "first step": {"wall": 3.25, "slowest": 4.0, "samples": 7},
            "300,000 images of 100 px": {"wall": 1.5, "grown_bytes": 30 << 20},
        }
    )
    for line in (
        "| ce | ferres8 | 48 | 64 | 0 | processor | 3.10 | 2.90 | 2.20 |",
        "| ce | ferres8 | 48 | 64 | 2 | wall | 3.30 | 3.00 | 2.40 |",
        "| augmentation 48 px | own | 500.0 |",
        "- flip pair ferres8 48 px batch 64: largest relative difference of a gradient 2.0e-06",
        "| ferres8 48 px batch 64 | batches of 64 | 0.500 | 20 |",
        "| ferres8 48 px batch 64 | training | 1.000 | 30 |",
        "| ferres8 48 px batch 64 | matrix product | 500.000 | 2 |",
        "- evaluation ferres8 48 px batch 64: 28.4 % of the operations of training; logits differ in batches of [128]",
        "- memory ce ferres8 48 px: run 900 MiB, floor 800 MiB; above it 1.20 x the cached images",
        "- two jobs ferres8 48 px batch 64: 2 x 1 threads: 2000 images/s; gain 1.40 (wall clock)",
        "- from process start to the first step: 3.2 s (wall clock; 7 starts, the slowest 4.0 s)",
        "- 300,000 images of 100 px: first step after 1.5 s (wall clock), 30 MiB more memory",
    ):
        assert line in shown.splitlines()
    assert "machine" not in shown


def test_the_plan_covers_every_method_and_its_quick_part_is_a_part() -> None:
    whole = plan.figures(quick=False)
    for method in discover():
        assert f"training {method} ferres8 48 px batch 64" in whole
    assert set(plan.figures(quick=True)) < set(whole)
