"""Properties of logit adjustment, post-hoc and in the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import fer_bench_methods.balanced_softmax as bs
import fer_bench_methods.logit_adjustment as la
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Task

C, B = 7, 12
LABELS = torch.arange(B) % C
RAF = torch.tensor([1290, 281, 717, 4772, 1982, 705, 2524])
ABSENT = torch.tensor([500, 20, 0, 60, 7, 1, 90])


def logits(seed: int = 0, scale: float = 2.0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(B, C, generator=generator, dtype=dtype) * scale).requires_grad_()


def build(counts: Tensor = RAF, **options: Any) -> la.LogitAdjustment:
    """The method around a network that answers with what it is shown."""
    task = Task(num_classes=C, num_samples=B, class_counts=counts, epochs=4, batch_size=B)
    method = la.LogitAdjustment(la.LogitAdjustment.Config(**options), task)
    method.build(lambda role: nn.Identity())
    return method


def batch(z: Tensor, labels: Tensor = LABELS) -> Batch:
    return Batch(torch.arange(len(z)), labels, lambda name: z, ("weak",))


def loss_of(method: la.LogitAdjustment, z: Tensor, labels: Tensor = LABELS) -> Tensor:
    return method.loss(batch(z, labels), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("tau", [0.0, 1.0, 2.0])
def test_equal_counts_change_nothing(tau: float) -> None:
    z, equal = logits(dtype=torch.float32), torch.full((C,), 300)
    ce = F.cross_entropy(z, LABELS)
    torch.testing.assert_close(loss_of(build(equal, variant="loss", tau=tau), z), ce)
    assert torch.equal(build(equal, tau=tau).predict(z).argmax(dim=1), z.argmax(dim=1))


def test_tau_0_is_cross_entropy() -> None:
    z = logits(1, dtype=torch.float32)
    for variant in ("loss", "posthoc"):
        method = build(tau=0.0, variant=variant)
        torch.testing.assert_close(loss_of(method, z), F.cross_entropy(z, LABELS))
        torch.testing.assert_close(method.predict(z), z)


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_scaling_all_counts_changes_nothing(tau: float) -> None:
    a, b = la.log_prior(RAF, tau), la.log_prior(RAF * 17, tau)
    torch.testing.assert_close(a, b)


def test_the_loss_at_tau_1_is_balanced_softmax() -> None:
    z = logits(2, dtype=torch.float32)
    ours = loss_of(build(variant="loss"), z)
    torch.testing.assert_close(ours, bs.balanced_softmax_loss(z, LABELS, bs.log_prior(RAF)), rtol=1e-6, atol=1e-6)
    (grad,) = torch.autograd.grad(ours, z)
    a = la.log_prior(RAF, 1.0).float()
    torch.testing.assert_close(grad, (F.softmax(z + a, dim=1) - F.one_hot(LABELS, C)) / B)


def test_posthoc_trains_by_cross_entropy_and_answers_adjusted() -> None:
    z, method = logits(3, dtype=torch.float32), build()
    assert torch.equal(loss_of(method, z), F.cross_entropy(z, LABELS))
    torch.testing.assert_close(method.predict(z), (z - (RAF / RAF.sum()).log()))
    assert torch.equal(method.other_predictions(z)["unadjusted"], z)
    assert torch.equal(method.predict(z + 3).argmax(dim=1), method.predict(z).argmax(dim=1))


def test_the_answer_of_the_loss_form_has_no_prior_in_it() -> None:
    z, method = logits(4, dtype=torch.float32), build(variant="loss")
    assert torch.equal(method.predict(z), z)
    torch.testing.assert_close(method.other_predictions(z)["with prior"], z + la.log_prior(RAF, 1.0).float())


def test_a_larger_tau_names_rare_classes_more_often() -> None:
    z = torch.randn(500, C, generator=torch.Generator().manual_seed(5)) * 2
    rarest = RAF.argmin()
    named = [int((build(tau=tau).predict(z).argmax(dim=1) == rarest).sum()) for tau in (0.0, 0.5, 1.0, 1.5, 2.0)]
    assert named == sorted(named) and named[-1] > named[0]


def test_the_epsilon_is_a_floor() -> None:
    counts = torch.tensor([6632, 1])
    assert la.log_prior(counts, 4.0)[1].item() == pytest.approx(math.log(1e-12), abs=1e-3)
    assert la.log_prior(counts, 2.0)[1].item() == pytest.approx(2 * math.log(1 / 6633), abs=1e-4)
    assert la.log_prior(counts, 4.0, epsilon=0.0)[1].item() == pytest.approx(4 * math.log(1 / 6633))


def test_an_absent_class() -> None:
    z = logits(6, dtype=torch.float32)
    assert bool((build(ABSENT, absent="official").predict(z).argmax(dim=1) == 2).all())
    ours = build(ABSENT)
    # it is treated as the most frequent class, so no image gains it
    assert ours.adjustment[2] == ours.adjustment.max() == ours.adjustment[0]
    assert bool(((ours.predict(z).argmax(dim=1) == 2) <= (z.argmax(dim=1) == 2)).all())
    # in the loss it has no part
    loss, present = build(ABSENT, variant="loss"), LABELS.clone()
    present[present == 2] = 0
    changed = z.detach().clone()
    changed[:, 2] += 5
    torch.testing.assert_close(loss_of(loss, z, present), loss_of(loss, changed, present))
    assert bool(loss.other_predictions(z)["with prior"].isfinite().all())
    with pytest.raises(ValueError, match="no training image"):
        loss_of(loss, z, LABELS)
    assert loss_of(build(ABSENT, variant="loss", absent="official"), z, LABELS).item() > 4


def test_large_logits_are_finite() -> None:
    z = torch.zeros(1, C)
    z[0, 1] = 1e4
    assert bool(loss_of(build(variant="loss"), z, torch.tensor([0])).isfinite())


def test_needs_and_remarks() -> None:
    posthoc, loss = la.LogitAdjustment.Config(), la.LogitAdjustment.Config(variant="loss", tau=1.5)
    assert (
        la.LogitAdjustment.needs(posthoc).first_stage_of == "ce" and la.LogitAdjustment.needs(loss).first_stage_of == ""
    )
    assert la.LogitAdjustment.remarks(posthoc) == ("variant posthoc, tau 1",)
    assert la.LogitAdjustment.remarks(loss) == ("variant loss, tau 1.5",)


def test_posthoc_training_is_that_of_cross_entropy(train: Callable[..., Any]) -> None:
    (_, ce), (folder, ours) = train("ce", factor=4.0), train("logit_adjustment", factor=4.0)
    theirs = dict(ce.method.named_parameters())
    assert all(torch.equal(value, theirs[name]) for name, value in ours.method.named_parameters())
    assert "unadjusted" in folder.final["other_predictions"]


def test_bounds_name_the_field() -> None:
    with pytest.raises(ValueError, match=r"tau = -1\.0 is out of range"):
        la.LogitAdjustment.Config(tau=-1.0)
