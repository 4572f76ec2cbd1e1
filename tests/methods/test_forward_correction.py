"""Properties of forward and backward loss correction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fer_bench_methods.forward_correction as fc
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Task

C, B, N = 7, 12, 40
LABELS = torch.arange(B) % C


def logits(seed: int = 0, rows: int = B, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, C, generator=generator, dtype=torch.float64) * scale).requires_grad_()


def noisy(rate: float = 0.3) -> Tensor:
    """A matrix of symmetric noise, made a little asymmetric."""
    t = torch.full((C, C), rate / (C - 1), dtype=torch.float64).fill_diagonal_(1 - rate)
    t[0, 1] += 0.1
    return t / t.sum(dim=1, keepdim=True)


def build(labels: Tensor | None = None, **options: Any) -> fc.ForwardCorrection:
    """The method around networks that answer with what they are shown."""
    labels = torch.arange(N) % C if labels is None else labels
    counts = torch.bincount(labels, minlength=C)
    task = Task(num_classes=C, num_samples=N, class_counts=counts, epochs=4, batch_size=B, labels=labels)
    method = fc.ForwardCorrection(fc.ForwardCorrection.Config(**options), task)
    method.build(lambda role: nn.Identity())
    return method


# --- the loss


@pytest.mark.parametrize("correction", ["forward", "backward"])
def test_without_noise_it_is_cross_entropy(correction: fc.Correction) -> None:
    z = logits()
    loss = fc.corrected_loss(z, LABELS, torch.eye(C, dtype=torch.float64), correction)
    torch.testing.assert_close(loss, F.cross_entropy(z, LABELS, reduction="none"))
    # but for the clipping, at which the gradient ends
    far = torch.zeros(1, C)
    far[0, 1] = 1000.0
    far.requires_grad_()
    clipped = fc.corrected_loss(far, torch.tensor([0]), torch.eye(C), correction)
    assert clipped.item() == pytest.approx(16.118095, rel=1e-5)
    assert bool((torch.autograd.grad(clipped.sum(), far)[0] == 0).all())


def test_both_corrections_are_right_on_average() -> None:
    """Over the given labels of an image of class i, backward is the loss of i; forward knows the given label's."""
    z, t = logits(1), noisy()
    inverse = torch.linalg.inv(t)
    every = torch.stack([fc.corrected_loss(z, torch.full((B,), j), inverse, "backward") for j in range(C)])
    clean = -F.log_softmax(z, dim=1)
    torch.testing.assert_close((t @ every).T, clean)
    assert bool((every < 0).any())
    p = F.softmax(z, dim=1)
    forward = torch.stack([fc.corrected_loss(z, torch.full((B,), j), t) for j in range(C)])
    torch.testing.assert_close(forward.exp().reciprocal().T, p @ t)


def test_a_matrix_that_tells_nothing_teaches_nothing() -> None:
    z = logits(2)
    loss = fc.corrected_loss(z, LABELS, torch.full((C, C), 1 / C, dtype=torch.float64))
    assert torch.autograd.grad(loss.sum(), z)[0].abs().max() < 1e-12


def test_gradients_of_sure_answers_are_finite() -> None:
    z = torch.zeros(C, C)
    z.fill_diagonal_(200.0)
    z.requires_grad_()
    for kind, matrix in (("forward", noisy().float()), ("backward", torch.linalg.inv(noisy()).float())):
        loss = fc.corrected_loss(z, torch.arange(C).roll(1), matrix, kind).sum()
        assert bool(torch.autograd.grad(loss, z)[0].isfinite().all())


# --- the matrix


def test_anchors_without_a_filter() -> None:
    p = F.softmax(logits(3, rows=60), dim=1)
    t = fc.estimate_transition(p)
    torch.testing.assert_close(t.sum(dim=1), torch.ones(C, dtype=torch.float64))
    torch.testing.assert_close(t.diagonal(), p.max(dim=0).values.detach())
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fc.estimate_transition(p[order]), t)
    # a network that is sure of everything sees no noise, and forward correction is cross-entropy
    torch.testing.assert_close(fc.estimate_transition(F.one_hot(LABELS, C)), torch.eye(C, dtype=torch.float64))


def test_the_filter_takes_the_largest_entry_of_a_small_set() -> None:
    p = F.softmax(logits(4, rows=12), dim=1)
    before = p.detach().clone()
    t = fc.estimate_transition(p, outlier_filter=True)
    assert torch.equal(p, before)
    first = p[:, 0].argsort(descending=True)[1]  # the second largest is the anchor of the first class
    row = p[first].detach().clone()
    row[0] = p[first, 0]
    torch.testing.assert_close(t[0], row / row.sum())
    assert bool((t >= 0).all())


def test_the_filter_takes_the_whole_of_a_rare_class() -> None:
    """What the default leaves out for: 2 images of 100 are less than the 3 % that go."""
    labels = torch.cat([torch.zeros(98, dtype=torch.int64), torch.ones(2, dtype=torch.int64)])
    surer_of_1 = torch.linspace(0, 1e-3, 100).double()
    p = 0.8 * F.one_hot(labels, 2).double() + 0.1 + torch.stack([-surer_of_1, surer_of_1], dim=1)
    assert fc.estimate_transition(p)[1, 1] > 0.8
    assert fc.estimate_transition(p, outlier_filter=True)[1, 1] < 0.2


def test_the_best_epoch_on_held_out_rows_is_kept() -> None:
    method = build()
    labels = method.task.labels
    good = F.softmax(3 * F.one_hot(labels, C).float(), dim=1)
    bad = good.roll(1, dims=1)
    for probability, kept in ((bad, bad), (good, good), (bad, good)):
        method.keep_if_best(probability)
        assert torch.equal(method.probability, kept)
    # rows that are trained on have no part in the choice
    worse = torch.where(method.held[:, None], good, bad)
    before = method.best_loss.clone()
    method.keep_if_best(worse)
    assert torch.equal(method.best_loss, before) and torch.equal(method.probability, good)


def test_held_out_rows_are_not_visited() -> None:
    method = build(held_out=0.2)
    assert set(method.task.labels[method.held].tolist()) == set(range(C))
    rows = method.epoch_indices(method.task.labels, torch.Generator().manual_seed(0))
    assert rows is not None and sorted(rows.tolist()) == (~method.held).nonzero().squeeze(1).tolist()
    method.in_second.fill_(True)
    assert method.epoch_indices(method.task.labels, torch.Generator()) is None
    assert build(estimate_from="last").epoch_indices(method.task.labels, torch.Generator()) is None


def test_backward_refuses_a_matrix_that_is_nearly_singular() -> None:
    same = torch.full((N, C), 1 / C)
    with pytest.raises(ValueError, match=r"condition number .* use correction='forward'"):
        build(correction="backward").take_transition(same)
    method = build()
    method.take_transition(same)
    assert torch.equal(method.matrix, method.transition) and bool(method.condition.isfinite())
    method = build(correction="backward")
    p = F.softmax(3 * F.one_hot(method.task.labels, C).float(), dim=1)
    method.take_transition(p)
    torch.testing.assert_close(method.matrix @ method.transition, torch.eye(C))


def test_a_class_without_labels_is_said() -> None:
    method = build(labels=torch.arange(N) % (C - 1))
    with pytest.warns(UserWarning, match=r"classes \[6\] have no label"):
        method.take_transition(F.softmax(logits(5, rows=N), dim=1))


# --- training


def test_two_networks_one_after_the_other(train: Callable[..., Any]) -> None:
    folder, seen = train("forward_correction", epochs=3, estimate_from="last")
    _, ce = train("ce", epochs=3)
    method = seen.method.eval()
    assert [record["stage"] for record in folder.epochs()] == ["estimate"] * 3 + ["correct"] * 3
    # the first stage is that of cross-entropy, number for number, and the second has a network of its own
    theirs = dict(ce.method.net.named_parameters())
    assert all(torch.equal(value, theirs[name]) for name, value in method.net.named_parameters())
    assert not torch.equal(seen.start["net.fc.weight"], seen.start["corrected.fc.weight"])
    for stage, trained in (("estimate", method.net), ("correct", method.corrected)):
        groups = method.optimizers(stage, lambda parameters: torch.optim.SGD(parameters, lr=0.1))["main"].param_groups
        assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in trained.parameters()}
    images = seen.batches[0].view("plain")
    assert torch.equal(method.predict(images), method.corrected(images))
    assert torch.equal(method.other_predictions(images)["first stage"], method.net(images))
    method.in_second.fill_(False)
    assert torch.equal(method.predict(images), method.net(images))
    torch.testing.assert_close(method.transition.sum(dim=1), torch.ones(len(method.transition)))
    assert folder.epochs()[-1]["train"]["diagonal"] == pytest.approx(method.transition.diagonal().mean().item())


def test_held_out_training(train: Callable[..., Any]) -> None:
    folder, seen = train("forward_correction", epochs=4, first_share=0.5)
    method = seen.method
    assert [record["stage"] for record in folder.epochs()] == ["estimate"] * 2 + ["correct"] * 2
    held = set(method.held.nonzero().squeeze(1).tolist())
    rows = torch.cat([batch.index for batch in seen.batches]).tolist()
    count = method.task.num_samples
    first = 2 * (count - len(held))
    assert held and not held & set(rows[:first]) and sorted(rows[first : first + count]) == list(range(count))
    assert bool(method.best_loss.isfinite())
    torch.testing.assert_close(method.transition.double(), fc.estimate_transition(method.probability))


def test_needs_and_remarks() -> None:
    def needs(**options: Any) -> Any:
        return fc.ForwardCorrection.needs(fc.ForwardCorrection.Config(**options))

    assert needs().first_stage_of == "" and needs(estimate_from="last").first_stage_of == "ce"
    assert needs(estimate_from="last", first_share=0.5).first_stage_of == ""
    assert needs().forwards == pytest.approx(2.9 / 1.9) and needs(estimate_from="last").forwards == 1
    remarks = fc.ForwardCorrection.remarks(fc.ForwardCorrection.Config())
    assert remarks == ("forward correction, T estimated from the epoch with the lowest loss on held-out rows",)


@pytest.mark.parametrize(("name", "value"), [("held_out", 0.0), ("first_share", 1.5)])
def test_bounds_name_the_field(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} = {value} is out of range"):
        fc.ForwardCorrection.Config(**{name: value})
