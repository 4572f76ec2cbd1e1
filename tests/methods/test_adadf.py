"""Properties of Ada-DF."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import fer_bench_methods.adadf as adadf
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Task
from fer_bench.models.ferres8 import FerRes8
from fer_bench.plugins.registry import discover
from fer_bench.testing.bench import Bench

B, C = 10, 7
LABELS = torch.tensor([0, 3, 3, 6, 1, 2, 5, 0, 4, 4])


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(seed: int, *shape: int) -> Tensor:
    return (torch.randn(*shape, generator=stream(seed), dtype=torch.float64)).requires_grad_()


def task(pretrained: bool = False) -> Task:
    return Task(C, 30, torch.ones(C, dtype=torch.int64), 75, B, pretrained=pretrained)


def bare(**options: Any) -> adadf.Adadf:
    return adadf.Adadf(adadf.Adadf.Config(**options), task())


def built(pretrained: bool = False, **options: Any) -> adadf.Adadf:
    torch.manual_seed(0)
    method = adadf.Adadf(adadf.Adadf.Config(**options), task(pretrained))
    method.build(lambda role: FerRes8(C, widths=(4, 4, 6, 8)))
    return method.train()


class Run:
    """What a step asks of the harness; it keeps the gradient of the loss."""

    epoch, epochs, device = 4, 75, torch.device("cpu")

    def minimize(self, loss: Tensor, *names: str) -> None:
        loss.backward()


def test_ramps_meet_at_beta() -> None:
    assert adadf.ramps(3, 3.0) == (1.0, 1.0)
    assert adadf.ramps(2, 3.0)[0] < 1 and adadf.ramps(4, 3.0)[1] < 1
    near = adadf.ramps(1000, 3.0)
    assert near[0] == 1 and near[1] == pytest.approx(math.exp(-1), abs=3e-3)
    assert adadf.ramps(1, 3.0, 0.25) == (0.25, 0.75)
    assert bare().beta_epochs == 3.0 and bare(beta=0.001).beta_epochs == 1.0


def test_attention_is_stretched() -> None:
    a = torch.sigmoid(random(0, B)).detach()
    g = adadf.rescaled(a, 0.2, 1.0)
    assert float(g.min()) == pytest.approx(0.2) and float(g.max()) == pytest.approx(1.0)
    assert torch.equal(g.argsort(), a.argsort())
    assert bool((adadf.rescaled(torch.full((B,), 0.5), 0.2, 1.0) == 1).all())


def test_the_most_certain_face_learns_its_class() -> None:
    rows = torch.softmax(random(1, C, C), dim=1).detach()
    g = adadf.rescaled(torch.sigmoid(random(0, B)), 0.2, 1.0)
    q = adadf.fused_target(random(2, B, C), LABELS, g, rows)
    torch.testing.assert_close(q.sum(dim=1), torch.ones(B, dtype=torch.float64))
    sure = int(g.argmax())
    torch.testing.assert_close(q[sure], rows[LABELS[sure]])


def test_divergence() -> None:
    z = random(0, B, C)
    assert float(adadf.divergence(F.softmax(z, dim=1), z).detach()) == pytest.approx(0, abs=1e-12)
    q = torch.softmax(random(1, B, C), dim=1)
    expected = F.kl_div(F.log_softmax(z, dim=1), q, reduction="batchmean")
    torch.testing.assert_close(adadf.divergence(q, z), expected)
    # a class of probability 0 adds nothing, and no NaN to the gradient
    far = torch.tensor([[0.0, 2000.0, 0.0]], dtype=torch.float64, requires_grad=True)
    value = adadf.divergence(F.softmax(far, dim=1), random(3, 1, 3))
    (grad,) = torch.autograd.grad(value, far)
    assert bool(value.isfinite()) and bool(grad.isfinite().all())


def test_class_distributions() -> None:
    p = torch.softmax(4 * random(0, 60, C), dim=1).detach()
    labels = torch.where(torch.rand(60, generator=stream(1)) < 0.7, p.argmax(dim=1), torch.arange(60) % 5)
    labels[labels == 6] = 0
    rows = adadf.class_distributions(p, labels, C, 0.5)
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(C, dtype=torch.float64))
    above = 0
    for c in range(C):
        mean = p[labels == c].mean(dim=0)
        if float(mean[c]) >= 0.5:
            above += 1
            torch.testing.assert_close(rows[c], mean)
        else:
            torch.testing.assert_close(rows[c], adadf.initial_distributions(C, 0.5)[c])
    assert 0 < above < C and 6 not in labels.tolist()
    order = torch.randperm(C, generator=stream(2))
    permuted = adadf.class_distributions(p[:, order], order.argsort()[labels], C, 0.5)
    torch.testing.assert_close(permuted, rows[order][:, order])
    official = adadf.class_distributions(p, labels, C, 0.5, official_fallback=True)
    assert float(official[6].sum()) == pytest.approx(0.9)
    torch.testing.assert_close(adadf.initial_distributions(C, 0.7).sum(dim=1), torch.ones(C, dtype=torch.float64))


@pytest.mark.parametrize(
    ("pretrained", "detach", "reached"),
    [(True, None, True), (False, None, False), (False, False, True), (True, True, False)],
)
def test_the_divergence_teaches_both_branches_and_perhaps_the_attention(
    pretrained: bool, detach: bool | None, reached: bool
) -> None:
    z_1, z_2, a = random(0, B, C), random(1, B, C), torch.sigmoid(random(2, B)).detach().requires_grad_()
    method = adadf.Adadf(adadf.Adadf.Config(detach_attention=detach), task(pretrained))
    kl = method.objective((z_1, z_2), a, LABELS, (1.0, 1.0))["kl"]
    grads = torch.autograd.grad(kl, (z_1, z_2, a), allow_unused=True)
    assert bool((grads[0] != 0).any()) and bool((grads[1] != 0).any())
    assert (grads[2] is not None and bool((grads[2] != 0).any())) == reached


def test_branches_start_alike_and_the_target_branch_answers() -> None:
    method = built()
    images = torch.randn(B, 3, 32, 32, generator=stream(0))
    method.eval()
    maps = method._auxiliary[0](images)
    (z_1, a_1), (z_2, a_2) = method.branch_1(maps), method.branch_2(maps)
    torch.testing.assert_close(z_1 / a_1[:, None], z_2 / a_2[:, None])
    assert not torch.equal(a_1, a_2)
    before = method.predict(images)
    with torch.no_grad():
        method.net.get_classifier().weight.zero_()
        method.attention_1.weight.zero_()
    assert torch.equal(method.predict(images), before)
    assert not torch.equal(method.other_predictions(images)["auxiliary branch"], before)


@pytest.mark.parametrize(
    ("pretrained", "freeze", "frozen"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
def test_the_stem_is_frozen_where_it_is_pretrained(pretrained: bool, freeze: bool | None, frozen: bool) -> None:
    method, run = built(pretrained, freeze_stem=freeze), Run()
    images = torch.randn(B, 3, 32, 32, generator=stream(0))
    log = method.train_step(Batch(torch.arange(B), LABELS, lambda name: images, ("weak",)), run)
    assert all(math.isfinite(float(value)) for value in log.values())
    stem = {id(p) for p in method.net.stem.parameters()}
    assert len(stem) == 6
    for parameter in method.parameters():
        assert (parameter.grad is None) == (frozen and id(parameter) in stem)


def test_a_network_without_a_stem_is_refused() -> None:
    method = bare()
    with pytest.raises(ValueError, match="Ada-DF needs a network"):
        method.build(lambda role: Shallow())


class Shallow(FerRes8):
    """A network that ends at stride 4."""

    def __init__(self) -> None:
        super().__init__(C, widths=(4, 4, 4, 4))
        self.block1 = self.block2 = torch.nn.Identity()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"threshold": 1.5}, "threshold"),
        ({"beta": 0.0}, "beta"),
        ({"margin": -0.1}, "margin"),
        ({"alpha": 2.0}, "alpha"),
        ({"min_weight": 0.5, "max_weight": 0.4}, "min_weight"),
    ],
)
def test_bounds(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} = "):
        adadf.Adadf.Config(**options)


@pytest.mark.filterwarnings("ignore:imbalance factor")
@pytest.mark.parametrize(("noise", "factor"), [(0.4, 1.0), (0.4, 50.0)])
def test_trains_under_noise_and_imbalance(bench: Bench, noise: float, factor: float) -> None:
    folder, seen = bench.trained(discover()["adadf"], noise, factor)
    assert all(math.isfinite(record["train"]["loss"]) for record in folder.epochs())
    rows = seen.method.distributions
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(len(rows), dtype=torch.float64), rtol=1e-5, atol=1e-5)


def test_options_train(tmp_path: Path) -> None:
    plugin, bench = discover()["adadf"], Bench(tmp_path)
    spec = bench.spec(plugin, 0.4)
    spec.config.update(distribution_view="plain", official_fallback=True, alpha=0.5)
    folder, seen = bench.train(plugin, spec, "options")
    assert folder.state == "done" and float(seen.method.distributions.sum(dim=1).max()) > 1.05
