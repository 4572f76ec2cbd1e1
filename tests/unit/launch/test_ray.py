"""What the Ray launcher asks a cluster for. ``tests/stress/cluster.py`` and ``busy_cluster.py`` train on one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fer_bench.core.errors import SpecError
from fer_bench.launch.launcher import choose_launcher

pytest.importorskip("ray")
pytestmark = pytest.mark.cluster


def run_with(threads: int) -> Any:
    return SimpleNamespace(spec=SimpleNamespace(recipe=SimpleNamespace(threads=threads)))


def test_a_run_gets_the_cores_of_its_threads_and_its_share_of_a_gpu() -> None:
    from fer_bench.launch.ray import Options, _needed

    assert _needed(run_with(4), Options()) == {"num_cpus": 4, "num_gpus": 0}
    assert _needed(run_with(4), Options(cpus=0.5, gpus=0.25)) == {"num_cpus": 0.5, "num_gpus": 0.25}


@pytest.mark.parametrize(
    ("options", "message"),
    [(["gpus=1.5"], "gpus = 1.5: Ray gives a run a share of one GPU"), (["gpus=-1"], "cannot be negative"),
     (["retries=-2"], "retries is the number of new starts"), (["gpu=1"], "did you mean 'gpus'")],
)  # fmt: skip
def test_a_wrong_option_is_named(options: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        choose_launcher("ray", options)


def test_a_share_and_whole_gpus_are_taken() -> None:
    for gpus in ("0.25", "1", "2"):
        assert not choose_launcher("ray", [f"gpus={gpus}"]).local


def test_no_node_with_room_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from fer_bench.launch import ray as launcher

    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 0.0}},
        {"Alive": False, "Resources": {"CPU": 8, "GPU": 8}},
    ]
    monkeypatch.setattr(launcher.ray, "nodes", lambda: nodes)
    work: Any = SimpleNamespace(todo=[run_with(4), run_with(2)])
    launcher._check_room(work, launcher.Options())
    with pytest.raises(SpecError, match=r"no node .* has 4 cores and 0.25 GPUs for one run; it has 8 cores, 0 GPUs"):
        launcher._check_room(work, launcher.Options(gpus=0.25))
    with pytest.raises(SpecError, match=r"no node .* has 16 cores"):
        launcher._check_room(SimpleNamespace(todo=[run_with(16)]), launcher.Options())  # type: ignore[arg-type]
