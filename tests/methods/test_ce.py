"""Cross-entropy: what its formulas imply, on tiny networks."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.ce as ce
import torch
import torch.nn.functional as F

from tests.helpers.options import assert_trains, steps_of_each
from tests.helpers.tiny import (
    TinyRun,
    batch_for,
    build,
)

OPTIONS: list[dict[str, Any]] = [
    {},
]


@steps_of_each(OPTIONS)
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(ce.Ce, options, epoch, size)


def test_cross_entropy_is_torch_cross_entropy() -> None:
    method = build(ce.Ce)
    batch = batch_for(method)
    expected = F.cross_entropy(method.net(batch.view("weak")), batch.label)
    torch.testing.assert_close(method.loss(batch, TinyRun(method)), expected)
