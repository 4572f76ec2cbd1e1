"""What ``fer-bench doctor`` measures and advises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fer_bench.core.errors import SpecError
from fer_bench.core.machine import Cores, Folder, Memory
from fer_bench.core.presets import load_preset
from fer_bench.core.spec import Recipe
from fer_bench.launch import doctor
from fer_bench.launch.doctor import Advice, Machine, Speed

HERE = Machine("a processor", Cores(8, 8, None), ["avx2"], "AVX2", Memory(16 << 30, 12 << 30, None, None), [], 0.5, {},
               Folder("results", "", 1), Folder("cache", "", 1))  # fmt: skip
QUICK = load_preset("quick")


def speed(bf16: float) -> Speed:
    return Speed("cpu", "ferres8", 48, 64, {"float32": 10.0, "bf16": 8.0}, {"float32": 30.0, "bf16": 30.0 * bf16})


@pytest.fixture
def advise(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Advice without a plan: its estimate is a tenth of a second for each run and worker."""

    class Planned:
        runs = [None] * 9

    monkeypatch.setattr(doctor, "make_plan", lambda request: Planned)
    monkeypatch.setattr(doctor, "estimate", lambda runs, out, devices: len(runs) / 10 / len(devices))

    def call(this: Machine = HERE, bf16: float = 1.0, recipe: Recipe = QUICK, devices: Any = ("cpu",)) -> Advice:
        return doctor.advise(this, recipe, "quick", list(devices), speed(bf16), Path("results"))

    return call


@pytest.mark.parametrize(("share", "expected"), [(0.5, "bf16"), (0.9, "bf16"), (0.91, "float32"), (3.0, "float32")])
def test_bf16_is_advised_where_it_is_clearly_faster(advise: Any, share: float, expected: str) -> None:
    advice = advise(bf16=share)
    assert advice.precision == expected and f"takes {share:.2f} of the time" in advice.precision_reason


def test_there_is_a_run_for_each_usable_core(advise: Any) -> None:
    assert advise(replace(HERE, cores=Cores(8, 8, 3.7))).jobs == 3
    assert advise(recipe=replace(QUICK, threads=4)).jobs == 2
    assert advise(recipe=replace(QUICK, threads=16)).jobs == 1


def test_memory_limits_the_runs(advise: Any) -> None:
    advice = advise(replace(HERE, memory=Memory(16 << 30, 3 << 30, None, None)))
    assert advice.jobs == 2 and "memory" in advice.jobs_reason
    assert advise(replace(HERE, memory=Memory(None, None, None, None))).jobs == 8


def test_a_gpu_gets_one_run_unless_more_was_measured(advise: Any) -> None:
    advice = advise(devices=("cuda:0", "cuda:1"))
    assert (advice.jobs, advice.device) == (2, "cuda:0,cuda:1")


def test_the_estimate_is_for_that_many_jobs_and_never_more_than_there_are_runs(advise: Any) -> None:
    assert advise(replace(HERE, cores=Cores(2, 2, None))).seconds == pytest.approx(0.45)
    assert advise(replace(HERE, cores=Cores(64, 64, None), memory=Memory(None, None, None, None))).seconds == 0.1


def test_the_reason_for_no_estimate_is_kept(advise: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise SpecError("the cache is full")

    monkeypatch.setattr(doctor, "make_plan", fails)
    advice = advise()
    assert advice.seconds is None and advice.no_estimate == "the cache is full"


def test_both_precisions_are_measured() -> None:
    found = doctor.measure(Recipe(image_size=16, batch_size=4), "cpu", seconds=0.01)
    assert found.forward.keys() == found.step.keys() == {"float32", "bf16"}
    assert all(found.forward[name] > 0 for name in found.forward) and all(each > 0 for each in found.step.values())


def test_other_programs_do_not_count_on_a_cpu() -> None:
    import time

    clock = doctor._clock("cpu", threads=2)
    before = clock(), time.process_time()
    time.sleep(0.2)
    sum(range(2_000_000))
    spent = clock() - before[0]
    assert spent == pytest.approx((time.process_time() - before[1]) / 2, abs=0.01)


def test_the_precision_that_is_measured_is_the_one_that_is_named() -> None:
    import torch

    dtypes = []
    net = doctor._network(Recipe(image_size=16, batch_size=4), "bf16", "cpu")
    net.block2.register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    doctor._pass(net, torch.randn(4, 3, 16, 16), "forward")()
    assert dtypes == [torch.bfloat16]


def test_an_examination_is_plain_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MEASURED", 0.01)
    monkeypatch.setattr(doctor, "advise", lambda *_: Advice("float32", "", "cpu", 1, "", 60.0, ""))
    monkeypatch.setattr(doctor, "measure", lambda recipe, device: speed(1.0))
    (tmp_path / "rafdb").mkdir()
    (tmp_path / "file").write_text("")
    found = doctor.examine(tmp_path / "file", tmp_path, "cpu")
    plain = json.loads(json.dumps(found.plain()))
    assert plain["machine"]["cores"]["usable"] == found.machine.cores.usable
    assert plain["data"]["rafdb"] and plain["data"]["synthetic"] and not plain["data"]["expw"]
    assert plain["preset"] == "quick" and plain["problems"] == found.problems
    assert len(found.problems) == 1 and "results" in found.problems[0]


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(SpecError, match="unknown preset 'quik'"):
        doctor.examine(Path("results"), preset="quik")
