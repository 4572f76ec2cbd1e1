"""Decoupled training (cRT, LWS, tau-normalisation, nearest class means): what its formulas imply, on tiny networks."""

from __future__ import annotations

import random
from typing import Any

import fer_bench_methods.crt as crt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench import ops
from fer_bench.method import Batch
from tests.helpers.options import assert_refused, assert_whole_run, runs_of_each
from tests.helpers.tiny import (
    RAF,
    C,
    N,
    TinyNet,
    TinyRun,
    batch_for,
    build,
    labels,
    number,
    seeded,
    task,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"bn_train": True, "lr_schedule": "cosine", "classifier_sampler": "sqrt"},
    {"variant": "lws", "lr_schedule": "official", "classifier_sampler": "instance"},
    {"variant": "lws", "scale_bias": False, "sampler": "progressive", "progressive": "paper"},
    {"variant": "tau", "sampler": "class_aware", "samples_per_class": 1},
    {"variant": "tau", "tau_choice": "train", "sampler": "sqrt"},
    {"variant": "tau", "tau": 0.0, "sampler": "progressive"},
    {"variant": "ncm"},
    {"variant": "ncm", "features": "un", "distance": "l2"},
    {"variant": "ncm", "features": "l2n", "distance": "cos"},
]


@runs_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epochs: int) -> None:
    assert_whole_run(crt.Crt, options, epochs)


@pytest.mark.parametrize(("name", "value"), [("share", 1.5), ("samples_per_class", 0), ("tau", -1.0)])
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(crt.Crt, name, value)


SMALL = torch.tensor([40, 3, 12, 200, 75, 9, 130])


SMALL_LABELS = torch.arange(C).repeat_interleave(SMALL)


def test_sampling_probabilities() -> None:
    for q in (0.0, 0.5, 1.0):
        assert number(ops.class_probability(RAF, q).sum()) == pytest.approx(1)
        torch.testing.assert_close(ops.class_probability(torch.full((C,), 9), q), torch.full((C,), 1 / C).double())
    absent = ops.class_probability(torch.tensor([4, 0, 4]), 0.0)
    assert absent.tolist() == [0.5, 0, 0.5]
    natural, balanced = ops.class_probability(RAF, 1.0), ops.class_probability(RAF, 0.0)
    for formula, last in (("official", balanced), ("paper", 0.1 * natural + 0.9 * balanced)):
        torch.testing.assert_close(crt.progressive_probability(RAF, 0, 10, formula), natural)
        torch.testing.assert_close(crt.progressive_probability(RAF, 9, 10, formula), last)
    torch.testing.assert_close(crt.progressive_probability(RAF, 0, 1), natural)


@pytest.mark.parametrize("per_class", [1, 4])
def test_class_aware_rows(per_class: int) -> None:
    rows = crt.class_aware_rows(SMALL_LABELS, 20 * C * per_class, per_class, ops.generator_shuffle(seeded()))
    drawn = SMALL_LABELS[rows].view(-1, C, per_class)
    for block in drawn:  # each class exactly once in every C blocks
        assert sorted(block[:, 0].tolist()) == list(range(C)) and bool((block == block[:, :1]).all())
    # no sample comes again before all others of its class did
    for c in range(C):
        mine = rows[SMALL_LABELS[rows] == c].tolist()
        size = int(SMALL[c])
        for start in range(0, len(mine) - size + 1, size):
            assert len(set(mine[start : start + size])) == size
    again = crt.class_aware_rows(SMALL_LABELS, 20 * C * per_class, per_class, ops.generator_shuffle(seeded()))
    assert torch.equal(rows, again)
    assert len(crt.class_aware_rows(SMALL_LABELS, 11, per_class, random.Random(0).shuffle)) == 11


def test_independent_and_cycling_rows() -> None:
    probability = ops.class_probability(SMALL, 0.5)
    for draw in (ops.independent_rows, crt.class_cycle_rows):
        rows = draw(SMALL_LABELS, probability, 20_000, seeded())
        share = torch.bincount(SMALL_LABELS[rows], minlength=C) / 20_000
        torch.testing.assert_close(share.double(), probability, rtol=0, atol=0.012)
    seen = torch.bincount(crt.class_cycle_rows(SMALL_LABELS, probability, 2000, seeded()), minlength=len(SMALL_LABELS))
    for c in range(C):  # in a cycle, samples of a class are seen equally often, give or take one
        of_class = seen[SMALL_LABELS.eq(c)]
        assert int(of_class.max() - of_class.min()) <= 1


def test_tau() -> None:
    w = torch.randn(C, 5, generator=seeded(), dtype=torch.float64)
    x = torch.randn(50, 5, generator=seeded(1), dtype=torch.float64)
    assert torch.equal(crt.tau_normalise(w, 0.0), w)
    torch.testing.assert_close(crt.tau_normalise(w, 1.0).norm(dim=1), torch.ones(C).double())
    for tau in (0.0, 0.7, 1.0):
        a, b = (F.linear(x, crt.tau_normalise(scale * w, tau)).argmax(1) for scale in (1.0, 13.0))
        assert torch.equal(a, b)
    w[2] = 0
    assert bool(crt.tau_normalise(w, 1.0).isfinite().all()) and bool((crt.tau_normalise(w, 1.0)[2] == 0).all())
    assert bool(crt.tau_normalise(w, 1.0, official=True)[2].isnan().all())


def test_nearest_mean() -> None:
    x, y = torch.randn(60, 4, generator=seeded(), dtype=torch.float64) + 1, labels(0, 60)
    query = torch.randn(9, 4, generator=seeded(1), dtype=torch.float64) + 1
    mean, means = crt.class_means(x, y, C, "un")
    brute = torch.tensor([[((q - x[y == c].mean(0)) ** 2).sum() for c in range(C)] for q in query])
    scores = crt.nearest_mean_logits(query, mean, means, "un")
    torch.testing.assert_close(scores, -brute.double())
    mean, means = crt.class_means(x, y, C, "cl2n")
    torch.testing.assert_close(means[3], F.normalize(x[y == 3] - x.mean(0), dim=1).mean(0))
    mean, means = crt.class_means(x, y, C, "l2n")
    dot = F.normalize(query, dim=1) @ means.T / 4
    torch.testing.assert_close(crt.nearest_mean_logits(query, mean, means, "l2n", "cos"), dot)
    mean, means = crt.class_means(x, y.clamp(min=1), C)
    scores = crt.nearest_mean_logits(query, mean, means)
    assert bool(scores.isfinite().all()) and bool((scores.argmin(dim=1) == 0).all())
    assert bool(crt.transform(torch.zeros(1, 4), torch.zeros(4)).isfinite().all())


def test_scaling() -> None:
    x, w, b = (
        torch.randn(9, 5, generator=seeded()),
        torch.randn(C, 5, generator=seeded(1)),
        torch.randn(C, generator=seeded(2)),
    )
    one, scales = torch.ones(C), torch.rand(C, generator=seeded(3)).requires_grad_()
    for scale_bias in (True, False):
        torch.testing.assert_close(crt.scaled_logits(x, w, b, one, scale_bias), F.linear(x, w, b))
    z = crt.scaled_logits(x, w, b, scales)
    y = labels(0, 9)
    (grad,) = torch.autograd.grad(F.cross_entropy(z, y), scales)
    expected = ((F.softmax(z, 1) - F.one_hot(y, C)) * F.linear(x, w, b)).mean(dim=0)
    torch.testing.assert_close(grad, expected)
    torch.testing.assert_close(z - crt.scaled_logits(x, w, b, scales, False), (b * scales - b).expand(9, -1))


def test_stages_and_rates() -> None:
    def shares(**options: Any) -> list[float]:
        return [stage.share for stage in build(crt.Crt, **options).stages()]

    assert shares() == [1.0, 0.1] and shares(variant="lws", share=0.5) == [1.0, 0.5]
    assert shares(variant="tau") == shares(variant="ncm") == [1.0]
    few = [build(crt.Crt, task(epochs=epochs)).stages()[1].share * epochs for epochs in (7, 8, 14, 60)]
    assert few == pytest.approx([1, 2, 2, 7]) and build(crt.Crt).stages()[1].extra
    assert crt.cosine_rate(0.2, 9, 10) == pytest.approx(0) and crt.cosine_rate(0.2, 0, 10, False) == 0.2
    for schedule, rates in (("cosine", [0.05, 0.025]), ("official", [0.025, 0.0]), ("recipe", [0.05, 0.05])):
        method = build(crt.Crt, lr_schedule=schedule)
        run = TinyRun(method, epoch=18, stage="classifier")
        method.on_stage_start("classifier", run)
        found, run.stage_epochs = [], 2
        for run.stage_epoch in range(len(rates)):
            method.on_epoch_start(run)
            found.append(run.optimizers["main"].param_groups[0]["lr"])
            method.on_epoch_end(run)
        assert found == pytest.approx(rates)


@pytest.mark.parametrize("variant", ["crt", "lws"])
@pytest.mark.parametrize("bn_train", [False, True])
def test_freezes_the_features(variant: str, bn_train: bool) -> None:
    method = build(crt.Crt, variant=variant, bn_train=bn_train)
    run = TinyRun(method, epoch=18, stage="classifier")
    method.on_stage_start("classifier", run)
    method.train()
    method.on_epoch_start(run)
    before = {name: value.clone() for name, value in method.net.state_dict().items()}
    head = method.classifier.weight if variant == "crt" else method.scales
    head_before = head.detach().clone()
    method.train_step(batch_for(method), run)
    same = {name for name, value in method.net.state_dict().items() if torch.equal(value, before[name])}
    changed = before.keys() - same
    assert changed == ({"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"} if bn_train else set())
    assert not torch.equal(head, head_before)


def test_classifiers_at_the_start_of_the_second_stage() -> None:
    images = torch.randn(4, 3, 10, 10)
    for variant, equal in (("crt", False), ("lws", True)):
        method = build(crt.Crt, variant=variant).eval()
        first = method.predict(images)
        torch.testing.assert_close(first, method.net(images))
        method.on_stage_start("classifier", TinyRun(method, stage="classifier"))
        second = method.predict(images)
        assert torch.allclose(second, first, atol=1e-6) == equal
        torch.testing.assert_close(method.other_predictions(images)["first stage"], first)


def test_means_and_tau_come_from_the_training_set() -> None:
    given = torch.arange(N) % C
    method = build(crt.Crt, task(epochs=2), variant="ncm", features="un")
    images = torch.randn(N, 3, 10, 10, generator=seeded(0))
    first = method.eval().predict(images)
    torch.testing.assert_close(first, method.net(images))
    run = TinyRun(method, stage="representation")
    run.training_set = lambda: (
        Batch(rows, given[rows], lambda name, rows=rows: images[rows], ("plain",)) for rows in torch.arange(N).split(40)
    )
    method.train().on_fit_end(run)
    method.eval()
    assert not torch.equal(method.predict(images), first)
    with torch.no_grad():
        features = method.features(images)
    expected = torch.stack([features[given == c].mean(0) for c in range(C)])
    torch.testing.assert_close(method.means, expected, rtol=1e-4, atol=1e-5)

    method = build(crt.Crt, variant="tau", tau_choice="train")
    weight = torch.eye(C, 5)
    with torch.no_grad():
        method.net.fc.weight.copy_(weight * torch.tensor([100.0, 1, 1, 1, 1, 0, 0])[:, None] + 1e-3)
    # samples of class 1 have a little of class 0's feature, whose long weight wins unless the norm is divided out
    x = torch.zeros(10, 5)
    x[:, 0], x[:, 1] = 0.2, 1.0
    x[0, 0], x[0, 1] = 1.0, 0.0
    y = torch.tensor([0] + [1] * 9)
    method.take_features(x, y)
    assert 0.3 <= number(method.tau) <= 2.0
    assert crt.balanced_accuracy(F.linear(x, crt.tau_normalise(method.net.fc.weight, number(method.tau))), y) == 1.0
    method.take_features(x[:1], y[:1])
    assert number(method.tau) == 0.0


def test_samplers_of_both_stages() -> None:
    def drawn(second: bool, **options: Any) -> Tensor | None:
        method = build(crt.Crt, task(class_counts=SMALL, num_samples=len(SMALL_LABELS)), **options)
        method.in_second.fill_(second)
        rows = method.epoch_indices(SMALL_LABELS, seeded())
        return None if rows is None else torch.bincount(SMALL_LABELS[rows], minlength=C)

    assert drawn(False) is None
    balanced = drawn(True)
    assert int(balanced.sum()) == len(SMALL_LABELS) and int(balanced.max() - balanced.min()) <= 4
    assert int(drawn(True, samples_per_class=1).max() - drawn(True, samples_per_class=1).min()) <= 1
    root = drawn(False, sampler="sqrt") / len(SMALL_LABELS)
    torch.testing.assert_close(root.double(), ops.class_probability(SMALL, 0.5), rtol=0, atol=0.07)
    natural = drawn(False, sampler="progressive") / len(SMALL_LABELS)
    torch.testing.assert_close(natural.double(), ops.class_probability(SMALL, 1.0), rtol=0, atol=0.07)
    method = build(crt.Crt, task(class_counts=SMALL), sampler="progressive")
    method.stage_epoch.fill_(19)
    late = torch.bincount(SMALL_LABELS[method.epoch_indices(SMALL_LABELS, seeded())], minlength=C)
    assert int(late.min()) > 35 and int(late.max()) < 100


def test_needs_a_linear_classifier() -> None:
    with pytest.raises(ValueError, match=r"one nn\.Linear, not Sequential"):
        build(crt.Crt, make_net=lambda role: TinyNet(role, nn.Sequential(nn.Linear(5, C))))
