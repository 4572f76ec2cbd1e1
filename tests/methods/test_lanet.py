"""LA-Net: what its formulas imply, on tiny networks."""

from __future__ import annotations

import math
from typing import Any

import fer_bench_methods.lanet as lanet
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fer_bench import ops
from tests.helpers.maps import (
    B,
    C,
    L,
    N,
    Run,
    assert_all_tried,
    assert_steps,
    batch_for,
    build,
    labels,
    normal,
    state_of,
    task,
)

OPTIONS: list[dict[str, Any]] = [
    {},
    {"landmark_source": "detector-like", "swap_on_flip": False, "official_peaks": True},
    {"landmark_source": "none", "sampler": "natural"},
    {"spaces": "fer", "official_ids": True, "queue": 8, "neighbours": 3, "momentum": 0.9},
    {"detach_target": True, "lr_schedule": "official", "official_lr": 0.01, "sigma": 1.0},
    {"bank_momentum": 0.5, "confidence": 0.5, "temperature": 0.5, "lam_lm": 0.5, "lam_kl": 0.5},
    {"lam_el": 1.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "default")
def test_every_option_trains(options: dict[str, Any]) -> None:
    assert_steps(lanet.Lanet, options)


def test_every_option_is_tried() -> None:
    assert_all_tried(lanet.Lanet, OPTIONS, apart={"landmark_num"})


@pytest.mark.parametrize(
    "options", [{"bank_momentum": 1.1}, {"temperature": 0.0}, {"swap_on_flip": False, "landmark_num": 5}]
)
def test_values_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        lanet.Lanet.Config(**options)


def test_targets_are_distributions_with_the_two_limits() -> None:
    method, y = build(lanet.Lanet, neighbours=3), labels()
    u, v, z, index = normal(B, 10), normal(B, 6, seed=1), normal(B, C, seed=2), torch.arange(B)
    target = method.targets(u, v, z, index, y)
    assert (target >= 0).all()
    torch.testing.assert_close(target.sum(dim=1), torch.ones(B))
    remembering = build(lanet.Lanet, neighbours=3, bank_momentum=1.0)
    assert torch.equal(remembering.targets(u, v, z, index, y), F.one_hot(y, C).float())
    forgetting = build(lanet.Lanet, neighbours=3, bank_momentum=0.0)
    for score in (forgetting.score_u, forgetting.score_v):
        nn.init.zeros_(score.fc_out[4].weight), nn.init.zeros_(score.fc_out[4].bias)
    p = z.softmax(dim=1)
    means = [lanet.neighbours(s, 3) @ p / 3 for s in (u, v)]
    torch.testing.assert_close(forgetting.targets(u, v, z, index, y), (means[0] + means[1]) / 2, atol=1e-6, rtol=1e-5)
    alone = build(lanet.Lanet, neighbours=3, bank_momentum=0.0, spaces="fer")
    nn.init.zeros_(alone.score_u.fc_out[4].weight), nn.init.zeros_(alone.score_u.fc_out[4].bias)
    torch.testing.assert_close(alone.targets(u, v, z, index, y), means[0], atol=1e-6, rtol=1e-5)


def test_neighbours_are_the_most_similar_others() -> None:
    x = normal(9, 5)
    for features in (x, torch.ones(9, 5), -x.abs()):
        mask = lanet.neighbours(features, 3)
        assert (mask.sum(dim=1) == 3).all() and (mask.diagonal() == 0).all()
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert torch.equal(lanet.neighbours(opposite, 1), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    weights = lanet.neighbour_weights(torch.rand(9, 9), mask)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(9))


def test_pair_scores_are_those_of_the_concatenated_halves() -> None:
    torch.manual_seed(0)
    score, x = lanet.PairScore(8), normal(5, 8)
    first, second = score.fc_in(x).chunk(2, dim=1)
    for i in range(5):
        for j in range(5):
            pair = score.fc_out(torch.cat([first[i], second[j]])).softmax(dim=0)[0]
            torch.testing.assert_close(score(x)[i, j], pair)


def test_the_memory_holds_what_was_last_seen() -> None:
    method, y = build(lanet.Lanet, neighbours=3), labels(6)
    index = torch.tensor([5, 9, 2, 5, 0, 5])
    assert torch.equal(method.remembered(index, y), F.one_hot(y, C).float())
    target = normal(6, C).softmax(dim=1).requires_grad_()
    before = method.bank.clone()
    method.remember(index, y, target)
    assert torch.equal(method.bank[[9, 2, 5, 0]], target.detach()[[1, 2, 5, 4]])
    absent = [i for i in range(N) if i not in index.tolist()]
    assert torch.equal(method.bank[absent], before[absent])
    assert torch.equal(method.remembered(torch.tensor([9, 1]), torch.tensor([0, 3]))[0], target.detach()[1])
    assert method.remembered(torch.tensor([9, 1]), torch.tensor([0, 3]))[1].tolist() == [0, 0, 0, 1]
    score = method.clean_score()
    assert float(score[9]) == float(target[1, y[1]].detach()) and bool(score.isfinite().all())
    torch.testing.assert_close(score[1], score[[9, 2, 5, 0]].mean())
    assert (build(lanet.Lanet).clean_score() == 0).all()


def test_the_gradient_of_the_distributions() -> None:
    method, y = build(lanet.Lanet, neighbours=3), labels()
    u, v, z = (
        normal(B, 10).requires_grad_(),
        normal(B, 6, seed=1).requires_grad_(),
        normal(B, C, seed=2).requires_grad_(),
    )
    target = method.targets(u, v, z, torch.arange(B), y)
    lanet.target_kl(target, z).backward()
    for value in (u, v, *method.score_u.parameters(), *method.score_v.parameters()):
        assert value.grad is not None and bool(value.grad.isfinite().all())
    assert any(bool(p.grad.any()) for p in method.score_u.parameters())
    for detach in (False, True):
        stepped = build(lanet.Lanet, detach_target=detach, landmark_source="none", neighbours=3)
        before = state_of(stepped.score_u)
        stepped.train_step(batch_for(stepped), Run(stepped))
        same = all(torch.equal(before[name], value) for name, value in stepped.score_u.state_dict().items())
        assert same == detach


def test_kl_is_finite_at_a_target_of_zero() -> None:
    target, z = F.one_hot(labels(), C).float().requires_grad_(), normal(B, C).requires_grad_()
    loss = lanet.target_kl(target, z)
    torch.testing.assert_close(loss, F.cross_entropy(z, labels()))
    assert bool(torch.autograd.grad(loss, target)[0].isfinite().all())
    soft = normal(B, C, seed=5).softmax(dim=1)
    torch.testing.assert_close(lanet.target_kl(soft, z), lanet.target_kl(soft, z, official=True))


def test_pseudo_labels() -> None:
    target = torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.2, 0.1, 0.7]])
    index = torch.tensor([4, 0, 7])
    assert lanet.pseudo_labels(target, index, 0.7).tolist() == [0, -1, 2]
    assert lanet.pseudo_labels(target, index, 0.7, official=True).tolist() == [0, 0, 2]
    ids = lanet.pseudo_labels(target[[1, 1, 1]], torch.tensor([0, 1, 2]), 0.7)
    assert len(ids.unique()) == 3 and (ids < 0).all() and (ids != lanet.EMPTY).all()


def test_contrast_of_distinct_labels_is_infonce() -> None:
    q, k, queue = (F.normalize(normal(n, 5, seed=s), dim=1) for s, n in enumerate((6, 6, 9)))
    loss = lanet.contrast(q, k, queue, torch.arange(6), torch.arange(10, 19), 0.1)
    scores = torch.cat([(q * k).sum(dim=1, keepdim=True), q @ queue.T], dim=1) / 0.1
    torch.testing.assert_close(loss, F.cross_entropy(scores, torch.zeros(6, dtype=torch.int64)))
    queue = queue.requires_grad_()
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8])
    lanet.contrast(q, k, queue, torch.zeros(6, dtype=torch.int64), ids, 0.1).backward()
    assert (queue.grad[0] == 0).all() and (queue.grad[1:] != 0).any(dim=1).all()
    same = torch.zeros(6, dtype=torch.int64)
    assert float(lanet.contrast(q, k, queue.detach(), same, torch.zeros(9, dtype=torch.int64), 0.1)) == 0


def test_queues_are_first_in_first_out_for_any_batch() -> None:
    method = build(lanet.Lanet, queue=5)
    for start, size in ((0, 3), (3, 3), (6, 7)):
        keys = torch.arange(start, start + size).float()[:, None].expand(-1, 6)
        method.enqueue(keys, -keys, torch.arange(start, start + size))
    assert sorted(method.queue_label.tolist()) == [8, 9, 10, 11, 12]
    assert torch.equal(method.queue_u[:, 0], method.queue_label.float()) and torch.equal(
        method.queue_v, -method.queue_u
    )
    fresh = build(lanet.Lanet)
    assert len(fresh.queue_label) == N and (fresh.queue_label == lanet.EMPTY).all()
    torch.testing.assert_close(fresh.queue_u.norm(dim=1), torch.ones(N))


def test_the_slow_copy_follows_and_is_not_trained() -> None:
    method = build(lanet.Lanet, momentum=0.5)
    fast, slow = next(method._fast[0].parameters()), next(method.slow.parameters())
    run = Run(method)
    method.train_step(batch_for(method), run)
    assert slow.grad is None and not slow.requires_grad
    before, after = slow.clone(), fast.detach().clone()
    method.train_step(batch_for(method, 1), run)
    torch.testing.assert_close(slow.data, 0.5 * before + 0.5 * after)
    assert method.queue_label[:B].ne(lanet.EMPTY).all() and int(method.pointer) == 2 * B % N


def test_the_slow_copy_reaches_over_the_same_share_of_a_short_training() -> None:
    """36 steps here, officially 7600: after all of them the first weights count as much."""
    assert build(lanet.Lanet).momentum ** 36 == pytest.approx(0.999**7600)
    assert build(lanet.Lanet, task(epochs=10_000)).momentum == 0.999 == build(lanet.Lanet, momentum=0.999).momentum


def test_exchanging_sides_twice_is_nothing() -> None:
    points = torch.rand(3, L, 2)
    exchanged = lanet.exchange_sides(points)
    assert torch.equal(lanet.exchange_sides(exchanged), points)
    assert torch.equal(exchanged[:, 6], points[:, 11]) and torch.equal(exchanged[:, 18], points[:, 18])


def test_faces_without_landmarks_teach_none() -> None:
    method = build(lanet.Lanet)
    batch, run = batch_for(method), Run(method)
    batch.landmarks[~batch.landmarks_ok] = math.nan
    maps, weights = method.heatmap_targets(batch, run, 8, 8)
    assert bool(maps.isfinite().all())
    assert ((weights > 0).flatten(1).any(dim=1) == batch.landmarks_ok).all()
    worse = build(lanet.Lanet, landmark_source="detector-like")
    moved, weights = worse.heatmap_targets(batch, run, 8, 8)
    again, _ = worse.heatmap_targets(batch, run, 8, 8)
    assert torch.equal(moved, again)
    worse.lost.fill_(True)
    assert not worse.heatmap_targets(batch, run, 8, 8)[1].any()


def test_detector_like_points_lie_on_a_grid_near_the_true_ones() -> None:
    points = torch.rand(200, L, 2)
    noise = normal(200, L, 2) * lanet.JITTER / lanet.REFERENCE_WIDTH
    moved = lanet.detector_like(points, noise)
    assert moved.min() >= 0 and moved.max() <= 1
    cells = moved * lanet.REFERENCE_WIDTH / lanet.QUANTUM
    torch.testing.assert_close(cells, cells.round(), atol=1e-3, rtol=0)
    apart = (moved - points) * lanet.REFERENCE_WIDTH
    assert 1.8 < float(apart.std()) < 2.2


def test_without_the_exchange_half_of_the_targets_have_their_sides_mixed_up() -> None:
    official = build(lanet.Lanet, swap_on_flip=False)
    run = Run(official)
    y = labels(400)
    batch = batch_for(official, y=y)
    batch.landmarks_ok.fill_(True)
    straight, _ = build(lanet.Lanet).heatmap_targets(batch, run, 8, 8)
    mixed, _ = official.heatmap_targets(batch, run, 8, 8)
    same = (mixed == straight).flatten(1).all(dim=1)
    assert 150 < int(same.sum()) < 250
    torch.testing.assert_close(mixed[~same], straight[~same][:, list(lanet.MIRRORED)])


def test_answers_do_not_depend_on_landmarks_or_the_branch() -> None:
    method = build(lanet.Lanet)
    method.train_step(batch_for(method), Run(method))
    method.eval()
    images = normal(3, 3, 32, 32)
    before = method.predict(images)
    for part in (method.landmark, method.laterals, method.heatmap, method.slow):
        for parameter in part.parameters():
            nn.init.zeros_(parameter)
    method.bank.zero_()
    assert torch.equal(before, method.predict(images))
    assert not lanet.Lanet.needs(lanet.Lanet.Config(landmark_source="none")).landmarks


def test_other_numbers_of_landmarks() -> None:
    method = build(lanet.Lanet, landmark_num=5)
    batch = batch_for(method)
    with pytest.raises(ValueError, match="needs 5 landmarks"):
        method.train_step(batch, Run(method))
    batch.landmarks = batch.landmarks[:, :5]
    method.train_step(batch, Run(method))
    with pytest.raises(ValueError, match="smaller than the batch size"):
        build(lanet.Lanet, task(batch_size=8))


def test_the_landmark_pyramid_is_as_fine_as_the_shared_layers() -> None:
    method = build(lanet.Lanet)
    u, finest = method._fast[0](normal(2, 3, 48, 48))
    assert u.shape == (2, 10) and finest.shape == (2, 6, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(
            method.net.get_classifier()(u), method.net(normal(2, 3, 48, 48)), atol=1e-5, rtol=1e-4
        )
    names = [name for name, _ in method.named_parameters()]
    assert len(names) == len(set(names)) and len(names) == len(list(method.state_dict().keys() & set(names)))


def test_budgets_go_from_natural_to_equal() -> None:
    counts = [10, 3, 1, 40, 8, 8, 30]
    assert ops.class_budget(counts, 0, 80) == counts
    assert ops.class_budget(counts, 80, 80)[:-1] == [15] * 6
    for epoch in range(80):
        budget = ops.class_budget([100, 50, 30, 1], epoch, 80)
        assert min(budget) >= 0 and sum(budget) >= 181
    y = torch.arange(7).repeat_interleave(torch.tensor(counts))
    method = build(lanet.Lanet, task(epochs=20))
    first = method.epoch_indices(y, torch.Generator().manual_seed(0))
    assert sorted(first.tolist()) == list(range(len(y)))
    for _ in range(19):
        method.on_epoch_end(Run(method))
    late = method.epoch_indices(y, torch.Generator().manual_seed(0))
    assert torch.bincount(y[late]).tolist() == ops.class_budget(counts, 19, 20)
    often = torch.bincount(late, minlength=len(y))
    for c in range(7):
        mine = often[y == c]
        assert mine.max() - mine.min() <= 1
    gap = method.epoch_indices(torch.tensor([0, 0, 2]), torch.Generator())
    assert set(gap.tolist()) <= {0, 1, 2}


def test_official_rate_falls_to_zero_step_by_step() -> None:
    method = build(lanet.Lanet, lr_schedule="official", landmark_source="none")
    run, rates = Run(method, epochs=2), []
    for run.epoch in range(2):
        for run.step in range(4):
            method.train_step(batch_for(method), run)
            rates.append(run.optimizers["main"].param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3 * (1 - i / 8) for i in range(8)])
