"""Golden cases of Face2Exp: the method's own training steps, by the engine's ``minimize``."""

from __future__ import annotations

import copy
from functools import partial
from types import SimpleNamespace
from typing import Any

import fer_bench_methods.face2exp as face2exp
import torch
from torch import Tensor, nn

from fer_bench.core.spec import Noise, Recipe, RunSpec
from fer_bench.engine.context import TrainingContext
from fer_bench.engine.counters import CostCounter, SelectionCounter
from fer_bench.engine.optim import make_optimizer
from fer_bench.engine.stages import StageSpan
from fer_bench.method import Batch, Images, Stage, Task
from tests.golden.adapters._tools import expect, numbers, pick, remarks

SCHEDULES = ((0, 0, 10), (3, 0, 10), (2, 4, 12))
"""Warm-up, wait and total of the schedules, which the case names only beside their factors."""
THRESHOLD = 0.95
"""The default of the official command line, with which the masked consistency is logged; the cases do not name it."""


def compute(case: dict[str, Any]) -> dict[str, Any]:
    if "base" in case["inputs"]:
        return pick(case, _train(case))
    if "schedules" in case["outputs"]:
        return {"schedules": [_schedule(*lengths) for lengths in SCHEDULES]}
    raise NotImplementedError(case["name"])


def _schedule(warmup: int, wait: int, total: int) -> dict[str, Any]:
    factors = [face2exp.learning_rate_factor(step, total, warmup, wait) for step in range(total)]
    return {"warmup": warmup, "wait": wait, "total": total, "factors": factors}


def _train(case: dict[str, Any]) -> dict[str, Any]:
    inputs, p = case["inputs"], case["params"]
    remarks(case, "schedule")  # in words: half a cosine over schedule_total steps
    expect(case, steps=len(inputs["labelled"]), momentum=0.9, batchnorm="1.running_mean" in inputs["base"])
    total = int(p["schedule_total"])
    config = face2exp.Face2Exp.Config(
        lambda_u=p["lambda_u"], ramp=p["uda_steps"] / total, temperature=p["temperature"],
        label_smoothing=p["label_smoothing"], ema=p["ema"], ema_warmup=False, official_feedback=True,
        optimizer="official", official_lr=p["lr"], nesterov=p["nesterov"],
    )  # fmt: skip
    nets = {"base": _network(inputs["base"]), "adaptation": _network(inputs["adapt"])}
    classes = list(nets["base"].parameters())[-1].shape[0]
    method = face2exp.Face2Exp(config, Task(classes, 1, torch.ones(classes, dtype=torch.int64), 1, 2))
    method.build(nets.__getitem__)
    run = _context(p.get("grad_clip", 0.0), classes)
    run.stage = face2exp.TRAIN
    run.optimizers = method.optimizers(face2exp.TRAIN, partial(make_optimizer, Recipe()))
    run.begin_epoch(StageSpan(Stage(face2exp.TRAIN), 0, 1), 0, total)
    method.train()
    per_step = []
    for labelled, unlabelled in zip(inputs["labelled"], inputs["unlabelled"], strict=True):
        weak, strong = _tensor(unlabelled["x_weak"]), _tensor(unlabelled["x_strong"])
        hidden = Images(len(weak), {"flipped": weak, "strong": strong}.__getitem__, ("flipped", "strong"))
        labels = torch.tensor(labelled["y"])
        views = {"weak": _tensor(labelled["x"])}
        batch = Batch(torch.arange(len(labels)), labels, views.__getitem__, ("weak",), unlabelled=hidden)
        of_weak, of_strong = face2exp.parts(copy.deepcopy(method.base), views["weak"], weak, strong)[1:]
        logged = method.train_step(batch, run)
        run.end_step()
        assert run.skipped_steps == 0
        q = torch.softmax(of_weak / p["temperature"], dim=1)
        per_step.append(
            {
                "adapt_loss": logged["taught"],
                "base_total": logged["loss"],
                "L_labelled": logged["supervised"],
                "L_consistency_masked_unused": face2exp.consistency_loss(
                    of_weak, of_strong, p["temperature"], THRESHOLD
                ),
                "L_feedback": logged["feedback"],
                "mask_mean": (q.amax(dim=1) >= THRESHOLD).double().mean(),
            }
        )
    run.end_epoch()
    states = {"base_after": method.base.state_dict(), "adapt_after": method.adaptation.state_dict()}
    if method.average is not None:
        states["ema_after"] = method.average.state_dict()
    return {"per_step": per_step, **states}


def _tensor(values: Any) -> Tensor:
    return torch.tensor(numbers(values), dtype=torch.float64)


def _network(state: dict[str, Any]) -> nn.Sequential:
    """The layers that the names and shapes of the state tell: linear ones, and batch norms with running statistics."""
    layers: list[nn.Module] = []
    for place in sorted({int(name.split(".")[0]) for name in state}):
        weight = _tensor(state[f"{place}.weight"])
        assert place == len(layers), f"layer {len(layers)} has no weights"
        layers.append(nn.BatchNorm1d(len(weight)) if weight.ndim == 1 else nn.Linear(weight.shape[1], len(weight)))
    net = nn.Sequential(*layers).double()
    missing, unexpected = net.load_state_dict({name: _tensor(value) for name, value in state.items()}, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    return net


def _context(clip: float, classes: int) -> TrainingContext:
    spec = RunSpec(
        "golden", "0" * 64, "face2exp", "0" * 64, {}, noise=Noise("none"), recipe=Recipe(epochs=1, clip_norm=clip)
    )
    label = torch.zeros(1, dtype=torch.int64)
    no_batches: Any = SimpleNamespace(device=torch.device("cpu"))  # the cases bring their own
    return TrainingContext(spec, no_batches, SelectionCounter(label, label, classes), CostCounter())
