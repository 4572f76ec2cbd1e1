"""DMUE: what its formulas imply, on tiny networks."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import fer_bench_methods.dmue as dmue
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.ops import balanced_rows
from tests.helpers.maps import (
    B,
    C,
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
    {"sp_source": "logits", "train_uncertainty": True, "neck": "off", "sampler": "natural"},
    {"neck": "separate", "beta": 0.3, "dropout": 0.0, "temperature": 1.0, "head_lr_factor": 1.0},
    {"similarity_dropout": True, "official_eval_mode": True},
    {"lr_schedule": "official", "omega": 0.0, "gamma": 0.0, "redraw": False, "max_skipped": 0.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "default")
def test_every_option_trains(options: dict[str, Any]) -> None:
    assert_steps(dmue.Dmue, options)


def test_every_option_is_tried() -> None:
    assert_all_tried(dmue.Dmue, OPTIONS, apart=set())


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"beta": -1.0}, {"dropout": 1.5}])
def test_values_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        dmue.Dmue.Config(**options)


def test_branch_labels_are_a_bijection_without_the_class() -> None:
    y = torch.arange(C).repeat(2)
    for c in range(C):
        rows, own = dmue.branch_rows(y, c)
        assert (y[rows] != c).all() and (y[own] == c).all()
        assert sorted([*rows.tolist(), *own.tolist()]) == list(range(len(y)))
        assert dmue.branch_labels(y[rows], c).unique().tolist() == list(range(C - 1))


@pytest.mark.parametrize("c", range(C))
def test_latent_distributions(c: int) -> None:
    z = normal(5, C - 1).requires_grad_()
    soft = dmue.latent_distribution(z, c, 1.2)
    assert not soft.requires_grad and (soft[:, c] == 0).all()
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(5))
    others = [k for k in range(C) if k != c]
    torch.testing.assert_close(dmue.latent_distribution(z, c, 1.0)[:, others], z.detach().softmax(dim=1))
    p = z.detach().softmax(dim=1) ** (1 / 1.2)
    torch.testing.assert_close(soft[:, others], p / p.sum(dim=1, keepdim=True))
    flat = dmue.latent_distribution(z, c, 1e6)[:, others]
    torch.testing.assert_close(flat, torch.full((5, C - 1), 1 / (C - 1)), atol=1e-5, rtol=0)


def test_ramps() -> None:
    for beta in (1.0, 4.0, 6.0, 10.5):
        assert dmue.ramp_up(beta, beta) == 1 and dmue.ramp_up(beta + 1, beta) == 1
        assert dmue.ramp_up(0, beta) == pytest.approx(math.exp(-5))
        up = [dmue.ramp_up(e, beta) for e in range(40)]
        down = [dmue.ramp_down(e, beta) for e in range(40)]
        assert up == sorted(up) and down == sorted(down, reverse=True)
        assert max(down) <= 1 and down[0] == 1
    assert build(dmue.Dmue).beta == 2 and build(dmue.Dmue, task(epochs=3)).beta == 1
    assert build(dmue.Dmue, beta=0.5).beta == 6


def pooled(y: Tensor, width: int = 10) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    target, aux = normal(len(y), width, seed=3).abs(), normal(C, len(y), width, seed=4).abs()
    rows = [dmue.branch_rows(y, c) for c in range(C)]
    return target, [aux[c][r[0]] for c, r in enumerate(rows)], [aux[c][r[1]] for c, r in enumerate(rows)]


def test_without_its_parts_it_is_cross_entropy_and_the_branches() -> None:
    method, y = build(dmue.Dmue, omega=0.0, gamma=0.0, dropout=0.0), labels()
    with torch.no_grad():
        method.certainty.project[2].bias.fill_(100.0)  # a score of 1
    found = method.objective(*pooled(y), y, epoch=9)
    expected = F.cross_entropy(found["logits"], y) + dmue.ramp_down(9, 2.0) * found["auxiliary"]
    torch.testing.assert_close(found["loss"], expected)


def test_scores_are_certainties_and_scaled_similarities_span_each_row() -> None:
    method, y = build(dmue.Dmue), labels()
    found = method.objective(*pooled(y), y, epoch=3)
    assert ((found["score"] > 0) & (found["score"] < 1)).all() and found["score"].shape == (B, 1)
    similarity = found["scaled_similarity"]
    assert (similarity.min(dim=1).values == 0).all() and (similarity.max(dim=1).values == 1).all()
    assert found["soft"].gather(1, y[:, None]).eq(0).all()
    torch.testing.assert_close(found["soft"].sum(dim=1), torch.ones(B))


def test_similarity_losses_of_the_two_sources() -> None:
    y = labels()
    features, logits = (build(dmue.Dmue, sp_source=s, dropout=0.0) for s in ("features", "logits"))
    a, b = (m.objective(*pooled(y), y, epoch=3) for m in (features, logits))
    assert (a["similarity"] - b["similarity"]).abs() > 1e-4
    torch.testing.assert_close(a["auxiliary"], b["auxiliary"])
    same = normal(6, 5)
    assert float(dmue.similarity_loss(same, same)) == 0
    torch.testing.assert_close(dmue.similarity_loss(same, 3 * same), torch.zeros(()))


@pytest.mark.parametrize("source", ["features", "logits"])
def test_similarity_is_compared_without_dropout(source: str) -> None:
    """Branches that are copies of the target, on its own features, differ from it by their dropout alone."""
    y = labels()
    target = normal(B, 10, seed=3).abs()
    rows = [dmue.branch_rows(y, c) for c in range(C)]
    same = target, [target[others] for others, _ in rows], [target[own] for _, own in rows]

    def similarity(**options: Any) -> float:
        method = build(dmue.Dmue, neck="off", sp_source=source, **options)
        torch.manual_seed(0)
        return float(method.objective(*same, y, epoch=3)["similarity"].detach())

    assert similarity() == similarity(dropout=0.0) != similarity(similarity_dropout=True)
    if source == "features":
        assert similarity() == 0


def test_the_official_test_leaves_evaluation_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmue, "TEST_EVERY", 2)
    for official in (False, True):
        method = build(dmue.Dmue, official_eval_mode=official)
        run, modes, counts = Run(method, epoch=4), [], []
        for run.step in range(4):
            method.train_step(batch_for(method, run.step), run)
            modes.append(method.training)
            counts.append(int(method.necks[0].num_batches_tracked))
        assert modes == ([True, False, False, False] if official else [True] * 4)
        assert (counts[1] == counts[3]) == official, "batch-norm statistics stay as they are"
        assert len(run.minimized) == 4


def test_identical_features_are_finite() -> None:
    method, y = build(dmue.Dmue, neck="off"), labels()
    _, others, own = pooled(y)
    target = torch.ones(B, 10, requires_grad=True)
    found = method.objective(target, others, own, y, epoch=3)
    assert (found["scaled_similarity"] == 0).all()
    found["loss"].backward()
    assert bool(target.grad.isfinite().all())
    assert bool(dmue.class_similarity(torch.ones(B, 10), y, C, official=True).isnan().all())


def test_a_class_without_images_takes_no_part_in_the_scaling() -> None:
    y = torch.tensor([0, 0, 1, 1, 3, 3])
    similarity = dmue.class_similarity(normal(6, 5), y, C)
    assert (similarity[:, 2] == 0).all()
    assert (similarity[:, [0, 1, 3]].min(dim=1).values == 0).all()


@pytest.mark.parametrize("counts", [(20, 0, 12, 8), (40, 0, 0, 0)])
def test_training_goes_on_without_some_classes(counts: tuple[int, ...]) -> None:
    method = build(dmue.Dmue, task(counts))
    present = torch.nonzero(torch.tensor(counts)).squeeze(1)
    run = Run(method, epoch=4)
    method.train_step(batch_for(method, y=present[torch.arange(B) % len(present)]), run)
    assert len(run.minimized) == 1
    given = present.repeat_interleave(torch.tensor(counts)[present])
    assert set(given[method.epoch_indices(given, torch.Generator())].tolist()) == set(present.tolist())


@pytest.mark.parametrize("trained", [False, True])
def test_the_optimizer_leaves_the_score_out_unless_it_is_asked_for(trained: bool) -> None:
    method = build(dmue.Dmue, train_uncertainty=trained)
    score, neck = state_of(method.certainty), method.necks[0].weight.clone()
    head, bias = method.heads[0].weight.clone(), method.necks[0].bias.clone()
    run = Run(method, epoch=4)
    rates = [0.01, 0.1, 0.01] if trained else [0.01, 0.1]
    assert [group["lr"] for group in run.optimizers["main"].param_groups] == pytest.approx(rates)
    method.train_step(batch_for(method), run)
    assert any(not torch.equal(score[n], v) for n, v in method.certainty.state_dict().items()) == trained
    assert torch.equal(neck, method.necks[0].weight) != trained
    assert not torch.equal(head, method.heads[0].weight) and torch.equal(bias, method.necks[0].bias)


def test_branches_start_alike_and_become_different() -> None:
    method = build(dmue.Dmue)
    last = method._shared[1]
    for branch in method.branches:
        assert all(torch.equal(a, b) for a, b in zip(branch.parameters(), last.parameters(), strict=True))
    run = Run(method, epoch=4)
    method.train_step(batch_for(method), run)
    weights = [next(b.parameters()).detach() for b in (last, *method.branches)]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(weights, 2))
    assert len(method.necks) == 1 and len(build(dmue.Dmue, neck="separate").necks) == C + 1
    assert len(build(dmue.Dmue, neck="off").necks) == 0


def test_a_batch_that_lacks_a_class_makes_no_step_and_it_is_said_once() -> None:
    method = build(dmue.Dmue)
    run = Run(method)
    method.on_epoch_start(run)
    lacking = torch.tensor([0, 0, 1, 1, 2, 2, 3])
    before = state_of(method)
    with pytest.warns(UserWarning, match="skipped") as said:
        assert method.train_step(batch_for(method, y=lacking), run) == {}
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.train_step(batch_for(method, y=lacking), run)
    assert not run.minimized
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    with pytest.raises(RuntimeError, match="skipped 2 of 2 batches"):
        method.on_epoch_end(run)
    method.on_epoch_start(run)
    for _ in range(4):
        method.train_step(batch_for(method), run)
    method.train_step(batch_for(method, y=lacking), run)
    method.on_epoch_end(run)  # a fifth is allowed
    with pytest.raises(ValueError, match="two faces of each class"):
        build(dmue.Dmue, task(batch_size=7))


def test_balanced_batches_hold_every_class_twice() -> None:
    y = torch.arange(4).repeat_interleave(torch.tensor([300, 60, 9, 1]))
    rows = balanced_rows(y, 16, 2, torch.Generator().manual_seed(0))
    assert len(rows) == 16 * (len(y) // 16)
    assert all(torch.bincount(y[part], minlength=4).min() >= 2 for part in rows.split(16))
    share = torch.bincount(y[rows]).float() / len(rows)
    assert (share - 0.25).abs().max() < 0.06
    assert len(rows[y[rows] == 0].unique()) > 50
    free = balanced_rows(y, 16, 0, torch.Generator().manual_seed(0))
    assert len(free) == len(y)
    assert any(torch.bincount(y[part], minlength=4).min() < 2 for part in free.split(16))
    tight = balanced_rows(y, 8, 2, torch.Generator().manual_seed(0))
    assert all(torch.bincount(y[part], minlength=4).tolist() == [2, 2, 2, 2] for part in tight.split(8))


def test_official_rates() -> None:
    rates = [(dmue.staircase_rate(dmue.BASE_RATES, e), dmue.staircase_rate(dmue.HEAD_RATES, e)) for e in range(40)]
    assert rates[0] == (1e-4, 1e-3) and rates[5] == (1e-4, 5e-4) and rates[6] == (5e-5, 5e-4)
    assert rates[13] == (1e-5, 1e-4) and rates[22] == (5e-5, 5e-5) and rates[39] == (1e-5, 1e-5)
    method = build(dmue.Dmue, lr_schedule="official")
    run = Run(method, epoch=12)
    method.on_epoch_start(run)
    assert [group["lr"] for group in run.optimizers["main"].param_groups] == [1e-5, 1e-4]
