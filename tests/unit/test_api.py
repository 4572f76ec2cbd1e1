"""``fer_bench.run`` from notebooks, threads and scripts without a main guard; the sweeps that it writes."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import fer_bench
from fer_bench import api
from fer_bench.cli.run import run as command
from fer_bench.core.errors import IncompleteSweep, SpecError
from fer_bench.launch.devices import devices_for
from fer_bench.launch.work import Work
from fer_bench.store.folder import RunFolder
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.record import find_sweep, make_sweep
from fer_bench.sweep.request import Request, make_request
from tests.helpers.stored import finished

SCRIPT = """
import fer_bench
print("top of my script")
runs = fer_bench.run("ce", dataset={faces!r}, epochs=1, image_size=32, jobs=1, device="cpu", out={out!r})
print(len(runs), "runs")
"""


@pytest.fixture
def nothing_trained(monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """What would have been trained; nothing is."""
    work: list[Work] = []
    monkeypatch.setattr("fer_bench.launch.local.train_all", lambda given, **_: work.append(given))
    monkeypatch.setattr("fer_bench.sweep.estimate.measure_speed", lambda recipe, device: 1000.0)
    return work


def test_the_call_and_the_command_have_the_same_arguments() -> None:
    call = set(inspect.signature(fer_bench.run).parameters) - {"on_event"}
    options = {parameter.name for parameter in command.params} - {"dry_run"}
    assert call == options
    documented = (fer_bench.run.__doc__ or "").split("Args:")[1].split("Returns:")[0]
    assert [name for name in call if f"        {name}: " not in documented] == []


def test_defaults_of_the_call_are_those_of_a_request_and_an_execution() -> None:
    defaults = {name: p.default for name, p in inspect.signature(fer_bench.run).parameters.items()}
    given = {name: defaults[name] for name in defaults.keys() - api.EXECUTION - {"methods", "name", "on_event"}}
    assert make_request(methods=(), **given) == Request(())
    made, plain = api.make_execution(**{name: defaults[name] for name in api.EXECUTION}), api.Execution()
    assert dataclasses.replace(made, launcher=plain.launcher) == plain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 1.0}, "jobs = 1.0: a whole number"),
        ({"time_limit": 0}, "time_limit = 0.0: more than 0"),
        ({"launcher": "slrum"}, "did you mean 'slurm'"),
        ({"name": "a/b"}, "a name is needed, not a path"),
        ({"out": 3}, "out = 3: a string or a path"),
        ({"force": 1}, "force = 1: True or False"),
        ({"device": ["cuda:0", 1]}, "device = 1: a string"),
    ],
)
def test_an_option_of_the_launch_that_is_wrong_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        fer_bench.run("ce", **options)


@pytest.mark.usefixtures("nothing_trained", "no_outputs")
def test_the_sweep_tells_the_call_that_made_it(faces_folder: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"dataset": str(faces_folder), "image_size": 32, "device": ["cpu"], "out": str(tmp_path)}
    with pytest.raises(IncompleteSweep):  # nothing is trained here
        fer_bench.run("ce", 0.2, seeds=range(2), name="mine", **given)
    told = find_sweep(tmp_path, "mine").content["command"]
    assert told.startswith("fer_bench.run(methods=['ce'], ") and "image_size=32" in told and "name='mine'" in told
    assert "noise=[0.2]" in told and "seeds=[0, 1]" in told and "preset" not in told
    with pytest.raises(IncompleteSweep):
        fer_bench.run("ce", 0.2, seeds=range(2), name="again", **given)
    with pytest.raises(IncompleteSweep):
        eval(told.replace("name='mine'", "name='third'"))
    assert find_sweep(tmp_path, "third").content["runs"] == find_sweep(tmp_path, "again").content["runs"]


def test_no_method_that_can_run_is_an_error(faces_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(SpecError, match=r"no method can run: broken: .*nothing_of_this_name"):
        fer_bench.run("broken", dataset=faces_folder, plugins=tmp_path, out=tmp_path)


# --- where it is called from --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", ["file", "standard input", "long TMPDIR"])
def test_a_script_needs_no_main_guard(how: str, faces_folder: Path, tmp_path: Path) -> None:
    """Workers import nothing of it, so it is run once."""
    source, environment = SCRIPT.format(faces=str(faces_folder), out=str(tmp_path / "out")), dict(os.environ)
    (tmp_path / "script.py").write_text(source)
    if how == "long TMPDIR":
        environment["TMPDIR"] = str(tmp_path / ("a" * 150))
        Path(environment["TMPDIR"]).mkdir()
    words, given = ([], source) if how == "standard input" else ([str(tmp_path / "script.py")], None)
    ran = subprocess.run([sys.executable, *words], input=given, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0 and ran.stdout == "top of my script\n1 runs\n", ran.stdout + ran.stderr


@pytest.mark.usefixtures("no_outputs")
@pytest.mark.parametrize("where", ["thread", "event loop"])
def test_it_runs_in_a_thread_and_in_a_running_event_loop(where: str, faces_folder: Path, tmp_path: Path) -> None:
    counts: list[int] = []

    def call() -> None:
        runs = fer_bench.run("ce", dataset=faces_folder, epochs=1, image_size=32, jobs=1, device="cpu", out=tmp_path)
        counts.append(len(runs))

    async def cell() -> None:
        call()

    if where == "thread":
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    else:
        asyncio.run(cell())
    assert counts == [1]


# --- names of sweeps ----------------------------------------------------------------------------------------------


@pytest.fixture
def plans(faces_folder: Path) -> dict[str, Plan]:
    return {
        name: make_plan(Request(["ce"], str(faces_folder), noise=rates, overrides={"image_size": 32}))
        for name, rates in {"one": [0.2], "more": [0.2, 0.4], "other": [0.4]}.items()
    }


@pytest.mark.usefixtures("nothing_trained", "no_outputs")
def test_a_sweep_of_a_name_grows_and_is_replaced_only_when_asked(plans: dict[str, Plan], tmp_path: Path) -> None:
    execution = api.Execution(tmp_path, device="cpu")
    api.execute_plan(plans["one"], execution, "mine", "the first")
    folder = tmp_path / "sweeps" / "mine"
    (folder / "plots").mkdir()
    for made in ("table.md", "plots/old.png", "report.html"):
        (folder / made).write_text("old")
    with pytest.raises(SpecError, match=r"the sweep mine has other runs in .*, made by: the first\n.*--replace"):
        api.execute_plan(plans["other"], execution, "mine", "another")
    api.execute_plan(plans["more"], execution, "mine", "more")
    assert len(find_sweep(tmp_path, "mine").runs) == 2 and (folder / "table.md").exists()
    with pytest.raises(SpecError, match="has other runs"):
        api.prepare(plans["one"], execution, "mine")
    api.execute_plan(plans["other"], api.Execution(tmp_path, device="cpu", replace=True), "mine", "another")
    assert find_sweep(tmp_path, "mine").content["command"] == "another"
    assert sorted(path.name for path in folder.iterdir()) == ["sweep.json"], "what was made of other runs is gone"


@pytest.mark.usefixtures("nothing_trained", "no_outputs")
def test_a_sweep_that_is_being_trained_is_not_changed(plans: dict[str, Plan], tmp_path: Path) -> None:
    execution = api.Execution(tmp_path, device="cpu", replace=True)
    sweep = make_sweep(plans["one"], tmp_path, "mine", "the first")
    sweep.save()
    with sweep.runs[0].claim():
        for name in ("other", "more"):
            with pytest.raises(SpecError, match="They are being trained; choose another name with --name"):
                api.execute_plan(plans[name], execution, "mine")
        api.execute_plan(plans["one"], execution, "mine")


@pytest.mark.usefixtures("nothing_trained")
def test_a_command_tables_its_own_runs(plans: dict[str, Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another command has changed the stored sweep meanwhile."""
    tabled: list[Any] = []
    monkeypatch.setattr("fer_bench.api.write_outputs", lambda sweep, *_, **__: tabled.append(sweep.content["runs"]))

    def meanwhile(_work: Work, **_: Any) -> None:
        make_sweep(plans["other"], tmp_path, "mine", "of another command").save()

    monkeypatch.setattr("fer_bench.launch.local.train_all", meanwhile)
    outcome = api.execute_plan(plans["one"], api.Execution(tmp_path, device="cpu"), "mine")
    assert tabled == [outcome.sweep.content["runs"]] == [make_sweep(plans["one"], tmp_path, "mine", "").content["runs"]]


def test_an_edited_specification_is_trained_again_by_the_usual_command(plans: dict[str, Plan], tmp_path: Path) -> None:
    folder = make_sweep(plans["one"], tmp_path, "mine", "").runs[0]
    spec = plans["one"].runs[0].spec
    with folder.claim():
        folder.start(spec, {})
        folder.save_epochs(finished(tmp_path / "template").epochs())
        folder.finish(finished(tmp_path / "template").final or {}, {})
    execution = api.Execution(tmp_path, device="cpu")
    assert api.missing(plans["one"], execution) == []
    file = folder.path / "spec.json"
    file.write_text(json.dumps(json.loads(spec.canonical.replace('"rate":0.2', '"rate":0.4'))))
    assert api.missing(plans["one"], execution) == list(plans["one"].runs)
    assert fer_bench.load_runs(tmp_path).empty


@pytest.mark.usefixtures("nothing_trained", "no_outputs")
def test_runs_that_are_done_and_cannot_be_read_are_an_error(plans: dict[str, Plan], tmp_path: Path) -> None:
    plan, template = plans["one"], finished(tmp_path / "template")
    folder = RunFolder.of(tmp_path, plan.runs[0].spec)
    with folder.claim():
        folder.start(plan.runs[0].spec, {})
        folder.save_epochs(template.epochs())
        folder.finish({**(template.final or {}), "parameters": "many"}, {})
    options = {"dataset": plan.request.dataset, "noise": 0.2, "image_size": 32, "device": "cpu", "out": tmp_path}
    with pytest.raises(IncompleteSweep, match="parameters = 'many' is not a number"):
        fer_bench.run("ce", **options)
    words = ("--methods", "ce", *(f"--{name.replace('_', '-')}={value}" for name, value in options.items()))
    said = CliRunner().invoke(command, words)
    assert said.exit_code == 1 and "1 run cannot be read:" in said.output and "'many' is not a number" in said.output


def in_a_daemonic_process(call: Any, answers: Any) -> None:
    try:
        answers.put(call())
    except Exception as error:
        answers.put(f"{type(error).__name__}: {error}")


def run_nothing() -> str:
    launcher = api.choose_launcher()
    return str(devices_for(launcher, "cpu", 1, 1))


@pytest.mark.parametrize("daemon", [True, False])
def test_a_daemonic_process_is_told_that_it_cannot_train(daemon: bool) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=in_a_daemonic_process, args=(run_nothing, answers), daemon=daemon)
    process.start()
    answer = answers.get()
    process.join()
    assert answer.startswith("SpecError: Python lets this daemonic process start no workers") == daemon
    assert daemon or answer == "['cpu']"
