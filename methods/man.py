"""MAN: mining ambiguity and noise.

Z. Zhang, X. Sun, J. Li, M. Wang. "MAN: Mining Ambiguity and Noise for Facial Expression Recognition in the Wild".
Pattern Recognition Letters 164 (2022) 23-29. Code: github.com/zzzzzzyang/MAN @ df07e3f (main.py).

1. Before each epoch, two networks predict every training face. A face is clean if both predict its label, ambiguous if
   one does, and noisy if none does.
2. The loss of clean faces is cross-entropy. For ambiguous faces it also has the KL divergence between the networks,
   with a growing weight.
3. The label of noisy faces is not used: each network must give the same prediction for a weak and a strong view.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, MakeNet, Method, Needs, Run, Task, hparam
from fer_bench.ops import kl_divergence, mean_log_probability, require_positive, require_range, warm_up_share

NOISY, AMBIGUOUS, CLEAN, UNDIVIDED = 0, 1, 2, -1
LONGEST_WARM_UP = 0.3
"""Share of the epochs that the warm-up takes at most to have its number of steps."""
OFFICIAL_SIZE = 224
"""Width of the official images, in whose pixels the padding and the cutout of the strong view are given."""


def division(predicted_a: Tensor, predicted_b: Tensor, labels: Tensor) -> Tensor:
    """CLEAN, AMBIGUOUS or NOISY for each sample, int64 [B]: how many of the two predicted classes are its label."""
    return (predicted_a == labels).long() + (predicted_b == labels).long()


def mutual_share(epoch: int, epochs: int, maximum: float = 0.9, beta: float = 0.65, peak: float = 0.9) -> float:
    """lambda = maximum * exp(-beta (1 - e / (peak E))^2) of a 1-based epoch e; it falls after epoch peak E."""
    return maximum * math.exp(-beta * (1 - epoch / (peak * epochs)) ** 2)


def supervised_loss(logits_a: Tensor, logits_b: Tensor, labels: Tensor) -> Tensor:
    """The mean of the two networks' mean cross-entropies."""
    return (F.cross_entropy(logits_a, labels) + F.cross_entropy(logits_b, labels)) / 2


def mutual_loss(logits_a: Tensor, logits_b: Tensor, labels: Tensor, share: float) -> Tensor:
    """L_mut = (1 - lambda) L_sup + lambda (KL(p_b || p_a) + KL(p_a || p_b)) / 2, KL being means over the samples.

    The gradient reaches both networks through both sides of both divergences.
    """
    kl = (kl_divergence(logits_b, logits_a).mean() + kl_divergence(logits_a, logits_b).mean()) / 2
    return (1 - share) * supervised_loss(logits_a, logits_b, labels) + share * kl


def view_consistency(weak: tuple[Tensor, Tensor], strong: tuple[Tensor, Tensor]) -> Tensor:
    """L_usc: the mean over both networks of the mean squared difference of the probabilities of both views."""
    a, b = (F.mse_loss(F.softmax(w, dim=1), F.softmax(s, dim=1)) for w, s in zip(weak, strong, strict=True))
    return (a + b) / 2


def divided_loss(
    kinds: Tensor,
    labels: Tensor,
    weak: Callable[[Tensor], tuple[Tensor, Tensor]],
    strong: Callable[[Tensor], tuple[Tensor, Tensor]],
    share: float,
    omega: float,
    gamma: float,
) -> dict[str, Tensor]:
    """L = L_sup(clean) + omega L_mut(ambiguous) + gamma L_usc(noisy) and its parts; an empty subset gives 0.

    ``weak(rows)`` and ``strong(rows)`` are both networks' logits of a view of the samples ``rows`` int64 [n]. Each part
    is a mean over its own subset, so one noisy face can weigh as much as all clean ones together.
    """
    clean, ambiguous, noisy = ((kinds == kind).nonzero().squeeze(1) for kind in (CLEAN, AMBIGUOUS, NOISY))
    zero = torch.zeros((), device=labels.device)
    # In the official order, in which batch norm sees the subsets.
    supervised = supervised_loss(*weak(clean), labels[clean]) if len(clean) else zero
    consistency = view_consistency(weak(noisy), strong(noisy)) if len(noisy) else zero
    mutual = mutual_loss(*weak(ambiguous), labels[ambiguous], share) if len(ambiguous) else zero
    loss = supervised + omega * mutual + gamma * consistency
    return {"loss": loss, "supervised": supervised, "mutual": mutual, "consistency": consistency}


def strong_view(images: Tensor, pad: float, cutout: float, generator: torch.Generator) -> Tensor:
    """Images [B, 3, H, W], each shifted by up to ``pad`` pixels with reflected borders and with a square set to 0.

    ``pad`` and ``cutout``, the side of the square, are in pixels of an image of 224; 0 is the mean colour.
    """
    count, _, height, width = images.shape
    scale, device = width / OFFICIAL_SIZE, images.device

    def draw(high: int) -> Tensor:
        return torch.randint(0, high, (count, 1), generator=generator, device=device)

    border, side = math.ceil(pad * scale), math.ceil(cutout * scale)
    padded = F.pad(images, (border,) * 4, mode="reflect") if border else images
    rows = draw(2 * border + 1) + torch.arange(height, device=device)
    columns = draw(2 * border + 1) + torch.arange(width, device=device)
    moved = padded[torch.arange(count, device=device)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    # the square lies around a pixel of the image and may reach over its border
    first_row, first_column = draw(height) - side // 2, draw(width) - side // 2
    at_row, at_column = torch.arange(height, device=device), torch.arange(width, device=device)
    cut_rows = (at_row >= first_row) & (at_row < first_row + side)
    cut_columns = (at_column >= first_column) & (at_column < first_column + side)
    return moved.permute(0, 3, 1, 2).masked_fill((cut_rows[:, :, None] & cut_columns[:, None, :])[:, None], 0.0)


class Man(Method):
    info = Info(
        name="MAN",
        title="MAN: Mining Ambiguity and Noise for Facial Expression Recognition in the Wild",
        authors="Ziyang Zhang, Xiao Sun, Jia Li, Meng Wang",
        venue="Pattern Recognition Letters",
        year=2022,
        idea="Two networks sort the faces by how many of the two predict the given label. If both do, the loss is "
        "cross-entropy; if one does, mutual learning is added; if none does, the label is dropped and two views must "
        "get the same prediction. The final prediction is the mean of both networks.",
        kind="label noise",
        family="faces",
        scaling="The warm-up is a tenth of the epochs. A short training extends it to 960 steps, but at most to 0.3 of "
        "the epochs: after fewer steps the networks take correct labels for noisy ones, and these faces are never "
        "learned. The ramp of the mutual loss is a share of the epochs. Each part of the loss is a mean over its own "
        "group, so a few noisy faces weigh as much as all clean ones.",
        code="github.com/zzzzzzyang/MAN @ df07e3f",
        deviations=(
            "The strong view is that of fer-bench (random mirroring, two operations of RandAugment, the recipe's "
            "erasing), then shifted and cut out in proportion to the image size. Officially the shift comes before "
            "RandAugment, each operation of RandAugment is left out half of the time, and nothing is erased.",
            "The warm-up is a tenth of the epochs, officially 10 of 100. If these hold fewer than the official 960 "
            "steps, it is extended, up to 0.3 of the epochs (warmup_steps=0 switches this off).",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method. Officially it is Adam "
            "at 1e-3.",
            "A group of one face passes through the networks twice in one batch, because batch norm cannot be trained "
            "on one value per channel.",
        ),
        ensemble="mean of two networks",
    )

    @dataclass(frozen=True)
    class Config:
        warmup: float = hparam(
            0.1, "share of the epochs with plain cross-entropy, at least one epoch", "official main.py: 10 of 100"
        )
        warmup_steps: int = hparam(
            960,
            f"steps that the warm-up has at least where {LONGEST_WARM_UP} of the epochs hold them",
            "official main.py: 10 epochs of 96 steps on RAF-DB",
        )
        omega: float = hparam(0.6, "weight of the mutual loss of ambiguous faces", "official main.py")
        gamma: float = hparam(1.0, "weight of the consistency of noisy faces", "official main.py")
        lambda_max: float = hparam(0.9, "largest share of the KL divergence in the mutual loss", "official main.py")
        beta: float = hparam(0.65, "width of the ramp of that share", "official main.py")
        peak: float = hparam(0.9, "share of the epochs at which the ramp peaks", "official main.py")
        joint_forward: bool = hparam(
            False,
            "True: one pass of the weak views of a batch instead of one for each subset; batch norm then sees them all",
            "official main.py: a pass for each subset",
        )
        strong: Literal["randaugment", "crop-cutout", "second"] = hparam(
            "randaugment",
            "strong view: RandAugment with a shift and a cutout; or a second draw of the recipe's augmentation with "
            "them ('crop-cutout'), or that draw alone",
            "official transforms",
        )
        division_view: Literal["weak", "plain"] = hparam(
            "weak", "the images that the networks sort: augmented at random, or as they are tested", "official main.py"
        )
        pad: float = hparam(4.0, "largest shift of the strong view, in pixels of an image of 224", "official")
        cutout: float = hparam(16.0, "side of the cutout, in pixels of an image of 224", "official")

        def __post_init__(self) -> None:
            for name in ("warmup", "lambda_max"):
                require_range(name, getattr(self, name), 0, 1)
            for name in ("warmup_steps", "omega", "gamma", "beta", "pad", "cutout"):
                require_range(name, getattr(self, name), low=0)
            require_positive("peak", self.peak)

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        share = warm_up_share(task, config.warmup, config.warmup_steps, LONGEST_WARM_UP)
        self.warmup_epochs = max(1, round(share * task.epochs))
        self.sample_buffer("kind", UNDIVIDED, dtype=torch.int64)

    @classmethod
    def needs(cls, config: Config) -> Needs:
        # Two networks, to divide and to train, after a warm-up of 0.3, as in short trainings; images taken for noisy
        # are trained on in two views, at a cost of 2 more.
        strong = "strong" if config.strong == "randaugment" else "second"
        views = ("weak", strong) if config.division_view == "weak" else ("weak", strong, config.division_view)
        return Needs(views=views, networks=2, forwards=3.4)

    def build(self, make_net: MakeNet) -> None:
        self.net_a, self.net_b = make_net("a"), make_net("b")

    def on_epoch_start(self, run: Run) -> None:
        """After the warm-up, sorts the whole training set."""
        if run.epoch < self.warmup_epochs:
            return
        nets = (self.net_a, self.net_b)
        for net in nets:
            net.eval()
        with torch.no_grad():
            for batch in run.training_set():
                images = batch.view(self.config.division_view)
                first, second = (net(images).argmax(dim=1) for net in nets)
                self.kind[batch.index] = division(first, second, batch.label)
        for net in nets:
            net.train()

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        if run.epoch < self.warmup_epochs:
            images = batch.view("weak")
            loss = supervised_loss(self.net_a(images).float(), self.net_b(images).float(), batch.label)
            run.minimize(loss)
            return {"loss": loss.detach()}
        kinds = self.kind[batch.index]
        share = mutual_share(run.epoch + 1, run.epochs, self.config.lambda_max, self.config.beta, self.config.peak)
        parts = self.objective(batch, kinds, share, run)
        run.record_selection(batch.index, kinds != NOISY)
        run.minimize(parts["loss"])
        names = {"clean": CLEAN, "ambiguous": AMBIGUOUS, "noisy": NOISY}
        log = {name: (kinds == kind).float().mean() for name, kind in names.items()}
        return log | {name: value.detach() for name, value in parts.items()}

    def objective(self, batch: Batch, kinds: Tensor, share: float, run: Run) -> dict[str, Tensor]:
        """:func:`divided_loss` of a batch whose samples are sorted into ``kinds`` [B]."""
        c, weak = self.config, batch.view("weak")
        whole = self.both(weak) if c.joint_forward else None

        def weak_logits(rows: Tensor) -> tuple[Tensor, Tensor]:
            return self.both(weak[rows]) if whole is None else (whole[0][rows], whole[1][rows])

        def strong_logits(rows: Tensor) -> tuple[Tensor, Tensor]:
            strong = batch.view("strong" if c.strong == "randaugment" else "second")[rows]
            if c.strong != "second":
                strong = strong_view(strong, c.pad, c.cutout, run.generator("strong"))
            return self.both(strong)

        return divided_loss(kinds, batch.label, weak_logits, strong_logits, share, c.omega, c.gamma)

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both networks. One image is passed twice, with the same batch-norm statistics."""
        twice = images.repeat(2, 1, 1, 1) if len(images) == 1 else images
        return self.net_a(twice).float()[: len(images)], self.net_b(twice).float()[: len(images)]

    def predict(self, images: Tensor) -> Tensor:
        return (self.net_a(images) + self.net_b(images)) / 2

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        a, b = self.net_a(images), self.net_b(images)
        return {"net a": a, "net b": b, "mean of probabilities": mean_log_probability(a, b)}

    def clean_score(self) -> Tensor | None:
        """How many networks agreed with the label in the last division: 2, 1 or 0. None if there was no division."""
        return None if bool((self.kind == UNDIVIDED).any()) else self.kind.float()
