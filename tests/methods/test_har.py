"""Properties of HAR."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import fer_bench_methods.har as har
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Task
from fer_bench.models.ferres8 import FerRes8
from fer_bench.plugins.registry import discover
from fer_bench.testing.bench import Bench

C, B = 7, 6
COUNTS = torch.tensor([30, 20, 10, 6, 4, 2, 1])
LABELS = torch.tensor([0, 1, 3, 6, 2, 0])


def images(seed: int = 0, count: int = B) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Net(nn.Module):
    """Three convolutions with batch norm; the activations may be in place."""

    def __init__(self, inplace: bool = False, norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        widths = ((3, 4), (4, 5), (5, 6))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in widths)
        self.norms = nn.ModuleList(norm(b) for _, b in widths)
        self.act = nn.ReLU(inplace=inplace)
        self.fc = nn.Linear(6, C)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.act(norm(conv(x)))
        return self.fc(x.mean(dim=(2, 3)))

    def get_classifier(self) -> nn.Linear:
        return self.fc


def net(**options: Any) -> Net:
    torch.manual_seed(0)
    return Net(**options).double().train()


def norms_of(network: nn.Module, x: Tensor, labels: Tensor = LABELS) -> tuple[Tensor, Tensor]:
    """(cross-entropy, norms [B, L])."""
    taps = har.Taps(network)
    with taps.open() as seen:
        loss = F.cross_entropy(network(x), labels)
    return loss, har.gradient_norms(loss, seen)


def test_strengths() -> None:
    accuracy = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], dtype=torch.float64)
    q = har.class_strengths(accuracy, COUNTS)
    expected = (1 - accuracy) ** 0.6 / COUNTS.double() ** 0.4
    torch.testing.assert_close(q, expected / expected.max())
    assert float(q.max()) == 1 and bool((q.diff() > 0).all())
    flat = har.class_strengths(torch.full((C,), 0.4, dtype=torch.float64), torch.full((C,), 9))
    assert flat.tolist() == [1.0] * C
    assert har.class_strengths(torch.ones(C), COUNTS).tolist() == [0.0] * C
    accuracy[0] = 1.0
    assert float(har.class_strengths(accuracy, COUNTS)[0]) == 0


def test_unknown_and_absent_classes() -> None:
    accuracy = torch.tensor([0.5, 0.9, math.nan, math.nan], dtype=torch.float64)
    q = har.class_strengths(accuracy, torch.tensor([10, 10, 10, 0]))
    assert float(q[3]) == 0 and float(q[1]) < float(q[2]) < float(q[0])
    predicted, labels = torch.tensor([0, 0, 2, 1]), torch.tensor([0, 0, 2, 2])
    found = har.class_accuracy(predicted, labels, 4)
    assert found[[0, 2]].tolist() == [1.0, 0.5] and bool(found[[1, 3]].isnan().all())
    assert bool(har.class_strengths(torch.full((4,), math.nan), torch.tensor([3, 0, 0, 0])).isfinite().all())


def test_the_penalty_is_that_of_the_normalised_activations() -> None:
    network = net()
    _, norms = norms_of(network, images())
    assert norms.shape == (B, 2), "the first batch norm is left out"
    # by hand: the same network with the affine part of the last norm taken apart
    x = images()
    for conv, norm in zip(network.convs[:2], network.norms[:2], strict=True):
        x = F.relu(norm(conv(x)))
    h = F.batch_norm(network.convs[2](x), None, None, training=True).detach().requires_grad_()
    last = network.norms[2]
    logits = network.fc(F.relu(h * last.weight[:, None, None] + last.bias[:, None, None]).mean(dim=(2, 3)))
    (grad,) = torch.autograd.grad(F.cross_entropy(logits, LABELS), h)
    torch.testing.assert_close(norms[:, 1], grad.flatten(1).norm(dim=1))


def test_scaling_gamma_and_the_next_layer_changes_nothing() -> None:
    plain, scaled = net(), net()
    with torch.no_grad():
        scaled.norms[2].weight.mul_(3)
        scaled.norms[2].bias.mul_(3)
        scaled.fc.weight.div_(3)
    torch.testing.assert_close(norms_of(scaled, images())[1], norms_of(plain, images())[1])


def test_activations_in_place_do_no_harm() -> None:
    a, b = norms_of(net(), images()), norms_of(net(inplace=True), images())
    torch.testing.assert_close(a, b)


def test_penalty_is_linear_and_shrinks_with_the_batch() -> None:
    _, norms = norms_of(net(), images())
    strengths = torch.linspace(0.1, 1, B, dtype=torch.float64)
    torch.testing.assert_close(har.penalty(norms, 2 * strengths), 2 * har.penalty(norms, strengths))
    assert float(har.penalty(norms, torch.zeros(B)).detach()) == 0
    _, twice = norms_of(net(), images().repeat(2, 1, 1, 1), LABELS.repeat(2))
    torch.testing.assert_close(har.penalty(twice, strengths.repeat(2)), har.penalty(norms, strengths) / 2)


def test_gradient_by_finite_differences() -> None:
    network, strengths = net(), torch.linspace(0.1, 1, B, dtype=torch.float64)

    def total() -> Tensor:
        loss, norms = norms_of(network, images())
        return loss + 10 * har.penalty(norms, strengths)

    places = {network.norms[1].weight: (2,), network.convs[1].weight: (1, 2, 0, 1), network.fc.bias: (3,)}
    for parameter, place in places.items():
        (grad,) = torch.autograd.grad(total(), parameter)
        ends = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                parameter[place] += step
            ends.append(total().detach())
            with torch.no_grad():
                parameter[place] -= step
        assert float(grad[place]) == pytest.approx(float(ends[0] - ends[1]) / 2e-5, rel=1e-4)


def test_a_sure_batch_is_finite() -> None:
    network = net()
    with torch.no_grad():
        network.fc.weight.zero_()
        network.fc.bias.copy_(torch.tensor([1000.0] + [0.0] * 6))
    loss, norms = norms_of(network, images(), torch.zeros(B, dtype=torch.int64))
    (grad,) = torch.autograd.grad(loss + norms.sum(), network.convs[0].weight)
    assert bool(norms.isfinite().all()) and bool(grad.isfinite().all())


@pytest.mark.parametrize("norm", [nn.Identity, "subclass"])
def test_networks_that_cannot_be_tapped_are_refused(norm: Any) -> None:
    class WithActivation(nn.BatchNorm2d):
        pass

    kind = WithActivation if norm == "subclass" else lambda width: nn.Identity()
    with pytest.raises(ValueError, match=r"plain nn\.BatchNorm2d"):
        har.Taps(net(norm=kind))


def built(**options: Any) -> har.Har:
    torch.manual_seed(1)
    labels = torch.repeat_interleave(torch.arange(C), COUNTS)
    task = Task(C, len(labels), COUNTS, 12, B, labels=labels)
    method = har.Har(har.Har.Config(**options), task)
    method.build(lambda role: net().float())
    return method


def test_halves() -> None:
    method = built()
    labels, held = method.task.labels, method.held
    for c in range(C - 1):
        assert 1 <= int(held[labels == c].sum()) < int(COUNTS[c])
    assert not bool(held[labels == C - 1].any())
    rows = method.epoch_indices(labels, torch.Generator().manual_seed(0))
    assert rows is not None and sorted(rows.tolist()) == (~held).nonzero().squeeze(1).tolist()
    method.on_stage_start("train", None)
    assert method.epoch_indices(labels, torch.Generator()) is None


def test_without_a_penalty_it_is_cross_entropy() -> None:
    x = images().float()
    losses = {}
    for name, options in {"none": {"reg_weight": 0.0}, "weight": {"reg_weight": 10.0}}.items():
        method = built(**options)
        loss = method.objective(x, LABELS)["loss"]
        losses[name] = torch.autograd.grad(loss, list(method.net.parameters()))
        ce = F.cross_entropy(built().net(x), LABELS)
        torch.testing.assert_close(loss, ce)  # strengths are 0 until the first stage ends
    torch.testing.assert_close(losses["none"], losses["weight"])


def test_the_weight_is_for_batches_of_128() -> None:
    method = built(reg_weight=2.0)
    method.strengths.fill_(1.0)
    parts = method.objective(images().float(), LABELS)
    _, norms = norms_of(net().float(), images().float())
    torch.testing.assert_close(parts["penalty"], 2.0 * B / 128 * norms.sum(dim=1).mean(), rtol=1e-4, atol=1e-7)


def test_no_hook_is_active_outside_of_training() -> None:
    method = built()
    method.estimating.fill_(False)
    with torch.no_grad():
        method.predict(images().float())
    assert method.taps._seen is None


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"reg_weight": -1.0}, "reg_weight"),
        ({"estimate": 0.0}, "estimate"),
        ({"drw_start": 1.5}, "drw_start"),
        ({"beta": 1.0}, "beta"),
    ],
)
def test_bounds(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} = "):
        har.Har.Config(**options)


@pytest.mark.filterwarnings("ignore:imbalance factor")
@pytest.mark.parametrize(("noise", "factor"), [(0.4, 1.0), (0.4, 50.0)])
def test_trains_under_noise_and_imbalance(bench: Bench, noise: float, factor: float) -> None:
    folder, seen = bench.trained(discover()["har"], noise, factor)
    assert all(math.isfinite(record["train"]["loss"]) for record in folder.epochs())
    assert float(seen.method.strengths.max()) == 1 and not bool(seen.method.estimating)
    held, trained = seen.method.held, torch.cat([batch.index for batch in seen.batches])
    count = int((~held).sum())  # the first stage is one epoch of the half that is not held out
    assert sorted(trained[:count].tolist()) == (~held).nonzero().squeeze(1).tolist()
    assert sorted(trained[count:].tolist()) == list(range(len(held)))


def test_options_train(tmp_path: Path) -> None:
    plugin, bench = discover()["har"], Bench(tmp_path)
    spec = bench.spec(plugin, 0.4, 10.0, epochs=4)
    spec.config.update(drw=True, drw_start=0.5)
    folder, _ = bench.train(plugin, spec, "options")
    assert folder.state == "done"


def test_a_residual_network_is_tapped_at_its_shortcuts_too() -> None:
    network = FerRes8(C, widths=(4, 4, 6, 8)).double().train()
    x = torch.randn(B, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert norms_of(network, x)[1].shape == (B, 7)
