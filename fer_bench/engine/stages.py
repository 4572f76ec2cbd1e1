"""Which epochs belong to which stage of a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fer_bench.method import Stage


@dataclass(frozen=True)
class StageSpan:
    """A stage and its epochs: 0-based, from ``first`` up to and without ``end``."""

    stage: Stage
    first: int
    end: int

    @property
    def epochs(self) -> int:
        """Epochs of the stage."""
        return self.end - self.first


def stage_spans(stages: Sequence[Stage], epochs: int) -> list[StageSpan]:
    """The epochs of each stage, one epoch at least.

    Stages that are not extra end with the recipe's ``epochs``, and extra stages follow them. ValueError for shares
    that do not sum to 1, for more stages than epochs, and for an extra stage before another one.
    """
    own = [stage for stage in stages if not stage.extra]
    if not own or abs(sum(stage.share for stage in own) - 1) > 1e-6:
        raise ValueError(f"the shares of the stages {[stage.share for stage in own]} do not sum to 1")
    if len(own) > epochs:
        raise ValueError(f"{len(own)} stages do not fit into {epochs} epochs")
    if own != list(stages[: len(own)]):
        raise ValueError("extra stages come after the others")
    spans, first, share = [], 0, 0.0
    for number, stage in enumerate(own, 1):
        share += stage.share
        end = min(max(first + 1, round(share * epochs)), epochs - (len(own) - number))
        spans.append(StageSpan(stage, first, end))
        first = end
    for stage in stages[len(own) :]:
        end = first + max(1, round(stage.share * epochs))
        spans.append(StageSpan(stage, first, end))
        first = end
    return spans
