"""A mixture of two Gaussians on scalars such as losses, as scikit-learn fits it."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GaussianPair:
    """Two weighted Gaussians; component 0 has the smaller mean.

    Attributes:
        means: float64 [2].
        variances: float64 [2].
        weights: float64 [2], with the sum 1.
        rounds: Iterations of the fit.
    """

    means: Tensor
    variances: Tensor
    weights: Tensor
    rounds: int = 0

    def log_joint(self, values: Tensor) -> Tensor:
        """float64 [N, 2]: log weight plus log density of each component at ``values`` [N]."""
        x = values.detach().double().cpu()[:, None]
        log_density = -0.5 * (torch.log(2 * math.pi * self.variances) + (x - self.means) ** 2 / self.variances)
        return torch.log(self.weights) + log_density

    def posterior(self, values: Tensor) -> Tensor:
        """float64 [N, 2]: the probability of each component at ``values`` [N], rows summing to 1."""
        return torch.softmax(self.log_joint(values), dim=1)


def two_gaussians(
    values: Tensor,
    random_state: int,
    max_iter: int = 100,
    tol: float = 1e-3,
    reg_covar: float = 1e-6,
    start: GaussianPair | None = None,
) -> GaussianPair:
    """Fits scikit-learn's ``GaussianMixture(2)`` by maximum likelihood, in float64 on the CPU.

    Args:
        values: [N].
        random_state: Seed of the 2-means that the fit starts from.
        max_iter: Rounds at most.
        tol: The fit ends once the mean log-likelihood changes by less.
        reg_covar: Added to every variance.
        start: What the fit starts from instead of 2-means.

    Raises:
        ValueError: There are fewer than two values, or one is not finite.

    >>> pair = two_gaussians(torch.tensor([0.0, 0.2, 1.0, 1.2]), random_state=0)
    >>> [round(mean, 2) for mean in pair.means.tolist()]
    [0.1, 1.1]
    """
    # Imported here: it takes a second, which runs of most methods would wait for in vain.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    given = {}
    if start is not None:
        given = {
            "means_init": start.means[:, None].numpy(),
            "precisions_init": (1 / start.variances)[:, None, None].numpy(),
            "weights_init": start.weights.numpy(),
        }
    mixture = GaussianMixture(
        2, max_iter=max_iter, tol=tol, reg_covar=reg_covar, random_state=random_state, **given
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fit of few rounds is what some methods ask for
        mixture.fit(values.detach().double().cpu().numpy()[:, None])
    order = mixture.means_[:, 0].argsort(kind="stable")
    means, variances, weights = (
        torch.from_numpy(parameter.reshape(2)[order])
        for parameter in (mixture.means_, mixture.covariances_, mixture.weights_)
    )
    return GaussianPair(means, variances, weights, mixture.n_iter_)
