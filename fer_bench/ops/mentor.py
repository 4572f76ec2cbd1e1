"""The pieces of MentorNet: curricula, the small network that imitates or learns one ("mentor"), and dropped samples.

A row of a table is (loss, loss minus its running percentile, label, percentage of the training), float [N, 4]. The
label is not used by the release and is 0. (google/mentornet ``code/utils.py``,
``code/training_mentornet/data_generator.py``.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Curriculum = Literal["pd", "self_paced", "spcl_linear", "focal_loss", "hard_example", "baseline"]
Sampling = Literal["random", "binary", "actual"]

WeightsOf = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Weights [N] of losses, differences and percentages, [N] each."""

LAST_ORDINARY, FIRST_LINEAR = 18, 90
"""'pd' weights all samples 1 up to the first percentage and is linear from the second on."""
PERCENTS, RATES = 100, 30


def curriculum(
    variant: Curriculum,
    loss: Tensor,
    difference: Tensor,
    percent: Tensor | float,
    gamma: float | None = None,
    label: Tensor | float = 0.0,
) -> Tensor:
    """The weights of a predefined curriculum in closed form (models.py of the release).

    Args:
        variant: "pd" is all 1, then self-paced, then linear. "focal_loss" and "hard_example" favour large losses, noisy
            labels included.
        loss: [N].
        difference: [N], loss minus the running percentile.
        percent: Percentage of the training, a number or [N].
        gamma: The width of "spcl_linear" and of the last part of "pd" (None = 1), the exponent of "focal_loss" (None =
            2).
        label: A number or [N]. "hard_example" always selects labels above 0; the release passes 0.

    Returns:
        [N], in [0, 1].

    >>> loss = torch.tensor([0.1, 0.9])
    >>> curriculum("self_paced", loss, loss - 0.5, percent=50), curriculum("spcl_linear", loss, loss - 0.5, percent=50)
    (tensor([1., 0.]), tensor([1.0000, 0.6000]))
    """
    if variant == "baseline":
        return torch.ones_like(loss)
    if variant == "focal_loss":
        return (1 - torch.exp(-loss)) ** (2.0 if gamma is None else gamma)
    if variant == "hard_example":
        positive = torch.as_tensor(label, device=loss.device) > 0
        return ((difference >= 0) | positive).to(loss.dtype)
    self_paced = (difference <= 0).to(loss.dtype)
    linear = (1 - difference / (1.0 if gamma is None else gamma)).clamp(0, 1)
    if variant == "self_paced":
        return self_paced
    if variant == "spcl_linear":
        return linear
    percent = torch.as_tensor(percent, device=loss.device)
    late = torch.where(percent >= FIRST_LINEAR, linear, self_paced)
    return torch.where(percent <= LAST_ORDINARY, torch.ones_like(loss), late)


def parse_drop_rates(text: str) -> list[float]:
    """The share of a batch that is dropped, for each of the 100 percentages of the training.

    Args:
        text: "rate,count,rate,count,...", with counts that sum to 100.

    Raises:
        ValueError: The text has another form, or a rate is not in [0, 1].

    >>> rates = parse_drop_rates("0.5,17,0.05,83")
    >>> len(rates), rates[16], rates[17]
    (100, 0.5, 0.05)
    """
    try:
        numbers = [float(part) for part in text.split(",")]
        rates, counts = numbers[::2], [int(n) for n in numbers[1::2]]
    except ValueError:
        raise ValueError(f"dropout = {text!r} is not 'rate,count,rate,count,...'") from None
    if len(rates) != len(counts) or sum(counts) != 100 or min(counts) < 0 or counts != numbers[1::2]:
        raise ValueError(f"dropout = {text!r}: the counts must be whole numbers that sum to 100")
    if not all(0 <= rate <= 1 for rate in rates):
        raise ValueError(f"dropout = {text!r} is out of range: rates must be from 0 to 1")
    return [rate for rate, count in zip(rates, counts, strict=True) for _ in range(count)]


def survivor_count(size: int, rate: float) -> int:
    """How many of ``size`` samples are not dropped, truncated in floating point.

    >>> survivor_count(64, 0.5)
    32
    """
    return int(size * (1 - rate))


def draw_probability(weights: Tensor) -> Tensor:
    """The probability [B] with which a sample of weights [B] is drawn first in the samplings "binary" and "actual".

    >>> draw_probability(torch.tensor([1.0, 3.0]))
    tensor([0.2500, 0.7500])
    """
    p = weights + 1e-5
    return p / p.sum()


def draw_survivors(weights: Tensor, count: int, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """The samples that are not dropped.

    Args:
        weights: [B].
        count: How many.
        sampling: "random" draws uniformly, "binary" and "actual" by weight.
        generator: On the device of the weights.

    Returns:
        int64 [count], positions without replacement.

    >>> draw_survivors(torch.tensor([1.0, 0.0]), 1, "actual", torch.Generator().manual_seed(0))
    tensor([0])
    """
    if sampling == "random" or count == 0:
        return torch.randperm(len(weights), generator=generator, device=weights.device)[:count]
    return torch.multinomial(draw_probability(weights), count, generator=generator)


def drop_others(weights: Tensor, survivors: Tensor, sampling: Sampling = "random") -> Tensor:
    """The weights [B] at the survivors, 1 for "binary", and 0 elsewhere. Nothing is scaled up.

    >>> drop_others(torch.tensor([0.2, 0.4, 0.6]), torch.tensor([2]))
    tensor([0.0000, 0.0000, 0.6000])
    """
    kept = torch.zeros_like(weights)
    kept[survivors] = 1.0 if sampling == "binary" else weights[survivors]
    return kept


class MentorNetwork(nn.Module):
    """A weight in [0, 1] for each row: embeddings and a one-step bidirectional LSTM of width 1, then two layers.

    As the LSTM sees a single step from a zero state and hands on its CELL state, only its input gate and candidate
    matter: c = sigmoid(w_i (l, d) + b_i) tanh(w_j (l, d) + b_j) for each direction. The last "bias" is added to every
    output WEIGHT. The embedding of the percentage is random and is not fitted.

    >>> mentor = MentorNetwork()
    >>> mentor(torch.zeros(5, 4)).shape
    torch.Size([5])
    """

    def __init__(self, hidden: int = 20) -> None:
        super().__init__()
        self.label_embedding = nn.Parameter(torch.empty(2, 2))
        self.register_buffer("percent_embedding", torch.empty(PERCENTS, 5))
        self.gate = nn.Parameter(torch.empty(2, 2, 2))
        """[direction, (loss, difference), (input gate, candidate)]."""
        self.gate_bias = nn.Parameter(torch.zeros(2, 2))
        self.hidden = nn.Parameter(torch.empty(2 + 5 + 2, hidden))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.out = nn.Parameter(torch.empty(hidden, 1))
        self.out_shift = nn.Parameter(torch.zeros(1))
        self.reset(None)

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None) -> None:
        """Standard normal layers; the rest is uniform as for a layer of its official shape."""
        for parameter in (self.hidden, self.out):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for table, rows, columns in (
            (self.label_embedding, 2, 2), (self.get_buffer("percent_embedding"), PERCENTS, 5), (self.gate, 3, 4),
        ):  # fmt: skip
            bound = math.sqrt(6 / (rows + columns))
            table.copy_((2 * torch.rand(table.shape, generator=generator) - 1) * bound)
        for bias in (self.gate_bias, self.hidden_bias, self.out_shift):
            bias.zero_()

    def forward(self, rows: Tensor) -> Tensor:
        """The logits of the weights: [N] of rows [N, 4]; percentages above 99 count as 99."""
        gates = torch.einsum("nk,dkg->ndg", rows[:, :2], self.gate) + self.gate_bias
        cells = torch.sigmoid(gates[..., 0]) * torch.tanh(gates[..., 1])
        label = self.label_embedding[rows[:, 2].long()]
        percent = self.get_buffer("percent_embedding")[rows[:, 3].long().clamp(0, PERCENTS - 1)]
        features = torch.cat([label, percent, cells], dim=1)
        hidden = torch.tanh(features @ self.hidden + self.hidden_bias)
        return (hidden @ (self.out + self.out_shift)).squeeze(1)


def curriculum_table(weights_of: WeightsOf) -> Tensor:
    """All rows of the official grid, with the curriculum's weight as fifth column.

    Losses are 0 to 10 by 0.1 and 10 to 30 by 1, differences -5 to 5 by 0.1, percentages 0 to 99.

    Args:
        weights_of: The curriculum to imitate.

    Returns:
        float64 [1.2 million, 5].
    """
    loss = torch.cat([torch.arange(100, dtype=torch.float64) * 0.1, torch.arange(10, 30, dtype=torch.float64)])
    difference = -5 + torch.arange(100, dtype=torch.float64) * 0.1
    percent = torch.arange(PERCENTS, dtype=torch.float64)
    columns = torch.cartesian_prod(loss, difference, percent).unbind(dim=1)
    return torch.stack([columns[0], columns[1], torch.zeros_like(columns[0]), columns[2], weights_of(*columns)], dim=1)


def data_driven_table(dump: Tensor, percentile: float, one_row_per_sample: bool = False) -> Tensor:
    """Rows with the target 1[label is right], from the losses of a first run on known labels.

    Args:
        dump: [N, 5], with the columns sample, percentage, noisy label, clean label, loss.
        percentile: Differences are to this percentile of all losses, 0 to 100, interpolated.
        one_row_per_sample: True keeps the last row of a sample, in the place of its first, as the official reader does.

    Returns:
        [N, 5], in the type of the dump.

    >>> data_driven_table(torch.tensor([[0.0, 10.0, 1.0, 1.0, 0.5], [1.0, 10.0, 2.0, 1.0, 2.5]]), 50)
    tensor([[ 0.5000, -1.0000,  0.0000, 10.0000,  1.0000],
            [ 2.5000,  1.0000,  0.0000, 10.0000,  0.0000]])
    """
    if one_row_per_sample:
        dump = torch.stack(list({int(row[0]): row for row in dump}.values()))
    loss = dump[:, 4]
    right = (dump[:, 2] == dump[:, 3]).to(dump.dtype)
    difference = loss - torch.quantile(loss, percentile / 100)
    return torch.stack([loss, difference, torch.zeros_like(loss), dump[:, 1], right], dim=1)


def split_table(table: Tensor, order: Tensor, size: int | None = None, official: bool = False) -> tuple[Tensor, Tensor]:
    """Rows to fit on, 80 %, and rows to test on.

    Args:
        table: [N, ...].
        order: int64 [N], the order in which rows are taken.
        size: Rows at most; None = all.
        official: True loses the first row of the rest.

    >>> split_table(torch.arange(5), torch.tensor([4, 3, 2, 1, 0]))
    (tensor([4, 3, 2, 1]), tensor([0]))
    """
    table = table[order[:size]]
    count = int(len(table) * 0.8)
    return table[:count], table[count + official :]


def fit_mentor(
    mentor: MentorNetwork, table: Tensor, steps: int, generator: torch.Generator, batch_size: int = 32
) -> None:
    """Fits the mentor to the fifth column of a table [N, 5].

    Adam, gradient norm at most 5, a rate of 0.1 that falls by a tenth 29 times: officially every 1000 of 30000 steps,
    here at the same shares of ``steps``. The loss is binary cross-entropy where all targets are 0 or 1, else the
    squared error of the weights.
    """
    table = table.float()
    rows, target = table[:, :4], table[:, 4]
    binary = bool(((target == 0) | (target == 1)).all())
    parameters: Sequence[nn.Parameter] = list(mentor.parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * 0.9 ** (RATES * step // steps)
        drawn = torch.randint(len(table), (batch_size,), generator=generator)
        logit = mentor(rows[drawn])
        if binary:
            loss = F.binary_cross_entropy_with_logits(logit, target[drawn])
        else:
            loss = F.mse_loss(torch.sigmoid(logit), target[drawn])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
