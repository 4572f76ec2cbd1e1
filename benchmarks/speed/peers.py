"""Plain PyTorch loops that a user would write, with a torchvision v2 ``DataLoader`` over a folder of JPEGs, against the
harness on the same folder. The steps are written from the papers' formulas, not copied from official code.

A plain loop has a process of its own, so that it runs with what PyTorch and the C library do by themselves."""

from __future__ import annotations

import math
import multiprocessing
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.speed.floor import CLASSES
from benchmarks.speed.timing import Samples
from fer_bench.core.spec import Recipe
from fer_bench.engine.isolation import contained
from fer_bench.engine.job import Resources, TrainingJob
from fer_bench.engine.optim import make_optimizer
from fer_bench.engine.trainer import Trainer
from fer_bench.models.networks import make_network
from fer_bench.store.folder import RunFolder

METHODS = ("ce", "eac", "nla", "jocor", "scn")
JPEG_SIZE = 100
NOISE = 0.2


def write_jpegs(folder: Path, train: int, test: int) -> None:
    """Smooth random pictures of 100 x 100 pixels, as large as aligned RAF-DB faces, in folders by split and class."""
    rng = np.random.default_rng(0)
    for split, images in (("train", train), ("test", test)):
        for number in range(images):
            place = folder / split / f"class{number % CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            coarse.resize((JPEG_SIZE, JPEG_SIZE), Image.Resampling.BICUBIC).save(place / f"{number}.jpg", quality=92)


class Faces(Dataset[Any]):
    """(image, its mirror or nothing, label): the erased box of the mirror is its own for EAC, the same for NLA."""

    def __init__(self, folder: Path, recipe: Recipe, pair: str) -> None:
        self.files = ImageFolder(str(folder))
        size, a = recipe.image_size, recipe.augmentation
        to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(recipe.mean, recipe.std)]
        self.test = v2.Compose([v2.Resize((size, size)), *to_tensor])
        self.before = v2.Compose([v2.Resize((size, size)), v2.RandomHorizontalFlip(a.flip), *to_tensor])
        self.erase = v2.RandomErasing(a.erase, (a.erase_min, a.erase_max))
        self.pair = pair

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor | int, int]:
        image, label = self.files[number]
        if self.pair == "test":
            return self.test(image), 0, label
        image = self.before(image)
        if self.pair == "own box":
            return self.erase(image), self.erase(image.flip(-1)), label
        erased = self.erase(image)
        return erased, erased.flip(-1) if self.pair == "same box" else 0, label


class PlainLoop:
    def __init__(self, method: str, folder: Path, recipe: Recipe, workers: int, device: str = "cpu") -> None:
        self.device = device

        def network(role: str) -> Any:
            net = make_network(recipe.backbone, CLASSES, seed=0, role=role, pretrained="", weights=None)
            return net.to(device, memory_format=torch.contiguous_format).train()  # PyTorch's own layout

        self.net = network("a")
        modules = [self.net]
        self.other = self.alpha = None
        if method == "jocor":
            self.other = network("b")
            modules.append(self.other)
        if method == "scn":
            self.alpha = nn.Linear(self.net.num_features, 1).to(device)
            modules.append(self.alpha)
        self.optimizer = make_optimizer(recipe, [p for module in modules for p in module.parameters()])
        self.step: Callable[[Tensor, Any, Tensor], Tensor] = getattr(self, f"_{method}")
        pair = {"eac": "own box", "nla": "same box"}.get(method, "")
        load = {"batch_size": recipe.batch_size, "num_workers": workers, "persistent_workers": workers > 0}
        load["pin_memory"] = device != "cpu"
        self.train = DataLoader(Faces(folder / "train", recipe, pair), shuffle=True, **load)  # type: ignore[arg-type]
        self.test = DataLoader(Faces(folder / "test", recipe, "test"), **load)  # type: ignore[arg-type]

    def epoch(self) -> None:
        self.net.train()
        for batch in self.train:
            self.optimizer.zero_grad()
            self.step(*self._sent(batch)).backward()
            self.optimizer.step()
        if self.device != "cpu":
            torch.cuda.synchronize(self.device)

    @torch.no_grad()
    def evaluate(self) -> float:
        """Share of the test images that are recognised."""
        self.net.eval()
        hits = 0
        for batch in self.test:
            images, _, labels = self._sent(batch)
            hits += int((self.net(images).argmax(1) == labels).sum())
        return hits / len(self.test.dataset)  # type: ignore[arg-type]

    def _sent(self, batch: list[Tensor]) -> list[Tensor]:
        return [part.to(self.device, non_blocking=True) for part in batch]

    def _ce(self, images: Tensor, _: Any, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.net(images), labels)

    def _eac(self, images: Tensor, mirrored: Tensor, labels: Tensor, weight: float = 5.0) -> Tensor:
        features, features_mirrored = self.net.forward_features(images), self.net.forward_features(mirrored)
        classifier = self.net.get_classifier().weight.detach()
        maps, other = (torch.einsum("kc,bchw->bkhw", classifier, f) for f in (features, features_mirrored))
        return F.cross_entropy(self.net.forward_head(features), labels) + weight * F.mse_loss(maps, other.flip(-1))

    def _nla(self, images: Tensor, mirrored: Tensor, labels: Tensor) -> Tensor:
        """In the middle of its schedule, s = 0.5, in every epoch."""
        logits, logits_mirrored = self.net(images), self.net(mirrored)
        ce, p = F.cross_entropy(logits, labels, reduction="none"), logits.softmax(1)
        given = p.gather(1, labels[:, None]).squeeze(1)
        other = p.scatter(1, labels[:, None], -1.0).amax(1)

        def density(mean: tuple[float, float], std: float, ratio: float, turn: float) -> Tensor:
            major, minor = std**2, (std / ratio) ** 2
            variance, covariance = major + minor, turn * (major - minor)
            x, y, determinant = given - mean[0], other - mean[1], variance**2 - covariance**2
            squared = (variance * (x * x + y * y) - 2 * covariance * x * y) / determinant
            return torch.exp(-squared / 2) / (2 * math.pi * math.sqrt(determinant))

        right, wrong = density((0.5, 0.5), 0.8, 2.0, -0.5), density((0.3, 0.15), 0.91, 6.0, 1.0)
        weight = torch.where(given >= other, right, wrong)
        both = (F.log_softmax(logits, 1) + F.log_softmax(logits_mirrored, 1)) / 2
        return 0.5 * ce.mean() + 0.5 * (weight * ce).mean() - 0.5 * 32 * both.logsumexp(1).mean()

    def _jocor(self, images: Tensor, _: Any, labels: Tensor, share: float = 0.9) -> Tensor:
        assert self.other is not None
        first, second = self.net(images), self.other(images)
        ce = F.cross_entropy(first, labels, reduction="none") + F.cross_entropy(second, labels, reduction="none")
        log_p, log_q = first.log_softmax(1), second.log_softmax(1)
        agreement = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1)
        joint = (1 - share) * ce + share * agreement
        return joint.sort().values[: int((1 - NOISE) * len(labels))].mean()

    def _scn(self, images: Tensor, _: Any, labels: Tensor) -> Tensor:
        """Relabelling starts at epoch 10 and is left out: these loops are shorter."""
        assert self.alpha is not None
        pooled = self.net.forward_head(self.net.forward_features(images), pre_logits=True)
        alpha = self.alpha(pooled).sigmoid().squeeze(1)
        ranked, high = alpha.sort(descending=True).values, int(0.7 * len(alpha))
        rank = F.relu(0.07 - (ranked[:high].mean() - ranked[high:].mean()))
        return F.cross_entropy(alpha[:, None] * self.net.get_classifier()(pooled), labels) + rank


_loop: PlainLoop


def _begin(method: str, folder: Path, recipe: Recipe, workers: int, device: str) -> None:
    global _loop
    torch.set_num_threads(1)
    _loop = PlainLoop(method, folder, recipe, workers, device)


def _timed(part: str) -> tuple[float, float]:
    """Seconds of the wall clock and of the processor that "epoch" or "evaluate" takes."""
    (samples := Samples()).measure(getattr(_loop, part))
    return samples.wall[0], samples.cpu[0]


def measure(
    method: str, backbone: str, size: int, batch: int, images: int, workers: int, repeats: int, device: str = "cpu"
) -> dict[str, Any]:
    """Seconds of an epoch's training and of its evaluation, both ways, and how many times as long the plain loop takes:
    for a training image ("training"), for an epoch in which it evaluates as many images as the harness ("epoch"), and
    for an epoch in which it evaluates the test images only ("test only").

    There is a test image for every three training images, as in the embedded data set; the harness evaluates validation
    and probe images besides. Both processes take turns, so neither slows the other. With loader ``workers`` only the
    wall clock means something, because theirs are other processes.
    """
    from fer_bench.sweep.plan import make_plan
    from fer_bench.sweep.request import Request

    with tempfile.TemporaryDirectory() as name, contained(1):
        write_jpegs(folder := Path(name) / "faces", images, images // 3)
        overrides = {"backbone": backbone, "image_size": size, "batch_size": batch, "epochs": repeats + 1}
        run = (planned := make_plan(Request([method], str(folder), noise=[NOISE], overrides=overrides))).runs[0]
        run_folder, resources = RunFolder(Path(name) / "run"), Resources(torch.device(device))
        config = run.plugin.restore_config(run.spec.config)
        trainer = Trainer(TrainingJob(run.spec, planned.dataset, run.plugin.load(), config, run_folder, resources))
        span = trainer.spans[0]
        trainer.begin_stage(span)
        samples = {name: Samples() for name in ("harness epoch", "plain training", "plain evaluation")}
        evaluation, evaluate = Samples(), trainer.evaluator.after_epoch
        trainer.evaluator.after_epoch = lambda: evaluation.measure(evaluate)  # type: ignore[method-assign]
        spawn, about = multiprocessing.get_context("spawn"), (method, folder, run.spec.recipe, workers, device)
        with ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=about) as plain:
            for epoch in range(repeats + 1):
                samples["harness epoch"].measure(partial(trainer.train_epoch, span, epoch))
                samples["plain training"].add(*plain.submit(_timed, "epoch").result())
                samples["plain evaluation"].add(*plain.submit(_timed, "evaluate").result())
        times = {name: sample.summary(skip=1) for name, sample in samples.items()}
        times["harness evaluation"] = evaluation.summary(skip=1)
        splits = trainer.splits
        shrink = images / len(splits.train)  # the harness holds back some images for validation
        more = (len(splits.test) + len(splits.val) + len(trainer.evaluator.probe)) / len(splits.test)

    def ratios(clock: str) -> dict[str, float]:
        epoch, evaluated = times["harness epoch"][clock], times["harness evaluation"][clock]
        training, tested = times["plain training"][clock], times["plain evaluation"][clock]
        return {
            "training": training / (shrink * (epoch - evaluated)),
            "epoch": (training + more * tested) / (shrink * (epoch - evaluated) + evaluated),
            "test only": (training + tested) / (shrink * (epoch - evaluated) + evaluated),
        }

    return {**times, "plain_over_harness": {clock: ratios(clock) for clock in ("cpu", "wall")}}
