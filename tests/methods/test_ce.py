"""Cross-entropy: what its formulas imply, on tiny networks."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.ce as ce
import pytest
import torch
import torch.nn.functional as F

from tests.helpers.options import assert_trains
from tests.helpers.tiny import (
    B,
    TinyRun,
    batch_for,
    build,
)

OPTIONS: list[dict[str, Any]] = [
    {},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "default")
@pytest.mark.parametrize("epoch", [0, 12])
@pytest.mark.parametrize("size", [B, 2])
def test_every_option_trains(options: dict[str, Any], epoch: int, size: int) -> None:
    assert_trains(ce.Ce, options, epoch, size)


def test_cross_entropy_is_torch_cross_entropy() -> None:
    method = build(ce.Ce)
    batch = batch_for(method)
    expected = F.cross_entropy(method.net(batch.view("weak")), batch.label)
    torch.testing.assert_close(method.loss(batch, TinyRun(method)), expected)
