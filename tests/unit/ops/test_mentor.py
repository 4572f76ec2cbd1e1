"""The mentor network, its tables and its fitting."""

from __future__ import annotations

import fer_bench_methods.mentornet as mentornet
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench import ops


def test_mentor_network_is_one_step_of_a_bidirectional_lstm() -> None:
    network = ops.MentorNetwork()
    network.reset(torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.gate_bias.normal_()
        network.hidden_bias.normal_()
        network.out_shift.fill_(0.3)
    rows = torch.rand(6, 4) * 3
    rows[:, 2], rows[:, 3] = torch.tensor([0.0, 1, 0, 1, 0, 0]), torch.tensor([0.0, 7, 50, 99, 100, 130])
    lstm = nn.LSTM(2, 1, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for direction, suffix in enumerate(("", "_reverse")):
            weight, bias = getattr(lstm, f"weight_ih_l0{suffix}"), getattr(lstm, f"bias_ih_l0{suffix}")
            getattr(lstm, f"bias_hh_l0{suffix}").zero_()
            # torch orders its gates i, f, g, o
            weight[0], weight[2] = network.gate[direction, :, 0], network.gate[direction, :, 1]
            bias[0], bias[2] = network.gate_bias[direction]
    _, (_, cell) = lstm(rows[:, None, :2])
    percent = network.percent_embedding[torch.tensor([0, 7, 50, 99, 99, 99])]
    features = torch.cat([network.label_embedding[rows[:, 2].long()], percent, cell.squeeze(2).T], dim=1)
    hidden = torch.tanh(features @ network.hidden + network.hidden_bias)
    torch.testing.assert_close(network(rows), (hidden @ network.out).squeeze(1) + 0.3 * hidden.sum(1))


def test_mentor_tables() -> None:
    table = ops.curriculum_table(lambda loss, diff, percent: mentornet.curriculum("pd", loss, diff, percent))
    assert table.shape == (1_200_000, 5) and table[:, 0].max() == 29 and table[:, 1].min() == -5
    fit, test = ops.split_table(table, torch.arange(1000), 100)
    assert (len(fit), len(test)) == (80, 20)
    assert len(ops.split_table(table, torch.arange(1000), 100, official=True)[1]) == 19
    dump = torch.tensor([[1.0, 5, 2, 2, 0.5], [2, 6, 2, 1, 1.5], [1, 7, 3, 2, 2.5]], dtype=torch.float64)
    every = ops.data_driven_table(dump, 50)
    assert every[:, 4].tolist() == [1, 0, 0] and every[:, 1].tolist() == [-1, 0, 1] and every[:, 2].eq(0).all()
    last = ops.data_driven_table(dump, 50, one_row_per_sample=True)
    assert last[:, 0].tolist() == [2.5, 1.5] and last[:, 3].tolist() == [7, 6]


@pytest.mark.parametrize("binary", [True, False])
def test_mentor_is_fitted(binary: bool) -> None:
    def target(loss: Tensor, difference: Tensor, percent: Tensor) -> Tensor:
        return mentornet.curriculum("self_paced" if binary else "spcl_linear", loss, difference, percent)

    generator = torch.Generator().manual_seed(0)
    table = ops.curriculum_table(target)
    fit, test = ops.split_table(table, torch.randperm(len(table), generator=generator), 5000)
    mentor = ops.MentorNetwork()
    mentor.reset(generator)
    frozen = mentor.percent_embedding.clone()
    errors = [F.mse_loss(mentor(test[:, :4].float()).sigmoid(), test[:, 4].float()).item()]
    ops.fit_mentor(mentor, fit, 150, generator)
    errors.append(F.mse_loss(mentor(test[:, :4].float()).sigmoid(), test[:, 4].float()).item())
    assert errors[1] < 0.7 * errors[0] and torch.equal(mentor.percent_embedding, frozen)
