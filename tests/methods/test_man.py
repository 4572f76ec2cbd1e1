"""MAN: what its formulas imply, on tiny networks."""

from __future__ import annotations

import math
from typing import Any

import fer_bench_methods.man as man
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch
from tests.helpers.options import assert_refused, assert_whole_run, runs_of_each
from tests.helpers.tiny import (
    B,
    C,
    N,
    TinyNet,
    TinyRun,
    batch_for,
    build,
    labels,
    logits,
    number,
    seeded,
    task,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"joint_forward": True, "strong": "second"},
    {"strong": "crop-cutout", "division_view": "plain"},
    {"pad": 0.0, "cutout": 0.0, "warmup": 0.5, "warmup_steps": 0},
]


@runs_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epochs: int) -> None:
    assert_whole_run(man.Man, options, epochs)


@pytest.mark.parametrize(
    ("name", "value"),
    [("warmup", 1.5), ("lambda_max", -0.1), ("omega", -1.0), ("gamma", -1.0), ("pad", -1.0), ("peak", 0.0)],
)
def test_bounds_name_the_setting_and_the_value(name: str, value: float) -> None:
    assert_refused(man.Man, name, value)


def test_division_partitions_and_follows_the_labels() -> None:
    a, b, y = (torch.randint(0, C, (200,), generator=seeded(seed)) for seed in range(3))
    b[::3], y[::4] = a[::3], a[::4]
    kinds = man.division(a, b, y)
    assert set(kinds.tolist()) == {man.CLEAN, man.AMBIGUOUS, man.NOISY}
    assert torch.equal(kinds == man.CLEAN, (a == y) & (b == y))
    assert torch.equal(kinds == man.NOISY, (a != y) & (b != y))
    renamed = torch.randperm(C, generator=seeded())
    assert torch.equal(man.division(renamed[a], renamed[b], renamed[y]), kinds)


def test_mutual_share_peaks_at_nine_tenths_and_falls() -> None:
    assert man.mutual_share(90, 100) == pytest.approx(0.9)
    assert man.mutual_share(11, 100) == pytest.approx(0.5454, abs=1e-4)
    shares = [man.mutual_share(e, 100) for e in range(1, 101)]
    assert shares[:90] == sorted(shares[:90]) and shares[89] > shares[99] > 0.89


def test_mutual_loss() -> None:
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


def test_parts_are_means_over_their_own_subset() -> None:
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


def test_consistency_of_equal_views_is_zero() -> None:
    a, b = logits(0), logits(1)
    assert number(man.view_consistency((a, b), (a, b))) == 0
    expected = ((a.softmax(1) - b.softmax(1)) ** 2).mean()
    torch.testing.assert_close(man.view_consistency((a, b), (b, a)), expected)


def test_strong_view() -> None:
    images = torch.randn(6, 3, 56, 56, generator=seeded())
    assert torch.equal(man.strong_view(images, 0, 0, seeded(1)), images)
    # the square is 16 of 224 pixels wide: 4 here, less where it reaches over the border
    cut = (man.strong_view(images, 0, 16, seeded(1)) == 0).all(dim=1).sum(dim=(1, 2))
    assert bool((cut >= 4).all()) and bool((cut <= 16).all()) and int(cut.max()) == 16
    moved = man.strong_view(images, 16, 0, seeded(1))
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
def test_divides_the_whole_set_in_evaluation_mode(view: Any) -> None:
    method, given = build(man.Man, warmup_steps=0, division_view=view), labels(3, N)
    images = {name: torch.randn(N, 3, 10, 10, generator=seeded(place)) for place, name in enumerate(("weak", "plain"))}
    run, allowed = TinyRun(method, epoch=1), method.needs(method.config).views

    def views(rows: Tensor) -> Any:
        return lambda name: images[name][rows]

    run.batches = [Batch(rows, given[rows], views(rows), allowed) for rows in torch.arange(N).split(B)]
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


def test_trains_each_subset() -> None:
    method = build(man.Man, warmup_steps=0)
    run, batch = TinyRun(method, epoch=5), batch_for(method)
    method.kind[batch.index] = torch.tensor([2, 2, 2, 1, 1, 1, 0, 0])
    logged = method.train_step(batch, run)
    assert [number(logged[name]) for name in ("clean", "ambiguous", "noisy")] == [3 / 8, 3 / 8, 2 / 8]
    # in the official order: clean, noisy in both views, ambiguous
    assert len(run.minimized) == 1 and method.net_a.passes == [3, 2, 2, 3]
    assert run.selected[0][1].tolist() == [True] * 6 + [False] * 2
    joint = build(man.Man, warmup_steps=0, joint_forward=True)
    joint.kind[batch.index] = method.kind[batch.index]
    joint.train_step(batch, TinyRun(joint, epoch=5))
    assert joint.net_a.passes == [B, 2]


@pytest.mark.parametrize(
    ("strong", "view"), [("randaugment", "strong"), ("crop-cutout", "second"), ("second", "second")]
)
def test_strong_view_comes_from_the_harness(strong: Any, view: str) -> None:
    method = build(man.Man, warmup_steps=0, strong=strong)
    batch, asked = batch_for(method), []

    def views(name: str) -> Tensor:
        asked.append(name)
        return batch.view("weak")

    method.kind[batch.index] = man.NOISY
    allowed = method.needs(method.config).views
    logged = method.train_step(Batch(batch.index, batch.label, views, allowed), TinyRun(method, epoch=5))
    assert asked == ["weak", view] and set(allowed) == {"weak", view}
    # the same image in both views: what differs is the shift and the cutout
    assert (number(logged["consistency"]) == 0) == (strong == "second")


def test_never_asks_for_the_strong_view_of_faces_that_are_not_noisy() -> None:
    method = build(man.Man, warmup_steps=0)
    batch = batch_for(method)

    def only_weak(name: str) -> Tensor:
        assert name == "weak"
        return batch.view("weak")

    method.kind[batch.index] = man.CLEAN
    method.train_step(Batch(batch.index, batch.label, only_weak, ("weak", "strong")), TinyRun(method, epoch=5))


def test_subset_of_one_face() -> None:
    class Deep(TinyNet):
        def forward_features(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(x).mean(dim=(2, 3), keepdim=True))

    method = build(man.Man, warmup_steps=0, make_net=Deep)
    batch = batch_for(method)
    method.kind[batch.index] = torch.tensor([2, 1, 0, 0, 0, 0, 0, 0])
    run = TinyRun(method, epoch=5)
    method.train_step(batch, run)
    assert math.isfinite(run.minimized[0][1])


def test_warm_up_and_answer() -> None:
    method = build(man.Man)
    assert method.warmup_epochs == 6, "960 steps do not fit into 0.3 of these epochs"
    assert build(man.Man, warmup_steps=0).warmup_epochs == 2 and build(man.Man, task(epochs=3)).warmup_epochs == 1
    assert build(man.Man, warmup=0.5).warmup_epochs == 10 and build(man.Man, warmup_steps=20).warmup_epochs == 4
    batch, run = batch_for(method), TinyRun(method, epoch=1)
    a, b = method.net_a(batch.view("weak")), method.net_b(batch.view("weak"))
    method.train_step(batch, run)
    assert run.minimized == [("main", pytest.approx(number(man.supervised_loss(a, b, batch.label))))]
    method.eval()
    images = torch.randn(4, 3, 10, 10)
    torch.testing.assert_close(method.predict(images), (method.net_a(images) + method.net_b(images)) / 2)
    torch.testing.assert_close(method.other_predictions(images)["net a"], method.net_a(images))
