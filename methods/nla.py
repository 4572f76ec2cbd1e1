"""NLA: navigating label ambiguity.

J. Lee, Y. Choi, H. Kim, I.-J. Kim, G. P. Nam. "Navigating Label Ambiguity for Facial Expression Recognition in the
Wild". AAAI 2025, arXiv 2502.09993. Code: github.com/jungyu0413/NLA @ b86f31f (src/loss.py, train.py, main_rafdb.py).

1. A sample is a point u = (p_GT, p_NN): the probability of its label, and the highest among the other classes.
2. A weight w* is the value of a 2-D Gaussian at u. There is one Gaussian for correctly and one for wrongly predicted
   samples. Ambiguous faces get large weights, and faces that look mislabelled get small ones.
3. The loss is (1 + w*) times cross-entropy, plus the disagreement between a face and its mirror image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, MakeNet, Method, Needs, Run, SampleWeight, hparam
from fer_bench.ops import (
    class_activation_maps,
    mirror,
    pooled_linear_classifier,
    require_positive,
    require_range,
)

Regulariser = Literal["bhattacharyya_scaled", "bhattacharyya_sum", "jsd_mean", "l1_mean", "cam", "none"]
Form = Literal["density", "unnormalised"]


def sigma_schedule(epoch: int, epochs: int, slope: float = -15.0) -> float:
    """s_e = 1 - exp(slope * e / E) of a 0-based epoch e: 0 at the start, towards 1 (main_rafdb.py)."""
    return 1.0 - math.exp(slope * epoch / epochs)


@dataclass(frozen=True)
class Gaussian:
    """A bivariate Gaussian over (p_GT, p_NN) whose covariance is [[variance, covariance], [covariance, variance]]."""

    mean_gt: float
    mean_nn: float
    variance: float
    covariance: float

    def __call__(self, p_gt: Tensor, p_nn: Tensor, form: Form = "density") -> Tensor:
        """The density at the points, or its exponential factor alone ("unnormalised", peak 1): [B].

        The inverse of the 2 x 2 matrix is written out. There is no product over the batch, which mixed the samples in
        the first release of the official code.
        """
        determinant = self.variance**2 - self.covariance**2
        x, y = p_gt - self.mean_gt, p_nn - self.mean_nn
        squared = (self.variance * (x * x + y * y) - 2 * self.covariance * x * y) / determinant
        value = torch.exp(-0.5 * squared)
        return value if form == "unnormalised" else value / (2 * math.pi * math.sqrt(determinant))


def true_gaussian(mean: tuple[float, float], std: float, ratio: float, s: float) -> Gaussian:
    """Of correctly predicted samples: isotropic at s = 0, long along (1, -1) at s = 1 (src/loss.py)."""
    major, minor = std**2, (std / ratio) ** 2
    return Gaussian(*mean, variance=major + minor, covariance=-s * (major - minor))


def false_gaussian(mean: tuple[float, float], std: float, ratio: float) -> Gaussian:
    """Of wrongly predicted samples: long along (1, 1), the same in every epoch (src/loss.py)."""
    major, minor = std**2, (std / ratio) ** 2
    return Gaussian(*mean, variance=major + minor, covariance=major - minor)


def ambiguity(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """p_GT and p_NN = max over k != y of p_k, both [B], of probabilities [B, K] and labels [B]."""
    p_gt = probabilities.gather(1, labels[:, None]).squeeze(1)
    others = probabilities.scatter(1, labels[:, None], -1.0)
    return p_gt, others.max(dim=1).values


def ambiguity_weight(
    p_gt: Tensor, p_nn: Tensor, true: Gaussian, false: Gaussian, form: Form = "density", t_lambda: float = 1.0
) -> Tensor:
    """w* [B]: the True Gaussian times t_lambda where p_GT >= p_NN, the False Gaussian elsewhere."""
    return torch.where(p_gt >= p_nn, t_lambda * true(p_gt, p_nn, form), false(p_gt, p_nn, form))


def bhattacharyya(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """-log sum_k sqrt(p_k q_k), [B], for p, q = softmax of the logits [B, K]; 0 iff p = q, unbounded above."""
    return -torch.logsumexp((F.log_softmax(logits_p, dim=1) + F.log_softmax(logits_q, dim=1)) / 2, dim=1)


def jensen_shannon(logits_p: Tensor, logits_q: Tensor) -> Tensor:
    """0.5 KL(p || m) + 0.5 KL(q || m) with m = (p + q) / 2, [B], for logits [B, K]; at most log 2."""
    log_p, log_q = F.log_softmax(logits_p, dim=1), F.log_softmax(logits_q, dim=1)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2.0)
    return 0.5 * (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(dim=1)


def flip_regulariser(
    logits: Tensor, logits_mirror: Tensor, kind: Regulariser = "bhattacharyya_scaled", reference_batch: int = 32
) -> Tensor:
    """L_reg, a scalar, of the logits [B, K] of the faces and of their mirror images.

    The official form is 0.5 [KL(M || p) + KL(M || p')] with M = softmax((z + z') / 2), which per sample is the
    Bhattacharyya distance -log sum_k sqrt(p_k p'_k). "bhattacharyya_sum" is the official sum over the batch;
    "bhattacharyya_scaled" is ``reference_batch`` times the mean, equal at B = 32 and as strong at any other size;
    "jsd_mean" is the mean of the textbook Jensen-Shannon divergence, "l1_mean" that of sum_k |p_k - p'_k|.
    "none" is 0.
    """
    if kind == "none":
        return logits.new_zeros(())
    if kind == "jsd_mean":
        return jensen_shannon(logits, logits_mirror).mean()
    if kind == "l1_mean":
        return (F.softmax(logits, dim=1) - F.softmax(logits_mirror, dim=1)).abs().sum(dim=1).mean()
    distance = bhattacharyya(logits, logits_mirror)
    return distance.sum() if kind == "bhattacharyya_sum" else reference_batch * distance.mean()


class Nla(Method):
    info = Info(
        name="NLA",
        title="Navigating Label Ambiguity for Facial Expression Recognition in the Wild",
        authors="JunGyu Lee, Yeji Choi, Haksub Kim, Ig-Jae Kim, Gi Pyo Nam",
        venue="AAAI",
        year=2025,
        idea="Weights each face by a two-dimensional Gaussian over the probability of its label and the highest other "
        "probability. Ambiguous faces get large weights, and probably mislabelled faces get small ones. The "
        "predictions of a face and its mirror image must agree.",
        kind="both",
        family="faces",
        scaling="The gradient also passes through the weight w*. In the first steps, the network can therefore lower "
        "its loss by confident wrong predictions. Trainings of a few hundred steps can end in this "
        "state; later, the same gradient suppresses wrong labels well. Shorter trainings learn with detach_weight=true "
        "or reg='jsd_mean'. The schedule is a share of the epochs. The regulariser is 32 times the batch mean for any "
        "batch size. It is what helps under noise, and it costs accuracy under imbalance. On drawn faces with the "
        "searched settings (three seeds, reference sweep reference-nla-regulariser), symmetric noise of 0.4 gives "
        "75.4 % with it and 67.3 % with reg='none'. An imbalance factor of 50 gives a mean accuracy over classes of "
        "50.0 % with it, 55.4 % with reg='none', and 53.9 % with cross-entropy. With 40 % noise and an imbalance "
        "factor of 20 together, 238 steps are too few for the official settings (33.7 %). After 1,020 steps they have "
        "44.3 %, and cross-entropy has 40.2 % (reference sweeps reference-ablation and reference-ablation-long).",
        arxiv="2502.09993",
        code="github.com/jungyu0413/NLA @ b86f31f",
        deviations=(
            "The flip regulariser is 32 times the mean over the batch; officially it is the sum. Both are equal at the "
            "official batch size of 32. Here, other batch sizes and a short last batch do not change its strength "
            "(reg='bhattacharyya_sum' is the official form).",
            "The official script names ablations with L1 and CAM and has no code for them. Here 'l1_mean' is the "
            "distance of the two probability vectors, and 'cam' is the attention consistency of EAC.",
            "A batch of one face works. The official code stops at it, because squeeze() has no dimension.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        lam_a: float = hparam(0.5, "weight of cross-entropy", "official main_rafdb.py")
        lam_b: float = hparam(0.5, "weight of w* times cross-entropy", "official main_rafdb.py")
        lam_c: float = hparam(0.5, "weight of the flip regulariser", "official main_rafdb.py")
        slope: float = hparam(-15.0, "slope of s_e = 1 - exp(slope * e / E)", "official main_rafdb.py")
        schedule: bool = hparam(True, "False: s = 1 in every epoch", "official main_rafdb.py")
        t_lambda: float = hparam(1.0, "factor on the weight of correctly predicted faces", "official main_rafdb.py")
        mu_x_t: float = hparam(0.5, "True Gaussian: mean of p_GT", "official main_rafdb.py")
        mu_y_t: float = hparam(0.5, "True Gaussian: mean of p_NN", "official main_rafdb.py")
        mu_x_f: float = hparam(0.3, "False Gaussian: mean of p_GT", "official main_rafdb.py")
        mu_y_f: float = hparam(0.15, "False Gaussian: mean of p_NN", "official main_rafdb.py")
        t_std_major: float = hparam(0.8, "True Gaussian: sigma_T", "official main_rafdb.py")
        t_std_ratio: float = hparam(2.0, "True Gaussian: ratio of its axes", "official main_rafdb.py")
        f_std_major: float = hparam(0.91, "False Gaussian: sigma_F", "official main_rafdb.py")
        f_std_ratio: float = hparam(6.0, "False Gaussian: ratio of its axes", "official main_rafdb.py")
        gaussian: Literal["density", "unnormalised"] = hparam(
            "density", "'density', or 'unnormalised' (peak 1), as the authors' V-NAW has it", "official src/loss.py"
        )
        reg: Literal["bhattacharyya_scaled", "bhattacharyya_sum", "jsd_mean", "l1_mean", "cam", "none"] = hparam(
            "bhattacharyya_scaled",
            "'bhattacharyya_scaled', 'bhattacharyya_sum' (verbatim), 'jsd_mean' (the formula of the paper's figure), "
            "'l1_mean' (distance of the probabilities), 'cam' (distance of the class activation maps) or 'none'",
            "official src/loss.py, made independent of the batch size",
        )
        reference_batch: int = hparam(32, "batch size whose sum 'bhattacharyya_scaled' keeps", "official batch")
        detach_weight: bool = hparam(False, "True: no gradient through w*", "official src/loss.py does not detach")

        def __post_init__(self) -> None:
            for name in ("lam_a", "lam_b", "lam_c", "t_lambda"):
                require_range(name, getattr(self, name), low=0)
            require_range("slope", self.slope, high=0)
            for name in ("t_std_major", "f_std_major"):
                require_positive(name, getattr(self, name))
            for name in ("t_std_ratio", "f_std_ratio", "reference_batch"):
                require_range(name, getattr(self, name), low=1)

    @classmethod
    def needs(cls, config: Config) -> Needs:
        return Needs(views=("weak", "mirror"), forwards=2.0)

    @classmethod
    def sample_weight(cls, config: Config, epoch: int, epochs: int) -> SampleWeight:
        s = sigma_schedule(epoch, epochs, config.slope) if config.schedule else 1.0
        true = true_gaussian((config.mu_x_t, config.mu_y_t), config.t_std_major, config.t_std_ratio, s)
        false = false_gaussian((config.mu_x_f, config.mu_y_f), config.f_std_major, config.f_std_ratio)
        return lambda p_gt, p_nn: ambiguity_weight(p_gt, p_nn, true, false, config.gaussian, config.t_lambda)

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        if self.config.reg == "cam":
            pooled_linear_classifier(self.net)

    def weight(self, logits: Tensor, labels: Tensor, s: float) -> Tensor:
        """w* [B] of logits [B, K] at schedule value s."""
        c = self.config
        true = true_gaussian((c.mu_x_t, c.mu_y_t), c.t_std_major, c.t_std_ratio, s)
        false = false_gaussian((c.mu_x_f, c.mu_y_f), c.f_std_major, c.f_std_ratio)
        p_gt, p_nn = ambiguity(F.softmax(logits, dim=1), labels)
        w = ambiguity_weight(p_gt, p_nn, true, false, c.gaussian, c.t_lambda)
        return w.detach() if c.detach_weight else w

    def objective(
        self, logits: Tensor, logits_mirror: Tensor, labels: Tensor, s: float, reg: Tensor | None = None
    ) -> dict[str, Tensor]:
        """L = lam_a mean(CE) + lam_b mean(w* CE) + lam_c L_reg and its parts; no cross-entropy on the mirror image.

        L_reg is computed from the logits unless it is given.
        """
        c = self.config
        ce = F.cross_entropy(logits, labels, reduction="none")
        w = self.weight(logits, labels, s)
        if reg is None:
            reg = flip_regulariser(logits, logits_mirror, c.reg, c.reference_batch)
        loss = c.lam_a * ce.mean() + c.lam_b * (w * ce).mean() + c.lam_c * reg
        return {"loss": loss, "ce": ce.mean(), "weight": w.mean(), "reg": reg}

    def forward_with_maps(self, face: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of both views, and the mean squared distance of their maps after the second ones are mirrored back."""
        features, features_mirror = self.net.forward_features(face), self.net.forward_features(mirrored)
        with torch.autocast(features.device.type, enabled=False):
            weight = self.net.get_classifier().weight.float()
            maps = class_activation_maps(features.float(), weight)
            distance = F.mse_loss(maps, mirror(class_activation_maps(features_mirror.float(), weight)))
        return self.net.forward_head(features), self.net.forward_head(features_mirror), distance

    def train_step(self, batch: Batch, run: Run) -> dict[str, Tensor]:
        face, mirrored, reg = batch.view("weak"), batch.view("mirror"), None
        # One call for each view: batch-norm statistics are then those of one view, as in the official code.
        if self.config.reg == "cam":
            logits, logits_mirror, reg = self.forward_with_maps(face, mirrored)
        else:
            logits, logits_mirror = self.net(face), self.net(mirrored)
        s = sigma_schedule(run.epoch, run.epochs, self.config.slope) if self.config.schedule else 1.0
        parts = self.objective(logits.float(), logits_mirror.float(), batch.label, s, reg)
        run.minimize(parts["loss"])
        return {name: value.detach() for name, value in parts.items()}
