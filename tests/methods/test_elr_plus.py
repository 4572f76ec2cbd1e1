"""Properties of ELR+: who fills whose memory, what is mixed, and how the averages follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import fer_bench_methods.elr_plus as plus
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Task
from fer_bench.ops import Mix, draw_mix

C, N, B, D = 7, 20, 6, 5
INDEX, LABELS = torch.tensor([3, 0, 19, 7, 11, 2]), torch.tensor([1, 0, 6, 6, 2, 3])
ORDER = torch.tensor([5, 0, 3, 1, 4, 2])


class Step:
    """The harness in one step; it takes plain SGD steps and remembers the order of the networks."""

    def __init__(self, method: plus.ElrPlus, epoch: int = 3) -> None:
        self.epoch, self.epochs, self.step, self.steps, self.order = epoch, 14, 2, 10, []
        self.optimizers = method.optimizers("train", lambda p, **o: torch.optim.SGD(p, lr=0.1))

    def generator(self, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(sum(map(ord, name)))

    def minimize(self, loss: Tensor, name: str) -> None:
        self.order.append(name)
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    def record_selection(self, index: Tensor, kept: Tensor) -> None:
        assert index.shape == kept.shape and kept.dtype == torch.bool


class Rows:
    """A batch of feature rows in place of images."""

    index, label = INDEX, LABELS

    def __len__(self) -> int:
        return B

    def view(self, name: str) -> Tensor:
        assert name == "weak"
        return images()


def images() -> Tensor:
    return torch.randn(B, D, generator=torch.Generator().manual_seed(4))


def build(**options: Any) -> plus.ElrPlus:
    torch.manual_seed(0)
    method = plus.ElrPlus(plus.ElrPlus.Config(**options), Task(C, N, torch.ones(C, dtype=torch.int64), 14, B))
    method.build(lambda role: nn.Linear(D, C))
    return method.train()


def unmixed() -> Mix:
    return Mix(1.0, torch.arange(B))


def test_a_memory_is_filled_by_the_other_networks_average() -> None:
    method = build()
    method.averages[1].weight.data += 1.0
    method.parts(0, images(), LABELS, INDEX, unmixed(), 1.0)
    before = method.memory[:, 0].clone()
    assert torch.allclose(before[INDEX], 0.3 * F.softmax(method.averages[1](images()), 1))
    assert not method.memory[:, 1].any()
    method.memory.zero_()
    for net in (method.nets[0], method.nets[1], method.averages[0]):
        net.weight.data += 5.0
    method.parts(0, images(), LABELS, INDEX, Mix(0.7, ORDER), 1.0)
    assert torch.equal(method.memory[:, 0], before), (
        "neither network, nor the own average, nor the mix has a part in it"
    )


def test_the_average_sees_the_images_as_they_are_in_training_mode() -> None:
    method, seen = build(), []
    method.averages[1].register_forward_hook(lambda module, inputs, output: seen.append((module.training, inputs[0])))
    method.parts(0, images(), LABELS, INDEX, Mix(0.6, ORDER), 1.0)
    assert seen[0][0] and torch.equal(seen[0][1], images())


def test_loss_written_out() -> None:
    method, mix = build(lam=2.0), Mix(0.75, ORDER)
    logits = method.nets[0](0.75 * images() + 0.25 * images()[ORDER])
    parts = method.parts(0, images(), LABELS, INDEX, mix, 0.5)
    ce = 0.75 * F.cross_entropy(logits, LABELS) + 0.25 * F.cross_entropy(logits, LABELS[ORDER])
    t = method.memory[INDEX, 0]
    q = 0.75 * t + 0.25 * t[ORDER]
    term = torch.log(1 - (q * F.softmax(logits, 1)).sum(1)).mean()
    assert torch.allclose(parts["loss"], ce + 0.5 * 2.0 * term) and torch.allclose(parts["ce"], ce)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0, 4.0])
def test_shares_of_the_mix(alpha: float) -> None:
    shares = [draw_mix(B, alpha, torch.Generator().manual_seed(s), dominant=True).share for s in range(50)]
    assert all(0.5 <= share <= 1 for share in shares) and (alpha > 0 or set(shares) == {1.0})


def test_without_mixing_the_permutation_does_not_matter() -> None:
    losses = []
    for partner in (torch.arange(B), ORDER):
        losses.append(build().parts(0, images(), LABELS, INDEX, Mix(1.0, partner), 1.0)["loss"].item())
    assert losses[0] == losses[1]


def test_the_ramp() -> None:
    values = [plus.sigmoid_ramp(step, 100) for step in range(0, 121, 10)]
    assert values[0] == pytest.approx(math.exp(-5)) and values[10:] == [1.0] * 3 and plus.sigmoid_ramp(7, 0) == 1.0
    assert values == sorted(values)


def test_momentum_of_the_averages() -> None:
    assert plus.average_momentum(1, "ramp", 0.997, 40_000) == pytest.approx(0.00672, abs=1e-5)
    assert plus.average_momentum(50_000, "ramp", 0.997, 40_000) == 0.997
    assert [plus.average_momentum(g, "plain", 0.9, 0) for g in (1, 2, 9, 99)] == pytest.approx([1 / 2, 2 / 3, 0.9, 0.9])


def test_a_step() -> None:
    """Network 1, then network 2; each average moves after its network; averages are in no optimizer."""
    method = build(horizon=1.0, average_ramp=0.0)
    run, before = Step(method), [net.weight.clone() for net in method.averages]
    logged = method.train_step(Rows(), run)
    assert run.order == ["network 1", "network 2"] and all(v.isfinite() for v in logged.values())
    for net, average, old in zip(method.nets, method.averages, before, strict=True):
        assert torch.allclose(average.weight, 0.9 * old + 0.1 * net.weight) and average.weight.grad is None
        assert not torch.equal(net.weight, old)
    held = {id(p) for o in run.optimizers.values() for g in o.param_groups for p in g["params"]}
    assert held == {id(p) for p in method.nets.parameters()} and not any(p.requires_grad for p in
                                                                         method.averages.parameters())  # fmt: skip


def test_a_short_horizon_copies_the_network() -> None:
    method = build(horizon=0.05, average_ramp=0.0)
    method.train_step(Rows(), Step(method))
    assert torch.equal(method.averages[0].weight, method.nets[0].weight)


def test_warm_up() -> None:
    """Plain cross-entropy; memories hold the network's own answers, and averages stand still."""
    method = build(warmup=0.5)
    run, old = Step(method, epoch=6), [net.weight.clone() for net in (*method.averages, *method.nets)]
    own = F.softmax(method.nets[0](images()), 1)
    loss = F.cross_entropy(method.nets[0](images()), LABELS)
    assert method.train_step(Rows(), run)["loss"] == loss
    assert torch.allclose(method.memory[INDEX, 0], 0.3 * own)
    same = [torch.equal(net.weight, w) for net, w in zip((*method.averages, *method.nets), old, strict=True)]
    assert same == [True, True, False, False]
    method.train_step(Rows(), Step(method, epoch=7))
    assert not torch.equal(method.averages[0].weight, old[0])


def test_two_networks_answer_by_their_mean() -> None:
    method = build().eval()
    a, b = method.nets[0](images()), method.nets[1](images())
    assert not torch.allclose(a, b), "they begin with heads of their own"
    assert torch.allclose(method.predict(images()), (a + b) / 2)
    others = method.other_predictions(images())
    assert torch.equal(others["network 2"], b) and torch.allclose(others["mean of the weight averages"], (a + b) / 2)


def test_labels_times_memory() -> None:
    method = build(label_target="times-memory", lam=0.0)
    logits, memory = torch.randn(B, C), F.softmax(torch.randn(B, C), 1)
    target = F.one_hot(LABELS, C).float()
    assert torch.allclose(method.objective(logits, target, memory, 1.0)["loss"], F.cross_entropy(logits, LABELS))
    uniform = torch.full((B, C), 1 / C)
    expected = -(memory * F.log_softmax(logits, 1)).sum(1).mean()
    assert torch.allclose(method.objective(logits, uniform, memory, 1.0)["loss"], expected)


def test_wrong_settings() -> None:
    for name, value in (("lam", -1.0), ("alpha", -1.0), ("beta", 1.1), ("average_ramp", 2.0), ("horizon", 0.0)):
        with pytest.raises(ValueError, match=f"{name} = "):
            plus.ElrPlus.Config(**{name: value})


@pytest.mark.parametrize(
    ("noise", "factor", "options"),
    [(0.4, 1.0, {}), (0.0, 50.0, {"average": "plain", "coefficient_ramp": 0.5}), (0.4, 1.0, {"warmup": 0.5})],
)
def test_it_trains(train: Callable[..., Any], noise: float, factor: float, options: dict[str, Any]) -> None:
    folder, seen = train("elr_plus", noise=noise, factor=factor, epochs=2, **options)
    mass = seen.method.memory.sum(2)
    assert torch.allclose(mass, torch.full_like(mass, 1 - 0.7**2), atol=1e-5)
    assert set(folder.final["other_predictions"]) == {"network 1", "network 2", "mean of the weight averages"}
    assert seen.method.clean_score().min() >= 0 and seen.method.clean_score().max() <= 1
