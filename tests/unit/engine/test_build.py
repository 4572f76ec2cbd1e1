"""Networks of a run: weights without statistics get those of the training images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from fer_bench.engine.batches import MEASURED
from fer_bench.engine.trainer import Trainer
from fer_bench.method import Method
from fer_bench.models import pretrained
from fer_bench.models.ferres8 import FerRes8
from fer_bench.models.pretrained import Notes, file_hash
from fer_bench.plugins.registry import discover
from fer_bench.store.folder import RunFolder
from fer_bench.testing.bench import Bench


def built(bench: Bench, weights: Path) -> Trainer:
    plugin = discover()["ce"]
    spec = bench.spec(plugin, pretrained=file_hash(weights))
    return Trainer(bench.job(plugin, spec, RunFolder(bench.folder / "never"), weights=weights))


def features(method: Method, x: torch.Tensor) -> Any:
    net: Any = method.net
    with torch.no_grad():
        return net.forward_head(net.forward_features(x), pre_logits=True)


def test_folded_weights_get_the_statistics_of_the_training_images(bench: Bench, tmp_path: Path) -> None:
    net = FerRes8(num_classes=2)
    generator = torch.Generator().manual_seed(0)
    for name, value in net.state_dict().items():
        if value.ndim == 1 and not name.startswith("fc"):
            value.copy_(torch.ones(len(value)) if "running_var" in name else torch.zeros(len(value)))
            if name.endswith(("weight", "bias")):
                value.add_(0.3 * torch.randn(value.shape, generator=generator) + name.endswith("weight"))
    files = {}
    for folded in (False, True):
        files[folded] = tmp_path / f"{folded}.safetensors"
        pretrained._save(net, files[folded], Notes("ferres8", "a test", folded=folded))
    plain, measured = (built(bench, files[folded]) for folded in (False, True))
    source = measured.source
    x = source.spread()
    rows = np.linspace(0, len(source.training), min(MEASURED, len(source.training)), endpoint=False).astype(int)
    everything = source.views.plain(source.training[torch.arange(len(source.training))])
    assert torch.equal(x, everything[torch.from_numpy(rows)])
    wanted = features(plain.method.eval(), x)
    assert torch.allclose(features(measured.method.eval(), x), wanted, atol=1e-4)
    in_training = [features(trainer.method.train(), x) for trainer in (plain, measured)]
    assert torch.allclose(in_training[1], wanted, atol=1e-3)
    assert F.cosine_similarity(in_training[0], wanted).mean() < 0.9, "without statistics it is another function"
    first = measured.method.net.stem[0](x)  # type: ignore[operator]
    again = built(bench, files[True]).method.net.stem[1]
    assert torch.allclose(again.running_mean, first.mean((0, 2, 3)), atol=1e-5)  # type: ignore[arg-type]
    assert measured.cost.forward == 0, "measuring is no cost of the method"
