"""What is tried with every option of a method: that it trains, and that its bounds are checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fer_bench.engine.stages import stage_spans
from fer_bench.method import Batch, Method
from tests.helpers.tiny import (
    B,
    C,
    N,
    TinyRun,
    batch_for,
    build,
    labels,
    number,
    parameters_of,
    seeded,
    task,
    unchanged,
)


def steps_of_each(options: list[dict[str, Any]]) -> Callable[[Any], Any]:
    """Parametrizes a test of steps: each of the ``options``, the first and a later epoch, two batch sizes."""
    return _parametrized(options, epoch=[0, 12], size=[B, 2])


def runs_of_each(options: list[dict[str, Any]]) -> Callable[[Any], Any]:
    """Parametrizes a test of whole runs: each of the ``options``, four and two epochs."""
    return _parametrized(options, epochs=[4, 2])


def _parametrized(options: list[dict[str, Any]], **axes: list[int]) -> Callable[[Any], Any]:
    names = [",".join(f"{name}={value}" for name, value in each.items()) or "default" for each in options]

    def decorate(test: Any) -> Any:
        for axis, values in axes.items():
            test = pytest.mark.parametrize(axis, values)(test)
        return pytest.mark.parametrize("options", options, ids=names)(test)

    return decorate


def assert_refused(cls: type[Method], name: str, value: Any) -> None:
    """The message of a value out of bounds names the setting and the value."""
    with pytest.raises(ValueError, match=rf"{name} = .*{value}.* out of range"):
        cls.Config(**{name: value})


def assert_answers(method: Method) -> Tensor:
    """The answers to three images, after they were checked; the clean score is checked as well."""
    method.eval()
    images = torch.randn(3, 3, 10, 10, generator=seeded())
    with torch.no_grad():
        answer = method.predict(images)
        others = method.other_predictions(images)
        alone = torch.cat([method.predict(image[None]) for image in images])
    for found in (answer, *others.values()):
        assert found.shape == (3, C) and bool(found.isfinite().all()) and found.dtype == torch.float32
    torch.testing.assert_close(alone, answer)
    score = method.clean_score()
    assert score is None or (score.shape == (N,) and bool(score.isfinite().all()))
    return answer


def assert_trains(cls: type[Method], options: dict[str, Any], epoch: int, size: int) -> None:
    """Four steps with batches of ``size`` in the 0-based ``epoch`` change parameters and keep all numbers finite."""
    method = build(cls, **options)
    run = TinyRun(method, epoch, adam=True)
    before = parameters_of(method)
    method.on_stage_start("train", run)
    method.on_epoch_start(run)
    for _ in range(4):  # a running percentile that starts at 0 selects nothing at first
        logged = method.train_step(batch_for(method, size=size), run)
        assert all(math.isfinite(number(value)) for value in logged.values())
    method.on_epoch_end(run)
    assert run.minimized and all(math.isfinite(value) for _, value in run.minimized)
    assert not unchanged(method, before)
    assert_answers(method)


def train(method: Any, given: Tensor, epochs: int = 20, seed: int = 0) -> list[dict[str, Any]]:
    """A whole run of ``method`` on N random images, by the engine's order of calls; the logs of its steps."""
    generator = seeded(seed)
    images = torch.randn(N, 3, 10, 10, generator=generator)
    logs, spans = [], stage_spans(method.stages(), epochs)

    def views(rows: Tensor) -> dict[str, Tensor]:
        weak = images[rows]
        second = weak + 0.1 * torch.randn(weak.shape, generator=generator)
        return {"weak": weak, "mirror": weak.flip(-1), "second": second, "strong": second, "plain": weak}

    def batch_of(rows: Tensor) -> Batch:
        return Batch(rows, given[rows], views(rows).__getitem__, method.needs(method.config).views)

    for span in spans:
        run = TinyRun(method, span.first, span.stage.name, epochs=spans[-1].end, adam=True)
        run.stage_epochs = span.epochs
        run.training_set = lambda: map(batch_of, torch.arange(N).split(B))  # type: ignore[method-assign]
        method.on_stage_start(run.stage, run)
        for epoch in range(span.first, span.end):
            order = method.epoch_indices(given, seeded(epoch))
            batches = (torch.randperm(N, generator=seeded(epoch)) if order is None else order).split(B)
            run.epoch, run.stage_epoch, run.steps = epoch, epoch - span.first, len(batches)
            method.train()
            method.on_epoch_start(run)
            for run.step, rows in enumerate(batches):
                before = len(run.minimized)
                logs.append({"stage": run.stage, **method.train_step(batch_of(rows), run)})
                logs[-1]["updated"] = len(run.minimized) > before
            method.on_epoch_end(run)
            if epoch + 1 == spans[-1].end:
                method.on_fit_end(run)
    return logs


def assert_whole_run(cls: type[Method], options: dict[str, Any], epochs: int) -> None:
    """A whole run changes parameters and keeps all numbers finite, and its state can be loaded."""
    given = labels(3, N)
    the_task = task(epochs=epochs, class_counts=torch.bincount(given, minlength=C))
    method = build(cls, the_task, **options)
    before = parameters_of(method)
    logs = train(method, given, epochs)
    assert all(math.isfinite(number(v)) for log in logs for k, v in log.items() if k not in ("stage", "updated"))
    assert not unchanged(method, before)
    answer = assert_answers(method)
    assert sum(stage.share for stage in method.stages() if not stage.extra) == pytest.approx(1)
    fresh = build(cls, the_task, **options)
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(assert_answers(fresh), answer)
