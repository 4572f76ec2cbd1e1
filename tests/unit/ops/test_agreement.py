"""Agreement of two networks."""

from __future__ import annotations

import fer_bench_methods.coteaching as coteaching
import torch
import torch.nn.functional as F

from tests.helpers.tiny import (
    build,
)


def test_mean_of_two_networks_is_of_probabilities() -> None:
    method = build(coteaching.Coteaching).eval()
    images = torch.randn(3, 3, 10, 10)
    mean = method.other_predictions(images)["mean"]
    expected = (F.softmax(method.net_a(images), 1) + F.softmax(method.net_b(images), 1)) / 2
    torch.testing.assert_close(mean.exp(), expected)
    torch.testing.assert_close(method.predict(images), method.net_a(images))
