"""Properties of MAN, MEK, DCL and decoupled training, on tiny networks: what each paper's formula implies."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import fer_bench_methods.crt as crt
import fer_bench_methods.dcl as dcl
import fer_bench_methods.eac as eac
import fer_bench_methods.man as man
import fer_bench_methods.mek as mek
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench import ops
from fer_bench.engine.stages import stage_spans
from fer_bench.method import Batch, Method
from tests.helpers.tiny import RAF, B, C, N, TinyNet, TinyRun, batch_for, build, labels, logits, number, task

STEPS = math.ceil(N / B)
"""Batches of an epoch."""


class StageRun(TinyRun):
    """The harness with stages, steps and random streams: what the methods here ask for besides."""

    def __init__(self, method: Method, epoch: int = 0, stage: str = "train", step: int = 0, **options: Any) -> None:
        super().__init__(method, epoch, **options)
        self.stage, self.step, self.steps = stage, step, 2 * STEPS
        make = torch.optim.Adam if options.get("adam") else torch.optim.SGD
        lr = options.get("lr", 0.05)
        self.optimizers = method.optimizers(stage, lambda params, **kw: make(params, **({"lr": lr} | kw)))
        self.walk: list[Batch] = []

    def training_set(self) -> Iterator[Batch]:
        return iter(self.walk)

    def generator(self, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(sum(name.encode()) + self.step)


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ALL: list[tuple[type[Method], dict[str, Any]]] = [
    (man.Man, {}),
    (man.Man, {"joint_forward": True, "strong": "second"}),
    (man.Man, {"strong": "crop-cutout", "division_view": "plain"}),
    (man.Man, {"pad": 0.0, "cutout": 0.0, "warmup": 0.5}),
    (mek.Mek, {}),
    (mek.Mek, {"rac_weight_norm": "mean1", "epsilon": 0.3, "lam": 0.1, "sampler": "balanced"}),
    (mek.Mek, {"rac_weight_norm": "sum1", "epsilon": 1.0}),
    (dcl.Dcl, {}),
    (dcl.Dcl, {"curve": "linear", "dist_norm": "min", "keep_count": "floor", "normalise": False}),
    (dcl.Dcl, {"curve": "concave", "decay": 0.9, "easy_threshold": 0.0, "k": 2, "rho": 1.0}),
    (dcl.Dcl, {"curve": "composite", "p": 0.0, "epsilon": 0.0}),
    (crt.Crt, {}),
    (crt.Crt, {"bn_train": True, "lr_schedule": "cosine", "classifier_sampler": "sqrt"}),
    (crt.Crt, {"variant": "lws", "lr_schedule": "official", "classifier_sampler": "instance"}),
    (crt.Crt, {"variant": "lws", "scale_bias": False, "sampler": "progressive", "progressive": "paper"}),
    (crt.Crt, {"variant": "tau", "sampler": "class_aware", "samples_per_class": 1}),
    (crt.Crt, {"variant": "tau", "tau_choice": "train", "sampler": "sqrt"}),
    (crt.Crt, {"variant": "tau", "tau": 0.0, "sampler": "progressive"}),
    (crt.Crt, {"variant": "ncm"}),
    (crt.Crt, {"variant": "ncm", "features": "un", "distance": "l2"}),
    (crt.Crt, {"variant": "ncm", "features": "l2n", "distance": "cos"}),
]
IDS = [f"{cls.__name__}-{'-'.join(map(str, options.values())) or 'default'}" for cls, options in ALL]


def train(method: Any, given: Tensor, epochs: int = 20, seed: int = 0) -> list[dict[str, Any]]:
    """A whole run of ``method`` on N random images, by the engine's order of calls; the logs of its steps."""
    generator = g(seed)
    images = torch.randn(N, 3, 10, 10, generator=generator)
    logs, spans = [], stage_spans(method.stages(), epochs)

    def views(rows: Tensor) -> dict[str, Tensor]:
        weak = images[rows]
        second = weak + 0.1 * torch.randn(weak.shape, generator=generator)
        return {"weak": weak, "mirror": weak.flip(-1), "second": second, "strong": second, "plain": weak}

    def batch_of(rows: Tensor) -> Batch:
        return Batch(rows, given[rows], views(rows).__getitem__, method.needs(method.config).views)

    for span in spans:
        run = StageRun(method, span.first, span.stage.name, epochs=spans[-1].end, adam=True)
        run.stage_epochs = span.epochs
        run.training_set = lambda: map(batch_of, torch.arange(N).split(B))
        method.on_stage_start(run.stage, run)
        for epoch in range(span.first, span.end):
            order = method.epoch_indices(given, g(epoch))
            batches = (torch.randperm(N, generator=g(epoch)) if order is None else order).split(B)
            run.epoch, run.stage_epoch, run.steps = epoch, epoch - span.first, len(batches)
            method.train()
            method.on_epoch_start(run)
            for run.step, rows in enumerate(batches):
                before = len(run.minimized)
                logs.append({"stage": run.stage, **method.train_step(batch_of(rows), run)})
                logs[-1]["updated"] = len(run.minimized) > before
            method.on_epoch_end(run)
            if epoch + 1 == spans[-1].end:
                method.on_fit_end(run)
    return logs


@pytest.mark.parametrize(("cls", "options"), ALL, ids=IDS)
@pytest.mark.parametrize("epochs", [4, 2])
def test_every_option_trains(cls: type[Method], options: dict[str, Any], epochs: int) -> None:
    given = labels(3, N)
    counts = torch.bincount(given, minlength=C)
    method = build(cls, task(epochs=epochs, class_counts=counts), **options)
    before = {name: value.clone() for name, value in method.named_parameters()}
    logs = train(method, given, epochs)
    assert all(math.isfinite(number(v)) for log in logs for k, v in log.items() if k not in ("stage", "updated"))
    assert any(not torch.equal(before[name], value) for name, value in method.named_parameters())
    method.eval()
    images = torch.randn(3, 3, 10, 10)
    with torch.no_grad():
        answer = method.predict(images)
        others = method.other_predictions(images)
        alone = torch.cat([method.predict(image[None]) for image in images])
    for found in (answer, *others.values()):
        assert found.shape == (3, C) and bool(found.isfinite().all()) and found.dtype == torch.float32
    torch.testing.assert_close(alone, answer)
    score = method.clean_score()
    assert score is None or (score.shape == (N,) and bool(score.isfinite().all()))
    assert sum(stage.share for stage in method.stages() if not stage.extra) == pytest.approx(1)
    fresh = build(cls, task(epochs=epochs, class_counts=counts), **options)
    fresh.load_state_dict(method.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh.eval().predict(images), answer)


@pytest.mark.parametrize(
    ("cls", "options", "name"),
    [
        (man.Man, {"warmup": 1.5}, "warmup"),
        (man.Man, {"lambda_max": -0.1}, "lambda_max"),
        (man.Man, {"omega": -1.0}, "omega"),
        (man.Man, {"gamma": -1.0}, "gamma"),
        (man.Man, {"pad": -1.0}, "pad"),
        (man.Man, {"peak": 0.0}, "peak"),
        (mek.Mek, {"epsilon": 1.1}, "epsilon"),
        (mek.Mek, {"lam": -1.0}, "lam"),
        (dcl.Dcl, {"p": 1.5}, "p"),
        (dcl.Dcl, {"decay": 1.5}, "decay"),
        (dcl.Dcl, {"rho": -0.5}, "rho"),
        (dcl.Dcl, {"easy_threshold": 2.0}, "easy_threshold"),
        (dcl.Dcl, {"epsilon": -0.1}, "epsilon"),
        (dcl.Dcl, {"margin": -0.1}, "margin"),
        (dcl.Dcl, {"k": 0}, "k"),
        (crt.Crt, {"share": 1.5}, "share"),
        (crt.Crt, {"samples_per_class": 0}, "samples_per_class"),
        (crt.Crt, {"tau": -1.0}, "tau"),
    ],
)
def test_bounds_name_the_field_and_the_value(cls: type[Method], options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} = .*{next(iter(options.values()))}.* out of range"):
        cls.Config(**options)


# --- MAN


def test_man_division_partitions_and_follows_the_labels() -> None:
    a, b, y = (torch.randint(0, C, (200,), generator=g(seed)) for seed in range(3))
    b[::3], y[::4] = a[::3], a[::4]
    kinds = man.division(a, b, y)
    assert set(kinds.tolist()) == {man.CLEAN, man.AMBIGUOUS, man.NOISY}
    assert torch.equal(kinds == man.CLEAN, (a == y) & (b == y))
    assert torch.equal(kinds == man.NOISY, (a != y) & (b != y))
    renamed = torch.randperm(C, generator=g())
    assert torch.equal(man.division(renamed[a], renamed[b], renamed[y]), kinds)


def test_man_mutual_share_peaks_at_nine_tenths_and_falls() -> None:
    assert man.mutual_share(90, 100) == pytest.approx(0.9)
    assert man.mutual_share(11, 100) == pytest.approx(0.5454, abs=1e-4)
    shares = [man.mutual_share(e, 100) for e in range(1, 101)]
    assert shares[:90] == sorted(shares[:90]) and shares[89] > shares[99] > 0.89


def test_man_mutual_loss() -> None:
    a, b, y = logits(0).requires_grad_(), logits(1).requires_grad_(), labels(2)
    torch.testing.assert_close(man.mutual_loss(a, a, y, 0.7), 0.3 * F.cross_entropy(a, y))
    torch.testing.assert_close(man.mutual_loss(a, b, y, 0.0), man.supervised_loss(a, b, y))
    torch.testing.assert_close(man.mutual_loss(a, b, y, 0.7), man.mutual_loss(b, a, y, 0.7))
    # at a share of 1 there is only the divergence, and it reaches both networks
    grads = torch.autograd.grad(man.mutual_loss(a, b, y, 1.0), (a, b))
    assert all(bool((grad != 0).any()) for grad in grads)


def parts_of(
    kinds: Tensor, y: Tensor, omega: float = 0.6, gamma: float = 1.0
) -> tuple[dict[str, Tensor], list[Tensor]]:
    weak, strong = (logits(0).requires_grad_(), logits(1).requires_grad_()), (logits(2), logits(3))
    parts = man.divided_loss(
        kinds,
        y,
        lambda rows: (weak[0][rows], weak[1][rows]),
        lambda rows: (strong[0][rows], strong[1][rows]),
        0.5,
        omega,
        gamma,
    )
    return parts, list(weak)


def test_man_parts_are_means_over_their_own_subset() -> None:
    y, kinds = labels(4), torch.tensor([2, 2, 1, 1, 1, 0, 0, 0])
    parts, (a, b) = parts_of(kinds, y)
    torch.testing.assert_close(parts["supervised"], man.supervised_loss(a[:2], b[:2], y[:2]))
    torch.testing.assert_close(parts["mutual"], man.mutual_loss(a[2:5], b[2:5], y[2:5], 0.5))
    expected = parts["supervised"] + 0.6 * parts["mutual"] + parts["consistency"]
    torch.testing.assert_close(parts["loss"], expected)
    # the labels of noisy faces are not used
    changed = y.clone()
    changed[5:] = (changed[5:] + 1) % C
    assert torch.equal(parts_of(kinds, changed)[0]["loss"], parts["loss"])
    for empty in (torch.full((B,), kind) for kind in (man.CLEAN, man.AMBIGUOUS, man.NOISY)):
        alone, weak = parts_of(empty, y)
        assert sum(number(alone[name]) == 0 for name in ("supervised", "mutual", "consistency")) == 2
        grads = torch.autograd.grad(alone["loss"], weak)
        assert all(bool(grad.isfinite().all()) and bool((grad != 0).any()) for grad in grads)


def test_man_consistency_of_equal_views_is_zero() -> None:
    a, b = logits(0), logits(1)
    assert number(man.view_consistency((a, b), (a, b))) == 0
    expected = ((a.softmax(1) - b.softmax(1)) ** 2).mean()
    torch.testing.assert_close(man.view_consistency((a, b), (b, a)), expected)


def test_man_strong_view() -> None:
    images = torch.randn(6, 3, 56, 56, generator=g())
    assert torch.equal(man.strong_view(images, 0, 0, g(1)), images)
    # the square is 16 of 224 pixels wide: 4 here, less where it reaches over the border
    cut = (man.strong_view(images, 0, 16, g(1)) == 0).all(dim=1).sum(dim=(1, 2))
    assert bool((cut >= 4).all()) and bool((cut <= 16).all()) and int(cut.max()) == 16
    moved = man.strong_view(images, 16, 0, g(1))
    assert moved.shape == images.shape and not torch.equal(moved, images)
    # up to 4 pixels each way, with reflected borders: the middle of the image is found again
    for before, after in zip(images, moved, strict=True):
        middle = after[:, 8:48, 8:48]
        found = [
            (y, x)
            for y in range(-4, 5)
            for x in range(-4, 5)
            if torch.equal(before[:, 8 + y : 48 + y, 8 + x : 48 + x], middle)
        ]
        assert len(found) == 1
    assert set(moved.unique().tolist()) <= set(images.unique().tolist())


@pytest.mark.parametrize("view", ["weak", "plain"])
def test_man_divides_the_whole_set_in_evaluation_mode(view: Any) -> None:
    method, given = build(man.Man, division_view=view), labels(3, N)
    images = {name: torch.randn(N, 3, 10, 10, generator=g(place)) for place, name in enumerate(("weak", "plain"))}
    run, allowed = StageRun(method, epoch=1), method.needs(method.config).views

    def views(rows: Tensor) -> Any:
        return lambda name: images[name][rows]

    run.walk = [Batch(rows, given[rows], views(rows), allowed) for rows in torch.arange(N).split(B)]
    method.on_epoch_start(run)
    assert not method.net_a.passes and method.clean_score() is None  # still warming up
    state = {name: value.clone() for name, value in method.state_dict().items() if name.startswith("net")}
    run.epoch = 2
    method.on_epoch_start(run)
    assert sum(method.net_a.passes) == sum(method.net_b.passes) == N and method.net_a.training and method.net_b.training
    assert all(torch.equal(value, method.state_dict()[name]) for name, value in state.items())
    method.eval()
    with torch.no_grad():
        predicted = [net(images[view]).argmax(dim=1) for net in (method.net_a, method.net_b)]
    assert torch.equal(method.kind, man.division(*predicted, given))
    assert torch.equal(method.clean_score(), method.kind.float())


def test_man_trains_each_subset() -> None:
    method = build(man.Man)
    run, batch = StageRun(method, epoch=5), batch_for(method)
    method.kind[batch.index] = torch.tensor([2, 2, 2, 1, 1, 1, 0, 0])
    logged = method.train_step(batch, run)
    assert [number(logged[name]) for name in ("clean", "ambiguous", "noisy")] == [3 / 8, 3 / 8, 2 / 8]
    assert len(run.minimized) == 1 and method.net_a.passes == [3, 3, 2, 2]
    assert run.selected[0][1].tolist() == [True] * 6 + [False] * 2
    joint = build(man.Man, joint_forward=True)
    joint.kind[batch.index] = method.kind[batch.index]
    joint.train_step(batch, StageRun(joint, epoch=5))
    assert joint.net_a.passes == [B, 2]


@pytest.mark.parametrize(
    ("strong", "view"), [("randaugment", "strong"), ("crop-cutout", "second"), ("second", "second")]
)
def test_man_strong_view_comes_from_the_harness(strong: Any, view: str) -> None:
    method = build(man.Man, strong=strong)
    batch, asked = batch_for(method), []

    def views(name: str) -> Tensor:
        asked.append(name)
        return batch.view("weak")

    method.kind[batch.index] = man.NOISY
    allowed = method.needs(method.config).views
    logged = method.train_step(Batch(batch.index, batch.label, views, allowed), StageRun(method, epoch=5))
    assert asked == ["weak", view] and set(allowed) == {"weak", view}
    # the same image in both views: what differs is the shift and the cutout
    assert (number(logged["consistency"]) == 0) == (strong == "second")


def test_man_never_asks_for_the_strong_view_of_faces_that_are_not_noisy() -> None:
    method = build(man.Man)
    batch = batch_for(method)

    def only_weak(name: str) -> Tensor:
        assert name == "weak"
        return batch.view("weak")

    method.kind[batch.index] = man.CLEAN
    method.train_step(Batch(batch.index, batch.label, only_weak, ("weak", "strong")), StageRun(method, epoch=5))


def test_man_subset_of_one_face() -> None:
    class Deep(TinyNet):
        def forward_features(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(x).mean(dim=(2, 3), keepdim=True))

    method = build(man.Man, make_net=Deep)
    batch = batch_for(method)
    method.kind[batch.index] = torch.tensor([2, 1, 0, 0, 0, 0, 0, 0])
    run = StageRun(method, epoch=5)
    method.train_step(batch, run)
    assert math.isfinite(run.minimized[0][1])


def test_man_warm_up_and_answer() -> None:
    method = build(man.Man)
    assert method.warmup_epochs == 2 and build(man.Man, task(epochs=3)).warmup_epochs == 1
    batch, run = batch_for(method), StageRun(method, epoch=1)
    a, b = method.net_a(batch.view("weak")), method.net_b(batch.view("weak"))
    method.train_step(batch, run)
    assert run.minimized == [("main", pytest.approx(number(man.supervised_loss(a, b, batch.label))))]
    method.eval()
    images = torch.randn(4, 3, 10, 10)
    torch.testing.assert_close(method.predict(images), (method.net_a(images) + method.net_b(images)) / 2)
    torch.testing.assert_close(method.other_predictions(images)["net a"], method.net_a(images))


# --- MEK


def test_mek_weights() -> None:
    weights = mek.class_weights(RAF)
    torch.testing.assert_close(weights, RAF.sum() / (10 * RAF.double()))
    assert number(weights.sum()) == pytest.approx(10.1326, abs=1e-4)
    assert number(mek.class_weights(RAF, "mean1").mean()) == pytest.approx(1)
    assert number(mek.class_weights(RAF, "sum1").sum()) == pytest.approx(1)
    absent = torch.tensor([10, 0, 5, 20, 3, 7, 9])
    for norm in ("n_over_10n", "mean1", "sum1"):
        w = mek.class_weights(absent, norm)
        assert number(w[1]) == 0 and bool(w.isfinite().all())
    assert number(mek.class_weights(absent, "mean1").sum()) == pytest.approx(6)


def test_mek_smooth_labels() -> None:
    y, weights = labels(0), mek.class_weights(RAF)
    q = mek.smooth_labels(y, weights, 0.3)
    torch.testing.assert_close(q.sum(dim=1), torch.ones(B).double())
    torch.testing.assert_close(q.gather(1, y[:, None]), torch.full((B, 1), 0.7).double())
    torch.testing.assert_close(mek.smooth_labels(y, mek.class_weights(1000 * RAF), 0.3), q)
    z = logits(1)
    torch.testing.assert_close(mek.rebalanced_smooth_loss(z, mek.smooth_labels(y, weights, 0.0)), F.cross_entropy(z, y))
    # equal counts: ordinary smoothing over the C - 1 others, not over all C
    equal = mek.smooth_labels(y, torch.ones(C).double(), 0.3)
    others = equal[F.one_hot(y, C) == 0]
    torch.testing.assert_close(others, torch.full_like(others, 0.3 / (C - 1)))
    # the label's own class never takes part, at epsilon = 1 either, where it does officially
    full = mek.smooth_labels(y, weights, 1.0)
    assert bool((full.gather(1, y[:, None]) == 0).all())
    assert bool((mek.smooth_labels(y, weights, 1.0, official=True).gather(1, y[:, None]) > 0).all())
    only = mek.smooth_labels(torch.tensor([2]), mek.class_weights(torch.tensor([0, 0, 9, 0, 0, 0, 0])), 0.3)
    assert only.tolist() == [[0, 0, 1, 0, 0, 0, 0]]


def test_mek_attention_consistency() -> None:
    generator, weights = g(), mek.class_weights(RAF)
    a, b = (torch.randn(B, C, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    rac = mek.rebalanced_attention_consistency
    assert number(rac(a, ops.mirror(a), weights)) == 0 and number(rac(a, b, weights)) > 0
    torch.testing.assert_close(rac(a, b, weights), rac(b, a, weights))
    torch.testing.assert_close(rac(a, b, torch.full((C,), 1 / C).double()), eac.flip_consistency(a, b))
    features, other = (torch.randn(B, 5, 4, 4, generator=generator).requires_grad_() for _ in range(2))
    weight, bias = torch.randn(C, 5, generator=generator).requires_grad_(), torch.randn(C, generator=generator)
    maps = ops.class_activation_maps(features, weight)
    expected = F.linear(features.mean(dim=(2, 3)), weight, bias)
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + bias, expected, rtol=1e-5, atol=1e-5)
    loss = rac(maps, ops.class_activation_maps(other, weight), weights.float())
    grads = torch.autograd.grad(loss, (features, other, weight), allow_unused=True)
    assert grads[2] is None and bool((grads[0] != 0).any()) and bool((grads[1] != 0).any())


def test_mek_step() -> None:
    method = build(mek.Mek, lam=0.0, epsilon=0.0)
    batch, run = batch_for(method), StageRun(method)
    run.frozen = True
    logged = method.train_step(batch, run)
    torch.testing.assert_close(logged["loss"], F.cross_entropy(method.net(batch.view("weak")), batch.label).detach())
    assert method.net.passes[:2] == [B, B]
    other = build(mek.Mek, lam=3.0, epsilon=0.0)
    again = other.train_step(batch, StageRun(other))
    torch.testing.assert_close(again["loss"], again["smooth"] + 3 * again["consistency"])


def test_mek_sampler() -> None:
    y = torch.arange(C).repeat_interleave(torch.tensor([500, 3, 12, 200, 75, 9, 130]))
    assert build(mek.Mek).epoch_indices(y, g()) is None
    rows = build(mek.Mek, sampler="balanced").epoch_indices(y, g())
    counts = torch.bincount(y[rows], minlength=C)
    assert len(rows) == len(y) and int(counts.min()) > 80 and int(counts.max()) < 190


# --- DCL

CURVES = ("convex", "linear", "concave", "composite")


@pytest.mark.parametrize("kind", CURVES)
def test_dcl_curves(kind: Any) -> None:
    values = [dcl.curriculum(kind, e, 20) for e in range(21)]
    assert values[0] == 1 and values == sorted(values, reverse=True)
    assert kind == "concave" or values[-1] == pytest.approx(0, abs=1e-12)


def test_dcl_triplet_factor() -> None:
    assert [dcl.triplet_factor(e, 10, 0.0, 0.1) for e in range(10)] == [0.1] * 10
    f = [dcl.triplet_factor(e, 10, 0.3, 0.1) for e in range(10)]
    assert f[0] == pytest.approx(1.1) and f[2] > 0.9 and f[3:] == [0.1] * 7


def test_dcl_targets() -> None:
    uniform = dcl.target_distribution(RAF, 0.0)
    torch.testing.assert_close(uniform, torch.full((C,), 1 / C).double())
    torch.testing.assert_close(dcl.target_distribution(RAF, 1.0), RAF / RAF.sum().double())
    torch.testing.assert_close(dcl.target_distribution(RAF, 1.0, "min"), RAF / 281.0, check_dtype=False)
    absent = torch.tensor([40, 0, 12, 200, 75, 9, 130])
    assert number(dcl.target_distribution(absent, 0.0)[1]) == 0


def test_dcl_ratios_keep_the_scale_of_the_loss() -> None:
    for seed in range(5):
        counts = torch.bincount(labels(seed, 16), minlength=C)
        for scale in (0.0, 0.4, 1.0):
            ratios = dcl.class_ratios(counts, RAF, scale)
            assert number((ratios * counts).sum()) == pytest.approx(16)
    proportional = torch.tensor([2, 4, 6, 8, 0, 2, 4])
    ratios = dcl.class_ratios(proportional, 10 * proportional + (proportional == 0) * 7, 1.0)
    torch.testing.assert_close(ratios, (proportional > 0).double())
    # normalised by the rarest class, weights depend on which classes the batch happens to hold
    counts = torch.tensor([4, 0, 1, 2, 4, 0, 5])
    assert number((dcl.class_ratios(counts, RAF, 1.0, "min") * counts).sum()) == pytest.approx(40.16, abs=0.01)
    assert number((dcl.class_ratios(counts, RAF, 0.0, "min") * counts).sum()) == pytest.approx(5)


@pytest.mark.parametrize("norm", ["sum", "min"])
def test_dcl_is_cross_entropy_where_nothing_is_to_be_balanced(norm: Any) -> None:
    for y, counts in ((torch.zeros(B, dtype=torch.int64), RAF), (torch.arange(C).repeat(2), torch.full((C,), 30))):
        batch_counts = torch.bincount(y, minlength=C)
        ratios = dcl.class_ratios(batch_counts, counts, 0.0, norm)
        keep = dcl.draw_kept(y, dcl.kept_counts(ratios, batch_counts), g())
        weights, z = dcl.sample_weights(y, ratios, keep), logits(0, len(y))
        torch.testing.assert_close(dcl.selective_loss(z, y, weights), F.cross_entropy(z, y))


def test_dcl_keeps_that_many_of_each_class_and_drops_the_gradient_of_the_rest() -> None:
    y = labels(1, 64)
    counts = torch.bincount(y, minlength=C)
    ratios = dcl.class_ratios(counts, RAF.flip(0), 1.0)
    for counting in ("round", "floor"):
        kept = dcl.kept_counts(ratios, counts, counting)
        keep = dcl.draw_kept(y, kept, g(2))
        assert torch.equal(torch.bincount(y[keep], minlength=C), kept)
        assert not torch.equal(keep, dcl.draw_kept(y, kept, g(3)))
    weights, z = dcl.sample_weights(y, ratios, keep), logits(0, 64).requires_grad_()
    (grad,) = torch.autograd.grad(dcl.selective_loss(z, y, weights), z)
    dropped = (ratios[y] < 1) & ~keep
    assert bool(dropped.any()) and bool((grad[dropped] == 0).all()) and bool((grad[~dropped] != 0).any(dim=1).all())


def triplets_of(z: Tensor, y: Tensor, **options: Any) -> Tensor:
    return dcl.mine_triplets(F.softmax(z, 1), y, **({"k": 3, "easy_threshold": 0.3, "rho": 0.6} | options))[0]


def test_dcl_triplets() -> None:
    y = labels(5, 32)
    z = logits(0, 32) + 3 * F.one_hot(y, C)
    x = F.normalize(torch.randn(32, 5, generator=g(), dtype=torch.float64), dim=1).requires_grad_()
    found = triplets_of(z, y)
    anchor, positive, negative = found.unbind(1)
    assert len(found) and bool((anchor != positive).all())
    assert torch.equal(y[anchor], y[positive]) and not bool((y[anchor] == y[negative]).any())
    assert bool((z.argmax(1) == y)[anchor].all()) and set(y[anchor].tolist()) <= set(dcl.minority_classes(y, 0.6))
    loss = dcl.triplet_loss(x, found, 0.5)
    assert number(loss) > 0
    (grad,) = torch.autograd.grad(loss, x)
    assert bool((grad != 0).any()) and bool(grad.isfinite().all())
    order = torch.randperm(32, generator=g(1))
    torch.testing.assert_close(dcl.triplet_loss(x[order], triplets_of(z[order], y[order]), 0.5), loss)
    # no easy anchor, or no minority: a 0 that can be minimized
    for none in (triplets_of(z, y, easy_threshold=1.0), triplets_of(z, y, rho=0.0)):
        zero = dcl.triplet_loss(x, none, 0.5)
        assert number(zero) == 0 and not bool(torch.autograd.grad(zero, x)[0].any())


def test_dcl_minority_stops_at_the_first_class_that_overflows() -> None:
    y = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])
    assert dcl.minority_classes(y, 0.5) == [0, 1] and dcl.minority_classes(y, 0.3) == [0]
    assert dcl.minority_classes(y, 1.0) == [0, 1, 2] and dcl.minority_classes(y, 0.0) == []
    assert dcl.minority_classes(torch.tensor([3, 1]), 0.5) == [1]


def test_dcl_step() -> None:
    method = build(dcl.Dcl, p=0.0, epsilon=0.0)
    run = StageRun(method)
    batch = batch_for(method, labels=torch.zeros(B, dtype=torch.int64))
    run.frozen = True
    logged = method.train_step(batch, run)
    torch.testing.assert_close(logged["loss"], F.cross_entropy(method.net(batch.view("weak")), batch.label).detach())
    assert bool(run.selected[0][1].all()) and number(logged["weight"]) == 1
    with_triplets = build(dcl.Dcl, easy_threshold=0.0, rho=1.0)
    sure = with_triplets.net(batch_for(with_triplets).view("weak")).argmax(dim=1)
    sure[-2:] = (sure[-2:] + 1) % C
    logged = with_triplets.train_step(batch_for(with_triplets, labels=sure), StageRun(with_triplets))
    assert logged["triplets"] > 0
    torch.testing.assert_close(logged["loss"], (logged["selective"] + 1.1 * logged["triplet"]))


# --- samplers

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
    rows = crt.class_aware_rows(SMALL_LABELS, 20 * C * per_class, per_class, ops.generator_shuffle(g()))
    drawn = SMALL_LABELS[rows].view(-1, C, per_class)
    for block in drawn:  # each class exactly once in every C blocks
        assert sorted(block[:, 0].tolist()) == list(range(C)) and bool((block == block[:, :1]).all())
    # no sample comes again before all others of its class did
    for c in range(C):
        mine = rows[SMALL_LABELS[rows] == c].tolist()
        size = int(SMALL[c])
        for start in range(0, len(mine) - size + 1, size):
            assert len(set(mine[start : start + size])) == size
    again = crt.class_aware_rows(SMALL_LABELS, 20 * C * per_class, per_class, ops.generator_shuffle(g()))
    assert torch.equal(rows, again)
    assert len(crt.class_aware_rows(SMALL_LABELS, 11, per_class, random.Random(0).shuffle)) == 11


def test_independent_and_cycling_rows() -> None:
    probability = ops.class_probability(SMALL, 0.5)
    for draw in (ops.independent_rows, crt.class_cycle_rows):
        rows = draw(SMALL_LABELS, probability, 20_000, g())
        share = torch.bincount(SMALL_LABELS[rows], minlength=C) / 20_000
        torch.testing.assert_close(share.double(), probability, rtol=0, atol=0.012)
    seen = torch.bincount(crt.class_cycle_rows(SMALL_LABELS, probability, 2000, g()), minlength=len(SMALL_LABELS))
    for c in range(C):  # in a cycle, samples of a class are seen equally often, give or take one
        of_class = seen[SMALL_LABELS.eq(c)]
        assert int(of_class.max() - of_class.min()) <= 1


# --- decoupled training


def test_crt_tau() -> None:
    w = torch.randn(C, 5, generator=g(), dtype=torch.float64)
    x = torch.randn(50, 5, generator=g(1), dtype=torch.float64)
    assert torch.equal(crt.tau_normalise(w, 0.0), w)
    torch.testing.assert_close(crt.tau_normalise(w, 1.0).norm(dim=1), torch.ones(C).double())
    for tau in (0.0, 0.7, 1.0):
        a, b = (F.linear(x, crt.tau_normalise(scale * w, tau)).argmax(1) for scale in (1.0, 13.0))
        assert torch.equal(a, b)
    w[2] = 0
    assert bool(crt.tau_normalise(w, 1.0).isfinite().all()) and bool((crt.tau_normalise(w, 1.0)[2] == 0).all())
    assert bool(crt.tau_normalise(w, 1.0, official=True)[2].isnan().all())


def test_crt_nearest_mean() -> None:
    x, y = torch.randn(60, 4, generator=g(), dtype=torch.float64) + 1, labels(0, 60)
    query = torch.randn(9, 4, generator=g(1), dtype=torch.float64) + 1
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


def test_crt_scaling() -> None:
    x, w, b = torch.randn(9, 5, generator=g()), torch.randn(C, 5, generator=g(1)), torch.randn(C, generator=g(2))
    one, scales = torch.ones(C), torch.rand(C, generator=g(3)).requires_grad_()
    for scale_bias in (True, False):
        torch.testing.assert_close(crt.scaled_logits(x, w, b, one, scale_bias), F.linear(x, w, b))
    z = crt.scaled_logits(x, w, b, scales)
    y = labels(0, 9)
    (grad,) = torch.autograd.grad(F.cross_entropy(z, y), scales)
    expected = ((F.softmax(z, 1) - F.one_hot(y, C)) * F.linear(x, w, b)).mean(dim=0)
    torch.testing.assert_close(grad, expected)
    torch.testing.assert_close(z - crt.scaled_logits(x, w, b, scales, False), (b * scales - b).expand(9, -1))


def test_crt_stages_and_rates() -> None:
    def shares(**options: Any) -> list[float]:
        return [stage.share for stage in build(crt.Crt, **options).stages()]

    assert shares() == [1.0, 0.1] and shares(variant="lws", share=0.5) == [1.0, 0.5]
    assert shares(variant="tau") == shares(variant="ncm") == [1.0]
    few = [build(crt.Crt, task(epochs=epochs)).stages()[1].share * epochs for epochs in (7, 8, 14, 60)]
    assert few == pytest.approx([1, 2, 2, 7]) and build(crt.Crt).stages()[1].extra
    assert crt.cosine_rate(0.2, 9, 10) == pytest.approx(0) and crt.cosine_rate(0.2, 0, 10, False) == 0.2
    for schedule, rates in (("cosine", [0.05, 0.025]), ("official", [0.025, 0.0]), ("recipe", [0.05, 0.05])):
        method = build(crt.Crt, lr_schedule=schedule)
        run = StageRun(method, epoch=18, stage="classifier")
        method.on_stage_start("classifier", run)
        found, run.stage_epochs = [], 2
        for run.stage_epoch in range(len(rates)):
            method.on_epoch_start(run)
            found.append(run.optimizers["main"].param_groups[0]["lr"])
            method.on_epoch_end(run)
        assert found == pytest.approx(rates)


@pytest.mark.parametrize("variant", ["crt", "lws"])
@pytest.mark.parametrize("bn_train", [False, True])
def test_crt_freezes_the_features(variant: str, bn_train: bool) -> None:
    method = build(crt.Crt, variant=variant, bn_train=bn_train)
    run = StageRun(method, epoch=18, stage="classifier")
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


def test_crt_classifiers_at_the_start_of_the_second_stage() -> None:
    images = torch.randn(4, 3, 10, 10)
    for variant, equal in (("crt", False), ("lws", True)):
        method = build(crt.Crt, variant=variant).eval()
        first = method.predict(images)
        torch.testing.assert_close(first, method.net(images))
        method.on_stage_start("classifier", StageRun(method, stage="classifier"))
        second = method.predict(images)
        assert torch.allclose(second, first, atol=1e-6) == equal
        torch.testing.assert_close(method.other_predictions(images)["first stage"], first)


def test_crt_means_and_tau_come_from_the_training_set() -> None:
    given = torch.arange(N) % C
    method = build(crt.Crt, task(epochs=2), variant="ncm", features="un")
    images = torch.randn(N, 3, 10, 10, generator=g(0))
    first = method.eval().predict(images)
    torch.testing.assert_close(first, method.net(images))
    run = StageRun(method, stage="representation")
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


def test_crt_samplers_of_both_stages() -> None:
    def drawn(second: bool, **options: Any) -> Tensor | None:
        method = build(crt.Crt, task(class_counts=SMALL, num_samples=len(SMALL_LABELS)), **options)
        method.in_second.fill_(second)
        rows = method.epoch_indices(SMALL_LABELS, g())
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
    late = torch.bincount(SMALL_LABELS[method.epoch_indices(SMALL_LABELS, g())], minlength=C)
    assert int(late.min()) > 35 and int(late.max()) < 100


def test_crt_needs_a_linear_classifier() -> None:
    with pytest.raises(ValueError, match=r"one nn\.Linear, not Sequential"):
        build(crt.Crt, make_net=lambda role: TinyNet(role, nn.Sequential(nn.Linear(5, C))))
