"""The floor: forward and backward passes and optimizer steps of bare networks on one batch that stays where it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from fer_bench.core.spec import Recipe
from fer_bench.engine.optim import make_optimizer
from fer_bench.models.networks import make_network
from fer_bench.models.precision import Precision

CLASSES = 7


class Floor:
    """One training step: ``backwards`` passes with gradients, ``forwards - backwards`` without, over the networks in
    turn, and one optimizer step of each network."""

    def __init__(self, recipe: Recipe, networks: int, forwards: int, backwards: int, device: str = "cpu") -> None:
        precision = Precision(recipe, torch.device(device))

        def make(number: int) -> torch.nn.Module:
            net = make_network(recipe.backbone, CLASSES, seed=0, role=f"{number}", pretrained="", weights=None)
            precision.adapt(net)
            return net.to(device).train()  # type: ignore[no-any-return]

        self.nets = [make(number) for number in range(networks)]
        self.optimizers = [make_optimizer(recipe, net.parameters()) for net in self.nets]
        self.forwards, self.backwards = forwards, backwards
        images = torch.randn(recipe.batch_size, 3, recipe.image_size, recipe.image_size)
        self.images = images.to(device).contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(0, CLASSES, (recipe.batch_size,)).to(device)
        precision.active = True

    def __call__(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        if self.backwards:
            torch.stack([F.cross_entropy(self._logits(i), self.labels) for i in range(self.backwards)]).sum().backward()
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():
            for i in range(self.backwards, self.forwards):
                self._logits(i)

    def differentiated_twice(self) -> None:
        """A training step on the loss plus the squares of its gradients by the feature maps after the stem: the bare
        cost of a regulariser that needs gradients of gradients."""
        maps: list[torch.Tensor] = []
        norms = [module for module in self.nets[0].modules() if isinstance(module, torch.nn.BatchNorm2d)]
        handles = [norm.register_forward_hook(lambda _norm, _inputs, out: maps.append(out)) for norm in norms[1:]]
        self.optimizers[0].zero_grad(set_to_none=True)
        loss = F.cross_entropy(self._logits(0), self.labels)
        for handle in handles:
            handle.remove()
        gradients = torch.autograd.grad(loss, maps, create_graph=True)
        torch.stack([loss, *(gradient.square().sum() for gradient in gradients)]).sum().backward()
        self.optimizers[0].step()

    def _logits(self, number: int) -> torch.Tensor:
        return self.nets[number % len(self.nets)](self.images)  # type: ignore[no-any-return]
