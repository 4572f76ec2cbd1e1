"""Which epochs belong to which stage of a method."""

from __future__ import annotations

from collections.abc import Sequence

from fer_bench.method import Stage


def stage_epochs(stages: Sequence[Stage], epochs: int) -> list[tuple[Stage, int, int]]:
    """(stage, first epoch, one past its last epoch), each stage with at least one epoch; the last one of those that
    are not extra ends with the recipe's epochs, and extra ones follow it."""
    own = [stage for stage in stages if not stage.extra]
    if not own or abs(sum(stage.share for stage in own) - 1) > 1e-6:
        raise ValueError(f"the shares of the stages {[stage.share for stage in own]} do not sum to 1")
    if len(own) > epochs:
        raise ValueError(f"{len(own)} stages do not fit into {epochs} epochs")
    if own != list(stages[: len(own)]):
        raise ValueError("extra stages come after the others")
    parts, first, share = [], 0, 0.0
    for number, stage in enumerate(own, 1):
        share += stage.share
        last = min(max(first + 1, round(share * epochs)), epochs - (len(own) - number))
        parts.append((stage, first, last))
        first = last
    for stage in stages[len(own) :]:
        last = first + max(1, round(stage.share * epochs))
        parts.append((stage, first, last))
        first = last
    return parts
