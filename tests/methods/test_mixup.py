"""Properties of mixup."""

from __future__ import annotations

import math

import fer_bench_methods.mixup as mixup
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Task
from fer_bench.ops import Mix
from fer_bench.plugins.registry import discover
from fer_bench.testing.bench import Bench

B, C = 8, 7
CE = F.cross_entropy


def logits(seed: int = 0) -> Tensor:
    return torch.randn(B, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LABELS = torch.tensor([0, 3, 3, 6, 1, 2, 5, 0])
PARTNER = torch.tensor([1, 0, 3, 4, 5, 6, 7, 2])


def test_ends_are_plain_cross_entropy() -> None:
    z = logits().requires_grad_()
    loss = mixup.mixed_cross_entropy(z, LABELS, Mix(1.0, PARTNER))
    assert torch.equal(loss, CE(z, LABELS))
    torch.testing.assert_close(torch.autograd.grad(loss, z), torch.autograd.grad(CE(z, LABELS), z))
    assert torch.equal(mixup.mixed_cross_entropy(z, LABELS, Mix(0.0, PARTNER)), CE(z, LABELS[PARTNER]))
    unmoved = mixup.mixed_cross_entropy(z, LABELS, Mix(0.3, torch.arange(B)))
    torch.testing.assert_close(unmoved, CE(z, LABELS))


def test_loss_is_that_of_the_mixed_label() -> None:
    z, mix = logits().requires_grad_(), Mix(0.3, PARTNER)
    target = mix(F.one_hot(LABELS, C).double())
    loss = mixup.mixed_cross_entropy(z, LABELS, mix)
    torch.testing.assert_close(loss, CE(z, target))
    (grad,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(grad, (F.softmax(z, dim=1) - target) / B)


def test_loss_is_linear_in_lambda_and_symmetric_under_a_swap() -> None:
    z = logits()
    at = {share: mixup.mixed_cross_entropy(z, LABELS, Mix(share, PARTNER)) for share in (0.0, 0.25, 1.0)}
    torch.testing.assert_close(at[0.25], 0.25 * at[1.0] + 0.75 * at[0.0])
    swap = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6])
    half = mixup.mixed_cross_entropy(z, LABELS, Mix(0.5, swap))
    torch.testing.assert_close(half, mixup.mixed_cross_entropy(z, LABELS[swap], Mix(0.5, swap)))


class Net(nn.Module):
    """A linear network that keeps what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 4 * 4, C)

    def forward(self, x: Tensor) -> Tensor:
        self.given = x
        return self.fc(x.flatten(1))


class Run:
    def generator(self, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(5)


def trained(alpha: float, count: int = B) -> tuple[mixup.Mixup, Batch, Tensor]:
    torch.manual_seed(0)
    method = mixup.Mixup(mixup.Mixup.Config(alpha=alpha), Task(C, B, torch.ones(C, dtype=torch.int64), 3, B))
    method.build(lambda role: Net())
    images = torch.randn(count, 3, 4, 4)
    return method, Batch(torch.arange(count), LABELS[:count], lambda name: images, ("weak",)), images


def test_the_network_sees_one_combination_and_the_batch_stays() -> None:
    method, batch, images = trained(1.0)
    before = images.clone()
    loss = method.loss(batch, Run())
    mixed = method.net.given
    assert not torch.equal(mixed, images) and torch.equal(images, before)
    assert torch.equal(batch.label, LABELS)
    torch.testing.assert_close(mixed.mean(dim=0), images.mean(dim=0))
    # one lambda for all rows: two unknowns explain every row
    mix = mixup.draw_mix(B, 1.0, Run().generator("mixup"))
    torch.testing.assert_close(mixed, mix.share * images + (1 - mix.share) * images[mix.partner])
    assert loss.isfinite() and torch.equal(loss, method.loss(batch, Run()))


def test_without_mixing_it_is_cross_entropy() -> None:
    method, batch, images = trained(0.0)
    assert torch.equal(method.loss(batch, Run()), CE(method.net(images), LABELS))
    assert torch.equal(method.net.given, images)


def test_one_face_mixes_with_itself_and_predict_does_not_mix() -> None:
    method, batch, images = trained(1.0, count=1)
    torch.testing.assert_close(method.loss(batch, Run()), CE(method.net(images), batch.label))
    method.predict(images)
    assert method.net.given is images


def test_bounds() -> None:
    with pytest.raises(ValueError, match="alpha = -1"):
        mixup.Mixup.Config(alpha=-1)


@pytest.mark.filterwarnings("ignore:imbalance factor")
@pytest.mark.parametrize(("noise", "factor"), [(0.4, 1.0), (0.0, 50.0), (0.4, 50.0)])
def test_trains_under_noise_and_imbalance(bench: Bench, noise: float, factor: float) -> None:
    folder, _ = bench.trained(discover()["mixup"], noise, factor)
    assert all(math.isfinite(record["train"]["loss"]) for record in folder.epochs())
