"""Augmentation as batched tensor work on the device of the model, every draw from a derived seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from fer_bench.core.seeds import torch_generator
from fer_bench.core.spec import Augmentation, Recipe
from fer_bench.engine.resampling import Placement, draw_matrix
from fer_bench.engine.transforms import each_image, make_transforms, rand_augment

ASPECT = (0.3, 3.3)
"""Range of width over height of an erased rectangle (torchvision.transforms.RandomErasing's default)."""


class Views:
    """Makes the named views of one batch of uint8 images [B, 3, H, W]; see ``fer_bench.method.VIEWS``.

    Everything is in channels-last memory, as the images are in the cache and as convolutions want them.
    """

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.augmentation, self.device = recipe.augmentation, device
        self.mean = 255 * torch.tensor(recipe.mean, device=device)
        self.scale = 1 / (255 * torch.tensor(recipe.std, device=device))

    def plain(self, images: Tensor) -> Tensor:
        """The test view: normalised float32, nothing else."""
        return self._normalised(send(images, self.device))

    def batch(self, images: Tensor, *seed: int | str) -> tuple[Callable[[str], Tensor], Placement]:
        """A maker of views for this batch, and how the faces lie in 'weak'."""
        images = send(images, self.device)
        placement = self._place(len(images), *seed)
        flipped = placement.flipped

        @cache
        def changed() -> Tensor:
            return self._own(images, *seed)

        @cache
        def weak() -> Tensor:
            return self._augment(changed(), placement, *seed, "weak")

        @cache
        def make(name: str) -> Tensor:
            if name == "weak":
                return weak()
            if name == "mirror":
                return weak().flip(-1)  # not make("weak"): a function that refers to itself outlives its batch
            if name == "mirror-erased":
                return self._erase(self._mirror_of(changed(), placement), *seed, name)
            if name == "plain":
                return self.plain(images)
            if name == "flipped":
                return self._normalised(images, flipped)
            other = self._place(len(images), *seed, name)
            if name == "strong":
                distorted = each_image(rand_augment(), _mirror(images, other.flipped), *seed, name)
                return self._erase(self._normalised(distorted), *seed, name)
            return self._augment(self._own(images, *seed, name), other, *seed, name)

        return make, placement

    def _place(self, count: int, *seed: int | str) -> Placement:
        flipped = send(self._coin(count, self.augmentation.flip, *seed, "flip"), self.device)
        return Placement(flipped, draw_matrix(count, self.augmentation, self.device, *seed))

    def _own(self, images: Tensor, *seed: int | str) -> Tensor:
        """The images after the transforms that the recipe names."""
        calls = self.augmentation.transforms
        return send(each_image(make_transforms(calls), images.cpu(), *seed, "own"), self.device) if calls else images

    def _augment(self, images: Tensor, placement: Placement, *seed: int | str) -> Tensor:
        if self.augmentation.noise:
            images = self._grainy(images, placement.flipped, *seed)
        return self._erase(placement.resampled(self._normalised(images, placement.flipped)), *seed)

    def _mirror_of(self, images: Tensor, placement: Placement) -> Tensor:
        """The mirror of the view that ``placement`` makes, without pixel noise and erasing."""
        if placement.matrix is None:
            return self._normalised(images, ~placement.flipped)  # mirrored once instead of twice
        return placement.resampled(self._normalised(images, placement.flipped)).flip(-1)

    def _grainy(self, images: Tensor, flipped: Tensor, *seed: int | str) -> Tensor:
        """Gaussian noise on some of the images, which are mirrored afterwards.

        It is rounded and clipped as in the official pipelines, which add it to uint8 images.
        """
        chosen = self._coin(len(images), self.augmentation.noise, *seed, "noise").nonzero().squeeze(1)
        noisy = send(chosen, self.device)  # how many there are is known on the CPU
        generator = torch_generator(*seed, "noise pixels", device=self.device)  # type: ignore[arg-type]
        grain = torch.randn((len(noisy), *images.shape[1:]), generator=generator, device=self.device)
        grain = _mirror(grain, flipped[noisy]) * math.sqrt(self.augmentation.noise_variance)
        images = images.clone()
        images[noisy] = (images[noisy] + grain).clamp_(0, 255).to(torch.uint8)
        return images

    def _normalised(self, images: Tensor, flipped: Tensor | None = None) -> Tensor:
        """Grey levels [B, 3, H, W] to normalised values, the ``flipped`` images (bool [B]) mirrored.

        In place and line by line: new tensors cost more than the operations, and so do operations on three values at a
        time, those of a pixel.
        """
        pixels = (images if flipped is None else _mirror(images, flipped)).to(
            torch.float32, memory_format=torch.channels_last
        )
        _, channels, height, width = pixels.shape
        lines = pixels.permute(0, 2, 3, 1).view(-1, height, width * channels)
        lines.sub_(self.mean.repeat(width)).mul_(self.scale.repeat(width))
        return pixels

    def _coin(self, count: int, probability: float, *seed: int | str) -> Tensor:
        """Which of ``count`` images a change falls on: bool [count], on the CPU."""
        generator = torch_generator(*seed)  # type: ignore[arg-type]
        return torch.rand(count, generator=generator) < probability

    def _erase(self, images: Tensor, *seed: int | str) -> Tensor:
        """Sets one rectangle of the chosen images to 0, which is the mean colour after normalisation.

        On a CPU box by box: the boxes are known there, and one mask for the whole batch takes two (48 px) to eighteen
        (224 px) times as long. On a GPU by a mask, since each box would be an operation of its own to be launched.
        """
        height, width = images.shape[-2:]
        boxes = erased_boxes(len(images), height, width, self.augmentation, *seed)
        if images.is_cuda:
            return erased_by_mask(images, send(boxes, images.device))
        for row, (top, bottom, left, right) in enumerate(boxes.tolist()):
            if bottom > top:
                images[row, :, top:bottom, left:right] = 0.0
        return images


def erased_by_mask(images: Tensor, boxes: Tensor) -> Tensor:
    """Sets the rectangles ``boxes`` int64 [B, 4], as :func:`erased_boxes` draws them, of images [B, 3, H, W] to 0."""
    top, bottom, left, right = boxes.T[:, :, None]
    height, width = (torch.arange(side, device=images.device) for side in images.shape[-2:])
    rows, columns = (height >= top) & (height < bottom), (width >= left) & (width < right)
    return images.masked_fill_((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def erased_boxes(count: int, height: int, width: int, augmentation: Augmentation, *seed: int | str) -> Tensor:
    """Rectangles to erase, int64 [count, 4] as (top, bottom, left, right); an empty one where nothing is erased.

    Area and aspect ratio are drawn as in RandomErasing (Zhong et al., AAAI 2020); where torchvision draws again when a
    rectangle does not fit, its sides are cut to the image.
    """
    draw = torch.rand((5, count), generator=torch_generator(*seed, "erase"))  # type: ignore[arg-type]
    area = height * width * (augmentation.erase_min + draw[0] * (augmentation.erase_max - augmentation.erase_min))
    low, high = math.log(ASPECT[0]), math.log(ASPECT[1])
    aspect = torch.exp(low + draw[1] * (high - low))
    tall = (area * aspect).sqrt().round().clamp(1, height - 1)
    wide = (area / aspect).sqrt().round().clamp(1, width - 1)
    top = (draw[2] * (height - tall + 1)).floor()
    left = (draw[3] * (width - wide + 1)).floor()
    erased = (draw[4] < augmentation.erase).float()
    return torch.stack([top, top + tall * erased, left, left + wide], 1).long()


def _mirror(images: Tensor, flipped: Tensor) -> Tensor:
    """Images with the chosen ones mirrored left to right; ``flipped`` bool [B]."""
    # whole images are copied from both forms: choosing between them pixel by pixel is several times slower
    both = torch.cat([images, images.flip(-1)])
    return gather(both, torch.arange(len(images), device=images.device) + len(images) * flipped)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on ``device``; the CPU does not wait until a GPU has done what it was asked before."""
    return tensor.to(device, non_blocking=True)  # safe in this direction: the driver first copies pageable memory


def gather(images: Tensor, rows: Tensor) -> Tensor:
    """``images[rows]``, [B, C, H, W] in channels-last memory; where the images are in it too, whole ones are copied."""
    return images.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
