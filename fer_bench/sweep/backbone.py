"""Which methods work with a backbone: each is built on it, and predicts, before anything is trained."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from fer_bench.core.errors import FerBenchError, SpecError, require
from fer_bench.core.spec import Recipe
from fer_bench.method import Needs, Task
from fer_bench.models.interface import interface_error
from fer_bench.models.networks import WITHOUT_TIMM, make_network
from fer_bench.plugins.own_backbone import OwnBackbone
from fer_bench.sweep.chosen import ChosenMethod

if TYPE_CHECKING:
    from fer_bench.data.dataset import Dataset

REFUSALS = (ValueError, RuntimeError, IndexError, TypeError)
"""What a method raises where a network does not have the parts or shapes that it needs."""


class BackboneCheck:
    """Tries methods on the backbone of a recipe. The network of fer-bench works with all methods and is not tried.

    Raises:
        SpecError: The backbone does not take images of the recipe's size, or a function of the user makes networks that
            lack a part of the interface, or other networks each time.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset, own: OwnBackbone | None = None) -> None:
        self.recipe, self.dataset, self.own = recipe, dataset, own
        self._known: dict[str, str] = {}
        self.net = None if recipe.backbone in WITHOUT_TIMM else self._network()

    def refusal(self, chosen: ChosenMethod) -> str:
        """Why a method cannot use the backbone; "" if it can. Only the first variant of a method is tried."""
        key = chosen.plugin.key
        if key not in self._known:
            self._known[key] = "" if self.net is None else self._tried(chosen)
        return self._known[key]

    def _tried(self, chosen: ChosenMethod) -> str:
        config = next(iter(chosen.configs.values()))
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                method = chosen.plugin.load()(config, self._task(chosen.needs))
                method.build(lambda role: copy.deepcopy(self.net))
                method.eval()
                method.predict(self._images())
        except REFUSALS as error:
            return f"cannot use the backbone {self.recipe.backbone}: {_reason(error)}"
        return ""

    def _network(self) -> Any:
        if self.own is not None:
            return self._own_network(f"--backbone {self.own.path}:{self.own.function}")
        net = self._made()
        try:
            with torch.no_grad():
                net(self._images())
        except Exception as error:  # networks fail in their own ways
            size = self.recipe.image_size
            raise SpecError(
                f"backbone {self.recipe.backbone} does not take images of {size} px ({_reason(error)}); choose "
                "--image-size"
            ) from None
        return net

    def _own_network(self, name: str) -> Any:
        """SpecError unless a network of the user has timm's interface, and is the same each time it is made."""
        images = self._images()
        images[1] += torch.linspace(-1, 1, images.shape[-1])
        try:
            net = self._made()
            first, again = net.state_dict(), self._made().state_dict()
            same = first.keys() == again.keys() and all(torch.equal(first[key], again[key]) for key in first)
        except FerBenchError:
            raise
        except Exception as error:  # as with parameters that have no shape yet
            raise SpecError(f"{name}: {_reason(error)}") from None
        wrong = interface_error(net, images, len(self.dataset.classes))
        require(not wrong, f"{name}: {wrong}; see docs/backbones.md")
        require(same, f"{name}: its weights differ each time; draw them with torch's own generator")
        return net

    def _made(self) -> Any:
        make = self.own.load() if self.own else None
        classes = len(self.dataset.classes)
        net = make_network(self.recipe.backbone, classes, seed=0, role="check", pretrained="", weights=None, own=make)
        return net.eval()

    def _images(self) -> torch.Tensor:
        side = self.recipe.image_size
        return torch.zeros(2, 3, side, side)

    def _task(self, needs: Needs) -> Task:
        """A problem like that of a run; what is told beyond the labels is invented."""
        classes = len(self.dataset.classes)
        label = torch.from_numpy(self.dataset.label[self.dataset.split == "train"])
        told = torch.arange(classes) if needs.trusted else None
        return Task(
            num_classes=classes,
            num_samples=len(label),
            class_counts=torch.bincount(label, minlength=classes),
            epochs=self.recipe.epochs,
            batch_size=self.recipe.batch_size,
            noise_rate=0.2 if needs.noise_rate else None,
            trusted=told,
            trusted_label=told,
            pretrained=bool(self.recipe.pretrained),
            labels=label.clone(),
        )


def _reason(error: Exception) -> str:
    """The first line of an error, or its type where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
