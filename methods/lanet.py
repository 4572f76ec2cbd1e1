"""LA-Net: landmark-aware learning.

Z. Wu, J. Cui. "LA-Net: Landmark-Aware Learning for Reliable Facial Expression Recognition under Label Noise".
ICCV 2023, arXiv 2307.09023. Code: github.com/hw-tony/LA-Net @ 74bb121.

1. A second branch learns to find 19 landmarks, which do not depend on labels. It is not used for testing.
2. The label distribution of a face is the mean prediction of its neighbours in expression and in landmark space. It is
   smoothed over the epochs and is a second target beside the given label.
3. Expression and landmark features of faces with the same confident pseudo-label are brought together.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Needs, Run, Task, hparam
from fer_bench.ops import (
    LandmarkBranches,
    PairScore,
    adaptive_wing,
    budget_rows,
    class_budget,
    contrast,
    copied,
    evaluating,
    follow,
    gaussian_heatmaps,
    heatmap_weights,
    landmark_cells,
    pooled_linear_classifier,
    projection,
    queue_places,
    require_positive,
    require_range,
    resolution_stages,
    scaled_momentum,
    total_steps,
)

OFFICIAL_MOMENTUM, OFFICIAL_STEPS = 0.999, 80 * 95
"""Of the slow copy, in 80 epochs of RAF-DB in batches of 128 (train.py)."""

MIRRORED = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 14, 13, 12, 17, 16, 15, 18)
"""The index of each of the 19 points (AFLW order) in a mirrored face: left and right are exchanged."""

EMPTY = -10_000_000_000
"""Label of an empty queue entry; it differs from every label and id."""

SHARED_STRIDE = 4
"""Both branches share layers up to this stride (stem and layer 1 of a ResNet); heatmaps have it too."""

REFERENCE_WIDTH = 224
JITTER, QUANTUM, DROPPED = 2.0, 0.875, 0.02
"""'detector-like' landmarks: standard deviation and grid, in pixels of a face 224 wide, and the share of lost faces."""


def exchange_sides(points: Tensor) -> Tensor:
    """The points [..., 19, 2] with left and right points exchanged."""
    return points[..., list(MIRRORED), :]


def landmark_loss(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """L_lm: the mean adaptive wing loss of heatmaps [B, L, H, W], each entry times its weight; a scalar."""
    # Landmarks last, as networks store maps on the CPU; reordering them costs more than the loss.
    predicted, target, weights = (x.movedim(1, -1) for x in (predicted, target, weights))
    return (adaptive_wing(predicted, target) * weights).mean()


def neighbours(features: Tensor, k: int) -> Tensor:
    """M [B, B]: 1 at the k nearest other rows of each row of features [B, D] by cosine similarity, else 0."""
    unit = F.normalize(features.detach(), dim=1, eps=1e-8)
    similarity = (unit @ unit.T).fill_diagonal_(-2.0)
    return torch.zeros_like(similarity).scatter_(1, similarity.topk(k, dim=1).indices, 1.0)


def neighbour_weights(score: Tensor, mask: Tensor, eps: float = 1e-8) -> Tensor:
    """[B, B], rows sum to 1: scores of the neighbours, normalised, with eps / B on every column."""
    w = score * mask
    return (w + eps / w.shape[1]) / (w.sum(dim=1, keepdim=True) + eps)


def distribution_now(weights: Sequence[Tensor], logits: Tensor) -> Tensor:
    """t_now [B, C]: the mean over spaces of the neighbours' weighted predictions, from weights [B, B] each."""
    return torch.stack([w @ F.softmax(logits, dim=1) for w in weights]).mean(dim=0)


def target_kl(target: Tensor, logits: Tensor, official: bool = False) -> Tensor:
    """L_kl = mean over i of KL(target_i || softmax(z_i)), a scalar; the gradient reaches the target as well.

    The gradient at a target of exactly 0 is finite; ``official=True`` has NaN there.
    """
    log_p = F.log_softmax(logits, dim=1)
    if official:
        return F.kl_div(log_p, target, reduction="batchmean")
    log_target = target.clamp(min=torch.finfo(target.dtype).tiny).log()
    return (target * (log_target - log_p)).sum(dim=1).mean()


def pseudo_labels(target: Tensor, index: Tensor, confidence: float, official: bool = False) -> Tensor:
    """r int64 [B]: the best class if its target [B, C] is at least ``confidence``, else an id of this sample only.

    The id is -(index + 1); officially -index, which for sample 0 is class 0.
    """
    best, classes = target.detach().max(dim=1)
    return torch.where(best >= confidence, classes, -index if official else -(index + 1))


def detector_like(points: Tensor, jitter: Tensor) -> Tensor:
    """Points [B, L, 2] (fractions) as from a detector: moved by ``jitter`` [B, L, 2], on a grid, inside the image."""
    quantum = QUANTUM / REFERENCE_WIDTH
    return (((points + jitter) / quantum).round() * quantum).clamp(0, 1)


class Lanet(Method):
    info = Info(
        name="LA-Net",
        title="LA-Net: Landmark-Aware Learning for Reliable Facial Expression Recognition under Label Noise",
        authors="Zhiyu Wu, Jinshi Cui",
        venue="ICCV",
        year=2023,
        idea="A second branch learns landmarks. Label distributions come from neighbours in expression and in landmark "
        "space. Both kinds of features are brought together for faces with equal pseudo-labels. Test images need no "
        "landmarks.",
        kind="label noise",
        family="faces",
        scaling="The slow copy covers the same share of a short training as of the official 7600 steps. The memory of "
        "distributions keeps 0.9 of itself in each visit, so the given label has a weight of 0.23 after 14 epochs and "
        "of 0.002 after 60. neighbours must be smaller than the batch. At symmetric noise of 0.4, other trials "
        "reach 69, 70 and 71 %, the default 68 % (tune-quick, exact landmarks, test set). They are worse under "
        "imbalance, so the search keeps the default.",
        arxiv="2307.09023",
        code="github.com/hw-tony/LA-Net @ 74bb121",
        deviations=(
            "Left and right landmarks are exchanged in mirrored images. Officially they are not, so each of these "
            "heatmaps gets two peaks over time (swap_on_flip=false).",
            "Faces without landmarks have no landmark loss; officially their targets are empty heatmaps.",
            "An uncertain face has the id -(index + 1); officially sample 0 gets class 0 (official_ids=true).",
            "Windows of heatmaps are rounded down; officially peaks at the left and top move (official_peaks=true).",
            "If a face occurs twice in a batch, the memory keeps its last distribution; officially either one.",
            "The queue has at most one entry for each training image. The sampler leaves out empty classes.",
            "The slow copy follows faster in fewer than the official 7600 steps (momentum=0.999).",
            "The checkpoint includes the memory of distributions; officially it does not.",
            "The recipe sets the optimizer and the learning-rate schedule, as for every method; lr_schedule='official' "
            "sets the official schedule.",
            "The augmentation is the recipe's; officially it also has random crops and colour jitter.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        neighbours: int = hparam(8, "K, neighbours in the batch in each space", "official train.py")
        bank_momentum: float = hparam(0.9, "share of the remembered distribution in a target", "official train.py")
        confidence: float = hparam(0.7, "a target's best class is a pseudo-label from here on", "official train.py")
        temperature: float = hparam(0.1, "T of the contrast", "official train.py")
        queue: int = hparam(8192, "most entries of the queues of keys", "official train.py")
        momentum: float | None = hparam(
            None,
            "share that the slow copy keeps of itself in a step; none = 0.999, in fewer than 7600 steps "
            "0.999^(7600 / steps), so that it does not stay at random weights",
            "official train.py: 0.999 in 80 epochs of 95 steps",
        )
        lam_lm: float = hparam(1.0, "weight of the landmark loss", "official train.py")
        lam_kl: float = hparam(1.0, "weight of the label distributions", "official train.py")
        lam_el: float = hparam(0.1, "weight of the contrast", "official train.py")
        sigma: float = hparam(1.5, "heatmaps: standard deviation of the peaks, in cells", "official")
        landmark_num: int = hparam(19, "landmarks of each face", "official: 19 in AFLW order")
        landmark_source: Literal["given", "detector-like", "none"] = hparam(
            "given",
            "the data's landmarks; 'detector-like' moves them by 2 of 224 pixels, once for each image, and loses 2 % "
            "of the faces, for drawn faces whose landmarks are exact; 'none' leaves the landmark branch, its half of "
            "the distributions and the contrast out, and is LA-Net without landmarks",
            "project default",
        )
        spaces: Literal["both", "fer"] = hparam("both", "'fer': neighbours in expression space only", "official: both")
        swap_on_flip: bool = hparam(
            True,
            "False exchanges left and right landmarks in a random half of the images. That is what the official code "
            "does to the targets of mirrored images; which ones are mirrored a method is not told",
            "project default; official augment.py does not exchange them",
        )
        official_ids: bool = hparam(False, "True: ids -index, so that sample 0 is class 0", "official")
        official_peaks: bool = hparam(False, "True: int() truncation in the heatmaps", "official")
        detach_target: bool = hparam(
            False,
            "True: no gradient through the label distributions; the pair scores are then never trained",
            "official: live",
        )
        sampler: Literal["progressive", "natural"] = hparam(
            "progressive", "'progressive' goes from natural to equal class counts over the epochs", "official"
        )
        lr_schedule: Literal["recipe", "official"] = hparam(
            "recipe", "'official': official_lr, linearly to 0 step by step", "official train.py"
        )
        official_lr: float = hparam(1e-3, "learning rate of lr_schedule='official'", "official train.py")

        def __post_init__(self) -> None:
            require_range("bank_momentum", self.bank_momentum, 0, 1)
            if self.momentum is not None:
                require_range("momentum", self.momentum, 0, 1)
            for name in ("confidence", "lam_lm", "lam_kl", "lam_el"):
                require_range(name, getattr(self, name), low=0)
            for name in ("neighbours", "queue", "landmark_num"):
                require_range(name, getattr(self, name), low=1)
            for name in ("temperature", "sigma", "official_lr"):
                require_positive(name, getattr(self, name))
            if not self.swap_on_flip and self.landmark_num != len(MIRRORED):
                raise ValueError(f"swap_on_flip=false knows the {len(MIRRORED)} points of AFLW only")

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        if config.neighbours >= task.batch_size:
            raise ValueError(f"neighbours = {config.neighbours} is not smaller than the batch size {task.batch_size}")
        scaled = scaled_momentum(OFFICIAL_MOMENTUM, OFFICIAL_STEPS, total_steps(task))
        self.momentum = scaled if config.momentum is None else config.momentum
        self.has_landmarks = config.landmark_source != "none"
        self.sample_buffer("bank", 0.0, (task.num_classes,), dtype=torch.float32)
        self.sample_buffer("given", -1, dtype=torch.int64)
        self.register_buffer("epochs_done", torch.zeros((), dtype=torch.int64))
        if config.landmark_source == "detector-like":
            noise = torch.randn(task.num_samples, config.landmark_num, 2) * (JITTER / REFERENCE_WIDTH)
            self.register_buffer("jitter", noise, persistent=False)
            self.register_buffer("lost", torch.rand(task.num_samples) < DROPPED, persistent=False)

    @classmethod
    def needs(cls, config: Config) -> Needs:
        # The slow copy sees every image as well.
        found = config.landmark_source != "none"
        return Needs(landmarks=found, forwards=2.0 if found else 1.0)

    @classmethod
    def remarks(cls, config: Config) -> Sequence[str]:
        said = {
            "given": "landmarks as the data give them, which are exact for drawn faces",
            "detector-like": "landmarks degraded to detector-like ones",
            "none": "LA-Net without landmarks",
        }
        return (said[config.landmark_source],)

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        classifier = pooled_linear_classifier(self.net)
        parts = resolution_stages(self.net)
        cut = max(1, sum(stride <= SHARED_STRIDE for stride, _ in parts))
        base = nn.Sequential(*(layer for _, layers in parts[:cut] for layer in layers))
        rest = [layers for _, layers in parts[cut:]]
        if not rest:
            raise ValueError(
                f"LA-Net needs a network with stages beyond stride {SHARED_STRIDE}; {type(self.net).__name__} has none"
            )
        width = classifier.in_features
        self.score_u = PairScore(width)
        self.landmark, self.laterals = nn.ModuleList(), nn.ModuleList()
        if not self.has_landmarks:
            self._fast = (LandmarkBranches(base, nn.Sequential(*rest), self.landmark, self.laterals),)
            return
        channels = _channels(base, rest)
        narrow = channels[0]
        self.landmark = nn.ModuleList(copy.deepcopy(layers) for layers in rest)
        self.laterals = nn.ModuleList(nn.Conv2d(c, narrow, 1, bias=False) for c in channels)
        self.heatmap = nn.Conv2d(narrow, self.config.landmark_num, 1, bias=False)
        self.score_v = PairScore(narrow)
        self.project_u, self.project_v = projection(width, narrow), projection(narrow, narrow)
        fast = LandmarkBranches(base, nn.Sequential(*rest), self.landmark, self.laterals)
        fast.project_u, fast.project_v = self.project_u, self.project_v
        # In a tuple, so that the network's own layers are not registered a second time.
        self._fast = (fast,)
        self.slow = copied(fast)
        size = min(self.config.queue, self.task.num_samples)
        for name in ("queue_u", "queue_v"):
            self.register_buffer(name, F.normalize(torch.randn(size, narrow), dim=1))
        self.register_buffer("queue_label", torch.full((size,), EMPTY, dtype=torch.int64))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        return {"main": make_optimizer([p for p in self.parameters() if p.requires_grad])}

    def epoch_indices(self, labels: Tensor, generator: torch.Generator) -> Tensor | None:
        if self.config.sampler == "natural":
            return None
        classes, counts = labels.unique(return_counts=True)
        budget = class_budget(counts.tolist(), int(self.epochs_done), self.task.epochs)
        return budget_rows(labels, dict(zip(classes.tolist(), budget, strict=True)), generator)

    def on_epoch_end(self, run: Run) -> None:
        self.epochs_done += 1

    def remembered(self, index: Tensor, labels: Tensor) -> Tensor:
        """Rows [B, C] of the memory; the one-hot given label for a new sample."""
        new = (self.given[index] < 0)[:, None]
        return torch.where(new, F.one_hot(labels, self.task.num_classes).float(), self.bank[index])

    def remember(self, index: Tensor, labels: Tensor, target: Tensor) -> None:
        """Stores the targets [B, C]. If a sample occurs twice, the last one is stored."""
        rows, inverse = index.unique(return_inverse=True)
        place = torch.arange(len(index), device=index.device)
        last = torch.zeros_like(rows).scatter_reduce(0, inverse, place, "amax", include_self=False)
        self.bank[rows] = target.detach()[last]
        self.given[rows] = labels[last]

    def targets(self, u: Tensor, v: Tensor | None, logits: Tensor, index: Tensor, labels: Tensor) -> Tensor:
        """The label distributions [B, C] of features u, v and logits [B, C], with their gradient; rows sum to 1."""
        c = self.config
        k = min(c.neighbours, len(index) - 1)
        spaces = [(u, self.score_u)]
        if v is not None and c.spaces == "both":
            spaces.append((v, self.score_v))
        weights = [neighbour_weights(score(s), neighbours(s, k)) for s, score in spaces]
        now = distribution_now(weights, logits)
        return c.bank_momentum * self.remembered(index, labels) + (1 - c.bank_momentum) * now

    def heatmap_targets(self, batch: Batch, run: Run, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Heatmaps and their weights, [B, L, height, width] each; weights are 0 for faces without landmarks."""
        c, points, valid = self.config, batch.landmarks, batch.landmarks_ok
        if points is None or valid is None or points.shape[1] != c.landmark_num:
            found = "none" if points is None else points.shape[1]
            raise ValueError(
                f"LA-Net needs {c.landmark_num} landmarks of each face (landmark_num), the data give {found}"
            )
        points = torch.where(valid[:, None, None], points, 0.0)
        if c.landmark_source == "detector-like":
            points, valid = detector_like(points, self.jitter[batch.index]), valid & ~self.lost[batch.index]
        if not c.swap_on_flip:
            chosen = torch.rand(len(points), generator=run.generator("sides"), device=points.device) < 0.5
            points = torch.where(chosen[:, None, None], exchange_sides(points), points)
        cells = landmark_cells(points * points.new_tensor([width, height]), 1.0)
        heatmaps = gaussian_heatmaps(cells, height, width, c.sigma, truncate=c.official_peaks)
        heatmaps = heatmaps.contiguous(memory_format=torch.channels_last)  # as predicted ones, for speed
        return heatmaps, heatmap_weights(heatmaps) * valid[:, None, None, None]

    def contrastive_loss(self, images: Tensor, u: Tensor, v: Tensor, labels: Tensor) -> Tensor:
        """L_el of both directions, a scalar. The slow copy is updated before, the queues afterwards."""
        fast = self._fast[0]
        with torch.no_grad():
            follow(self.slow, fast, self.momentum)
            slow_u, slow_map = self.slow(images)
            k_u, k_v = self.slow.project(slow_u.float(), slow_map.float().mean(dim=(2, 3)))
        q_u, q_v = fast.project(u, v)
        # Clones, because the queues change before the backward pass.
        queue_u, queue_v, ids = self.queue_u.clone(), self.queue_v.clone(), self.queue_label.clone()
        loss = contrast(q_u, k_v, queue_v, labels, ids, self.config.temperature)
        loss = loss + contrast(q_v, k_u, queue_u, labels, ids, self.config.temperature)
        self.enqueue(k_u, k_v, labels)
        return loss

    def enqueue(self, k_u: Tensor, k_v: Tensor, labels: Tensor) -> None:
        """The keys [B, d] and labels [B] replace the oldest entries."""
        size = len(self.queue_label)
        k_u, k_v, labels = k_u[-size:], k_v[-size:], labels[-size:]
        places, pointer = queue_places(self.pointer, len(labels), size)
        self.queue_u[places], self.queue_v[places], self.queue_label[places] = k_u, k_v, labels
        self.pointer.copy_(pointer)

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        c, index, labels = self.config, batch.index, batch.label
        if c.lr_schedule == "official":
            done = (run.epoch * run.steps + run.step) / (run.epochs * run.steps)
            for group in run.optimizers["main"].param_groups:
                group["lr"] = c.official_lr * (1 - done)
        images = batch.view("weak")
        u, finest = self._fast[0](images)
        logits, u = self.net.get_classifier()(u).float(), u.float()
        v = None if finest is None else finest.float().mean(dim=(2, 3))
        target = self.targets(u, v, logits, index, labels)
        self.remember(index, labels, target)
        ce = F.cross_entropy(logits, labels)
        kl = target_kl(target.detach() if c.detach_target else target, logits)
        loss = ce + c.lam_kl * kl
        log: dict[str, Tensor | float] = {"ce": ce.detach(), "distribution": kl.detach()}
        if finest is not None and v is not None:
            heatmaps, weights = self.heatmap_targets(batch, run, *finest.shape[-2:])
            lm = landmark_loss(self.heatmap(finest).float(), heatmaps, weights)
            ids = pseudo_labels(target, index, c.confidence, c.official_ids)
            el = self.contrastive_loss(images, u, v, ids)
            loss = loss + c.lam_lm * lm + c.lam_el * el
            log |= {"landmarks": lm.detach(), "contrast": el.detach(), "confident": (ids >= 0).float().mean()}
        run.minimize(loss)
        return {"loss": loss.detach()} | log

    def clean_score(self) -> Tensor:
        """The remembered probability of the given label; unseen samples get the mean of the others."""
        seen = self.given >= 0
        score = self.bank.gather(1, self.given.clamp(min=0)[:, None]).squeeze(1)
        rest = score[seen].mean() if bool(seen.any()) else score.new_zeros(())
        return torch.where(seen, score, rest)


def _channels(base: nn.Module, rest: Sequence[nn.Module]) -> list[int]:
    """Channels of the maps after the shared layers and after each of the other stages."""
    with evaluating(base, *rest):
        maps = [base(next(base.parameters()).new_zeros(1, 3, 64, 64))]
        for stage in rest:
            maps.append(stage(maps[-1]))
    return [x.shape[1] for x in maps]
