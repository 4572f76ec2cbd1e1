"""Golden cases of MentorNet, through fer_bench_methods.mentornet and fer_bench.ops."""

from __future__ import annotations

from typing import Any

import fer_bench_methods.mentornet as mentornet
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench import ops
from fer_bench.method import Task
from fer_bench.ops import MentorNetwork, curriculum_table, data_driven_table, split_table
from tests.golden.adapters._tools import expect, integers, pick

VARIANTS = {
    "baseline": "baseline",
    "self_paced": "self_paced",
    "spcl_linear": "spcl_linear",
    "hard_example_mining": "hard_example",
    "focal_loss": "focal_loss",
    "mentornet_pd": "pd",
}
QUANTILES = (0, 25, 30, 50, 60, 70, 75, 80, 100)
LINEAR_QUANTILES = (30, 50, 75)
STEPS = (0, 389, 390, 7019, 7020, 38999)
REMARKS = {
    "note": None,
    "invariant": "exactly num_kept positions survive; survivors keep v (or 1 in binary mode)",
    "columns": "loss, diff, label(0), epoch, v",
    "grid": "loss: 0..10 step .1 and 10..30 step 1 (120); diff: -5..5 step .1 (100); label {0}; epoch 0..99 -> "
    "1.2M rows, then subsample",
}
"""Outputs in words. What they say is asserted below."""
TABLE_SEED = 0
"""Of NumPy's global generator, which shuffles the official tables."""


def compute(case: dict[str, Any]) -> dict[str, Any]:
    name, inputs, params = case["name"], case["inputs"], case["params"]
    found: dict[str, Any]
    if name.startswith("vstar_"):
        found = {"v": _curriculum(name, inputs["rows_loss_diff_label_epoch"], params.get("vstar_gamma"))}
    elif name.startswith("dropout_schedule"):
        found = {"rate_per_percent": ops.parse_drop_rates(params["spec"])}
    elif name.startswith("probabilistic_sample"):
        found = _drop(torch.tensor(inputs["v"], dtype=torch.float64), params)
    elif name.startswith("percentile"):
        found = _percentiles(inputs["x"])
    elif name.startswith("ema"):
        expect(case, bias_correction=False)
        found = {"per_batch": _averages(inputs["loss_per_batch"], params)}
    elif name.startswith("burn_in"):
        found = {"epoch_curepoch_forceone": _burn_in(params["burn_in_epoch"], params["fixed_epoch_after_burn_in"])}
    elif name.startswith("mentor_network"):
        expect(case, tf_kernel_gate_order="i,j,f,o", dtype="float64")
        found = _network(inputs)
    elif name.startswith("step_"):
        found = _step(case)
    elif name.startswith("pd_generator"):
        found = _curriculum_table(params["sample_size"])
    elif name.startswith("dd_generator"):
        found = _data_driven_tables(inputs["csv_rows_id_epoch_noisy_clean_loss"], params["percentiles"])
    elif name.startswith("epoch_percent"):
        found = {"step_to_percent": [[step, mentornet.percent_of(step, params["max_steps"])] for step in STEPS]}
    else:
        raise NotImplementedError(name)
    return pick(case, REMARKS | found)


def _curriculum(name: str, rows: list[list[float]], gamma: float | None) -> Tensor:
    loss, difference, label, percent = torch.tensor(rows, dtype=torch.float64).unbind(dim=1)
    variant = next(ours for theirs, ours in VARIANTS.items() if name.startswith(f"vstar_{theirs}"))
    return ops.curriculum(variant, loss, difference, percent, gamma, label)


def _positions(v: Tensor, rate: float, mode: str, seed: int) -> Tensor:
    """Who survives, drawn from NumPy's generator as officially; the plugin draws from torch's."""
    p = None if mode == "random" else ops.draw_probability(v).numpy()
    count = ops.survivor_count(len(v), rate)
    return torch.from_numpy(np.random.RandomState(seed).choice(len(v), count, replace=False, p=p))


def _drop(v: Tensor, params: dict[str, Any]) -> dict[str, Any]:
    left = _positions(v, params["rate"], params["mode"], params["numpy_seed"])
    result = ops.drop_others(v, left, params["mode"])
    others = torch.ones_like(v, dtype=torch.bool).index_fill(0, left, False)
    assert not bool(result[others].any())
    return {
        "result": result,
        "num_kept": len(left),
    }


def _percentiles(x: list[float]) -> dict[str, Any]:
    values = torch.tensor(x, dtype=torch.float64)
    return {
        "q_value": [[q, mentornet.nearest_percentile(values, q / 100).item()] for q in QUANTILES],
        "numpy_linear_for_contrast": [[q, float(np.percentile(values.numpy(), q))] for q in LINEAR_QUANTILES],
    }


def _averages(batches: list[list[float]], params: dict[str, Any]) -> list[dict[str, Any]]:
    average, log = torch.tensor(params["init"]), []
    for losses in torch.tensor(batches):
        percentile = mentornet.nearest_percentile(losses, params["p"])
        average = mentornet.moving_average(average, percentile, params["decay"])
        log.append(
            {
                "percentile_loss": percentile.item(),
                "ema_after_update": average.item(),
                "loss_diff": (losses - average).tolist(),
            }
        )
    return log


def _burn_in(burn_in: int, fixed: bool) -> list[list[int]]:
    rows = []
    for percent in range(100):
        current = mentornet.current_percent(percent, burn_in, fixed)
        rows.append([percent, current, int(mentornet.burning_in(current, burn_in))])
    return rows


def _network(inputs: dict[str, Any]) -> dict[str, Any]:
    given = {name: torch.tensor(value, dtype=torch.float64) for name, value in inputs["weights"].items()}
    network = MentorNetwork(len(given["fc1_b"])).double()
    # Of the gates i, j, f, o and the inputs (loss, difference, state), the cell after one step needs i, j and no state.
    kernels = torch.stack([given["lstm_fw_kernel"], given["lstm_bw_kernel"]])
    biases = torch.stack([given["lstm_fw_bias"], given["lstm_bw_bias"]])
    network.load_state_dict(
        {
            "label_embedding": given["label_embedding"],
            "percent_embedding": given["epoch_embedding"],
            "gate": kernels[:, :2, :2],
            "gate_bias": biases[:, :2],
            "hidden": given["fc1_w"],
            "hidden_bias": given["fc1_b"],
            "out": given["fc2_w"],
            "out_shift": given["fc2_b"],
        }
    )
    logit = network(torch.tensor(inputs["rows_loss_diff_label_epoch"], dtype=torch.float64))
    return {"logit": logit, "v": torch.sigmoid(logit)}


def _step(case: dict[str, Any]) -> dict[str, Any]:
    params = case["params"]
    name, _, gamma = params["curriculum"].removeprefix("vstar_").partition(" gamma ")
    config = mentornet.Mentornet.Config(
        variant=VARIANTS[name], gamma=float(gamma) if gamma else None, percentile=params["p"], decay=params["decay"],
        dropout=params["dropout_spec"], burn_in=params["burn_in_epoch"],
        fixed_after_burn_in=params["fixed_epoch_after_burn_in"],
    )  # fmt: skip
    classes = len(case["inputs"]["logits"][0])
    method = mentornet.Mentornet(config, Task(classes, 100, torch.ones(classes, dtype=torch.int64), 10, 16))
    method.average.fill_(case["inputs"]["ema_before"])
    logits = torch.tensor(case["inputs"]["logits"]).requires_grad_()
    per_sample = F.cross_entropy(logits, integers(case, "labels"), reduction="none")
    percent = mentornet.current_percent(params["epoch"], config.burn_in, config.fixed_after_burn_in)
    before, rate = method.weights(per_sample, percent), method.drop_rates[percent]
    v = ops.drop_others(before, _positions(before, rate, "random", params["numpy_seed"]))
    loss = mentornet.weighted_loss(per_sample, v)
    found: dict[str, Any] = {
        "loss": per_sample,
        "ema_after": method.average,
        "cur_epoch": percent,
        "v_before_dropout": before,
        "dropout_rate": rate,
        "v": v,
        "weighted_loss": loss,
        "weight_decay_scale": v.mean(),
    }
    (found["grad_logits"],) = torch.autograd.grad(loss, logits)
    return found


def _shuffled(size: int, rng: np.random.RandomState) -> Tensor:
    order = np.arange(size)
    rng.shuffle(order)
    return torch.from_numpy(order)


def _curriculum_table(size: int) -> dict[str, Any]:
    table = curriculum_table(lambda loss, difference, percent: ops.curriculum("pd", loss, difference, percent))
    assert len(table) == 120 * 100 * 100
    fit, test = split_table(table, _shuffled(len(table), np.random.RandomState(TABLE_SEED)), size, official=True)
    target = fit[:, 4]
    return {
        "train_shape": list(fit.shape),
        "test_shape": list(test.shape),
        "mean_v_train": target.mean(),
        "binary_target": bool(((target == 0) | (target == 1)).all()),
    }


def _data_driven_tables(rows: list[list[float]], percentiles: list[int]) -> dict[str, Any]:
    dump, rng, found = torch.tensor(rows, dtype=torch.float64), np.random.RandomState(TABLE_SEED), {}
    for percentile in percentiles:
        table = data_driven_table(dump, percentile, one_row_per_sample=True)
        fit, test = split_table(table, _shuffled(len(table), rng), official=True)
        kept = torch.cat([fit, test])
        found[f"rows_p{percentile}_sorted_by_loss"] = kept[kept[:, 0].argsort()]
    return found
