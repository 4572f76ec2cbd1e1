"""What the speed program measures: every figure has a name, by which it is stored and not measured again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fer_bench.plugins.registry import discover

PEERS = ("eac", "nla", "jocor", "scn")
STEPS = {
    **{("ferres8", 48): 40, ("ferres8", 64): 24, ("ferres8", 112): 10, ("ferres8", 224): 5},
    **{("resnet18", 48): 8, ("resnet18", 64): 6, ("resnet18", 112): 4, ("resnet18", 224): 3},
}
"""Steps measured of each method, beside as many of the floor: few where a step takes seconds."""
GOALS = {("ferres8", 48): 1.15}
GOAL = 1.05
"""The most that a step may take as a multiple of its floor."""
WHOLE_GOAL = 1.3
"""The most that a whole training may take as a multiple of the floor of its passes and of its own layers' work."""

Work = Callable[[], dict[str, Any]]


def goal(backbone: str, size: int) -> float | None:
    """The goal for a step over its floor; None where none was set."""
    return GOALS.get((backbone, size)) or (GOAL if backbone == "resnet18" or size >= 112 else None)


def figures(quick: bool) -> dict[str, Work]:
    """Every measurement by name, in the order of the tables; ``quick`` leaves most of them out."""
    return {**_steps(quick), **_whole(quick), **_peers(quick), **_pieces(quick)}


def _steps(quick: bool) -> dict[str, Work]:
    from benchmarks.speed.training import measure

    cells = [(method, "ferres8", 48, 64) for method in ("ce", *PEERS)]
    cells += [("ce", "resnet18", 48, 32)]
    if not quick:
        cells += [(method, "ferres8", size, 64) for size in (64, 112, 224) for method in ("ce", *PEERS)]
        cells += [("ce", "ferres8", 48, batch) for batch in (32, 128)]
        cells += [(method, "resnet18", size, 32) for size in (48, 64, 112) for method in ("ce", *PEERS)][1:]
        cells += [(method, "resnet18", 224, 16) for method in ("ce", "eac")]
    return {
        f"step {method} {backbone} {size} px batch {batch}": partial(
            measure, method, backbone, size, batch, STEPS[backbone, size] // (3 if quick and size > 48 else 1)
        )
        for method, backbone, size, batch in cells
    }


def _whole(quick: bool) -> dict[str, Work]:
    from benchmarks.speed.whole import measure

    return {
        f"training {method} ferres8 48 px batch 64": partial(measure, method, "ferres8", 48, 64, 1280, 20)
        for method in (("ce",) if quick else sorted(discover()))
    }


def _peers(quick: bool) -> dict[str, Work]:
    from benchmarks.speed.peers import METHODS, measure

    cells = [("ce", "ferres8", 48, 64, 600 if quick else 1500, 0, 1 if quick else 4)]
    if not quick:
        cells += [("ce", "ferres8", 48, 64, 1500, 2, 4)]
        cells += [(method, "ferres8", 48, 64, 600, 0, 3) for method in METHODS[1:]]
        cells += [("ce", "ferres8", 112, 64, 640, 0, 3), ("ce", "ferres8", 224, 32, 320, 0, 3)]
        cells += [("ce", "resnet18", 48, 32, 1500, 0, 2), ("ce", "resnet18", 112, 32, 640, 0, 2)]
    return {
        f"plain loop {method} {backbone} {size} px batch {batch} workers {workers}": partial(
            measure, method, backbone, size, batch, images, workers, repeats
        )
        for method, backbone, size, batch, images, workers, repeats in cells
    }


def _pieces(quick: bool) -> dict[str, Work]:
    from benchmarks.speed import augmentation, evaluation, flip_pairs, memory, packing, start

    found: dict[str, Work] = {
        "augmentation 48 px": partial(augmentation.measure, 48, 4 if quick else 30),
        "memory ce ferres8 48 px": partial(memory.measure, "ce", "ferres8", 48, 64, 3000),
    }
    if not quick:
        found["evaluation ferres8 48 px batch 64"] = partial(evaluation.measure, "ferres8", 48, 64, 2304, 7)
        found["evaluation resnet18 48 px batch 32"] = partial(evaluation.measure, "resnet18", 48, 32, 512, 2)
        found["augmentation 224 px"] = partial(augmentation.measure, 224, 6)
        found["memory ce ferres8 112 px"] = partial(memory.measure, "ce", "ferres8", 112, 64, 3000)
        found["memory ce resnet18 48 px"] = partial(memory.measure, "ce", "resnet18", 48, 32, 3000)
        found["flip pair ferres8 48 px batch 64"] = partial(flip_pairs.measure, "ferres8", 48, 64, 20)
        found["flip pair resnet18 48 px batch 32"] = partial(flip_pairs.measure, "resnet18", 48, 32, 5)
        found["two jobs ferres8 48 px batch 64"] = partial(packing.measure, "ferres8", 48, 64, 4.0, 3)
        found["two jobs resnet18 48 px batch 32"] = partial(packing.measure, "resnet18", 48, 32, 8.0, 2)
        found["first step"] = partial(start.first_step, 7)
        found["300,000 images of 100 px"] = partial(start.large_set, 300_000, 100)
    return found
