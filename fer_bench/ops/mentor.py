"""The small network that weights samples ("mentor") of MentorNet, the tables it is fitted on, and its fitting.

A row is (loss, loss minus its running percentile, label, percentage of the training), float [N, 4]. The label is not
used by the release and is 0. (google/mentornet ``code/utils.py``, ``code/training_mentornet/data_generator.py``.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Curriculum = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Weights [N] of losses, differences and percentages, [N] each."""

PERCENTS, RATES = 100, 30


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


def curriculum_table(curriculum: Curriculum) -> Tensor:
    """All rows of the official grid, with the curriculum's weight as fifth column.

    Losses are 0 to 10 by 0.1 and 10 to 30 by 1, differences -5 to 5 by 0.1, percentages 0 to 99.

    Args:
        curriculum: The weights to imitate.

    Returns:
        float64 [1.2 million, 5].
    """
    loss = torch.cat([torch.arange(100, dtype=torch.float64) * 0.1, torch.arange(10, 30, dtype=torch.float64)])
    difference = -5 + torch.arange(100, dtype=torch.float64) * 0.1
    percent = torch.arange(PERCENTS, dtype=torch.float64)
    columns = torch.cartesian_prod(loss, difference, percent).unbind(dim=1)
    return torch.stack([columns[0], columns[1], torch.zeros_like(columns[0]), columns[2], curriculum(*columns)], dim=1)


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
