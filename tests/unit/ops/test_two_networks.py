"""What Co-teaching and JoCoR share: their settings, schedule and selection."""

from __future__ import annotations

import fer_bench_methods.coteaching as coteaching
import fer_bench_methods.jocor as jocor
import pytest
import torch

from fer_bench.method import Method
from tests.helpers.tiny import (
    B,
    N,
    TinyRun,
    batch_for,
    build,
    task,
)


@pytest.mark.parametrize("cls", [coteaching.Coteaching, jocor.Jocor])
def test_two_networks_are_built_by_role_and_start_apart(cls: type[Method]) -> None:
    method = build(cls)
    assert (method.net_a.role, method.net_b.role) == ("a", "b")
    assert not torch.equal(method.net_a.fc.weight, method.net_b.fc.weight)
    assert method.needs(method.config).networks == 2


@pytest.mark.parametrize("cls", [coteaching.Coteaching, jocor.Jocor])
def test_nothing_kept_skips_the_step(cls: type[Method]) -> None:
    method = build(cls, counting="official", forget_rate=0.9, num_gradual=1)
    run = TinyRun(method, epoch=5)
    method.train_step(batch_for(method), run)
    assert not run.minimized and not bool(run.selected[0][1].any())


@pytest.mark.parametrize("cls", [coteaching.Coteaching, jocor.Jocor])
def test_the_noise_rate_is_asked_for_only_when_used(cls: type[Method]) -> None:
    assert cls.needs(cls.Config()).noise_rate and not cls.needs(cls.Config(forget_rate=0.2)).noise_rate
    with pytest.raises(ValueError, match="noise rate"):
        build(cls, task(noise_rate=None)).forget_rate(3)
    assert build(cls, task(noise_rate=0.0)).forget_rate(15) == 0
    assert build(cls, task(noise_rate=None), forget_rate=0.2).forget_rate(15) == pytest.approx(0.2)


@pytest.mark.parametrize("cls", [coteaching.Coteaching, jocor.Jocor])
def test_official_learning_rate_and_beta(cls: type[Method]) -> None:
    method = build(cls, lr_schedule="official")
    seen = []
    for epoch in (0, 7, 8, 14):
        run = TinyRun(method, epoch, adam=True)
        method.on_epoch_start(run)
        group = next(iter(run.optimizers.values())).param_groups[0]
        seen.append((group["lr"], group["betas"]))
    assert [lr for lr, _ in seen] == pytest.approx([1e-3, 1e-3, 1e-3, 0.5e-3])
    assert [betas[0] for _, betas in seen] == [0.9, 0.9, 0.1, 0.1] and seen[0][1][1] == 0.999
    late = build(cls, lr_schedule="official", decay_start=10, official_lr=0.01)
    run = TinyRun(late, 9)
    late.on_epoch_start(run)  # an optimizer without betas is fine
    assert next(iter(run.optimizers.values())).param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("cls", [coteaching.Coteaching, jocor.Jocor])
def test_clean_score_is_minus_the_last_loss(cls: type[Method]) -> None:
    method = build(cls)
    batch = batch_for(method)
    method.train_step(batch, TinyRun(method))
    score, seen = method.clean_score(), torch.zeros(N, dtype=torch.bool)
    seen[batch.index] = True
    torch.testing.assert_close(score[seen], -method.last_loss[seen])
    torch.testing.assert_close(score[~seen], score[seen].mean().expand(N - B))
