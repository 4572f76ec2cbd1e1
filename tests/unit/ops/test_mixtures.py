"""Mixtures of two Gaussians."""

from __future__ import annotations

import pytest
import torch

from fer_bench.ops import GaussianPair, two_gaussians


def groups(seed: int = 0, low: float = 0.1, high: float = 0.8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(60, generator=generator, dtype=torch.float64) * 0.05
    return noise + torch.tensor([low] * 40 + [high] * 20, dtype=torch.float64)


def test_separated_groups_are_found() -> None:
    pair = two_gaussians(groups(), random_state=0)
    torch.testing.assert_close(pair.means, torch.tensor([0.1, 0.8], dtype=torch.float64), atol=0.03, rtol=0)
    torch.testing.assert_close(pair.weights, torch.tensor([2 / 3, 1 / 3], dtype=torch.float64), atol=1e-3, rtol=0)
    posterior = pair.posterior(groups())
    assert bool((posterior[:40, 0] > 0.99).all()) and bool((posterior[40:, 1] > 0.99).all())
    torch.testing.assert_close(posterior.sum(dim=1), torch.ones(60, dtype=torch.float64))


def test_the_posterior_is_scikit_learns() -> None:
    from sklearn.mixture import GaussianMixture

    values = groups(high=0.2)
    model = GaussianMixture(2, random_state=3).fit(values[:, None].numpy())
    expected = torch.from_numpy(model.predict_proba(values[:, None].numpy())[:, model.means_[:, 0].argsort()])
    pair = two_gaussians(values, random_state=3)
    assert pair.rounds == model.n_iter_
    torch.testing.assert_close(pair.posterior(values), expected)


def test_a_given_start_needs_no_random_state() -> None:
    start = GaussianPair(*(torch.tensor(pair, dtype=torch.float64) for pair in ([0.0, 1.0], [0.1, 0.1], [0.5, 0.5])))
    a, b = (two_gaussians(groups(high=0.3), seed, start=start) for seed in (0, 1))
    assert torch.equal(a.means, b.means) and torch.equal(a.variances, b.variances)
    one = two_gaussians(groups(high=0.3), 0, max_iter=1, start=start)
    share = start.posterior(groups(high=0.3))
    torch.testing.assert_close(one.means, (share * groups(high=0.3)[:, None]).sum(0) / share.sum(0))


def test_the_likelihood_never_falls() -> None:
    start = GaussianPair(*(torch.tensor(pair, dtype=torch.float64) for pair in ([0.0, 0.4], [0.2, 0.1], [0.5, 0.5])))
    pairs = [two_gaussians(groups(high=0.3), 0, rounds, 0.0, start=start) for rounds in range(1, 12)]
    likelihoods = [float(pair.log_joint(groups(high=0.3)).logsumexp(dim=1).mean()) for pair in pairs]
    assert likelihoods == sorted(likelihoods) and likelihoods[-1] > likelihoods[0]


def test_few_rounds_do_not_warn_and_the_floor_holds(recwarn: pytest.WarningsRecorder) -> None:
    pair = two_gaussians(torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0]), 0, max_iter=1, tol=0.0, reg_covar=5e-4)
    assert not list(recwarn)
    torch.testing.assert_close(pair.variances, torch.full((2,), 5e-4, dtype=torch.float64))


@pytest.mark.parametrize("values", [[1.0], [0.0, float("nan"), 1.0]])
def test_what_cannot_be_fitted_is_an_error(values: list[float]) -> None:
    with pytest.raises(ValueError):
        two_gaussians(torch.tensor(values), 0)
