"""The arithmetic of the Meta Sampler of "Balanced Meta-Softmax" (Ren et al., NeurIPS 2020; BALMS).

The Meta Sampler learns a sampling rate for each class. No method of fer-bench runs it: it needs a class-balanced stream
of meta images beside the batch and a stage with a frozen backbone, and it would tune its rates to wrong labels, as its
meta set is drawn from the training labels. These functions state its initial rates and its inner loss, which are what a
plugin that has such a stream starts from. (BalancedMetaSoftmax-Classification@34a61e4 ``data/MetaSampler.py`` and
``run_networks.py``, ``meta_forward``.)
"""

from __future__ import annotations

import torch
from torch import Tensor


def initial_rates(counts: Tensor, init_pow: float = 0.0) -> Tensor:
    """psi float32 [C], the logits of the initial rates s_c = sigmoid(psi_c), from counts [C] (all above 0).

    q = (n / N)^(-init_pow), divided by (min q + max q) so that rates lie symmetrically about 0.5; psi = logit(q).
    init_pow = 0 gives s = 0.5 for every class.
    """
    share = counts.float() / counts.float().sum()
    q = share.pow(-init_pow)
    q = q / (q.min() + q.max())
    return torch.log(q) - torch.log1p(-q)


def class_draw_probability(counts: Tensor, psi: Tensor) -> Tensor:
    """Probability [C] that a draw is of class c: n_c s_c / sum_k n_k s_k, as a sample has the weight s of its class."""
    weight = counts.to(psi.dtype) * torch.sigmoid(psi)
    return weight / weight.sum()


def straight_through_loss(per_sample: Tensor, one_hot: Tensor) -> Tensor:
    """mean_b l_b sum_j o_bj stop(o_bj): a scalar, for losses l [B] and the sampled rows o [B, N], one-hot over the set.

    Its value is the plain mean of l; its gradient with respect to o_bj is l_b / B at the sampled j and 0 elsewhere,
    which is what carries the loss back to the sampling rates.
    """
    return (per_sample * (one_hot * one_hot.detach()).sum(dim=1)).mean()
