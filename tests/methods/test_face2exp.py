"""Properties of Face2Exp and of the unlabelled stream that it learns from: what the formulas and the contract imply."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import fer_bench_methods.face2exp as face2exp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import fer_bench
from fer_bench.core.errors import DataError, SpecError
from fer_bench.data.open import open_unlabelled
from fer_bench.engine.trainer import Trainer
from fer_bench.method import Batch, Images, Task
from fer_bench.ops import total_steps
from fer_bench.plugins.registry import discover
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import load_runs
from fer_bench.sweep import plan as sweep
from fer_bench.sweep import request
from fer_bench.testing.bench import Bench, relabelled
from fer_bench.testing.probes import records

C, B, N = 4, 8, 40
COUNTS = (20, 12, 6, 2)
LABELS = torch.arange(C).repeat_interleave(torch.tensor(COUNTS))


class Run:
    """The harness, reduced to what the method calls; ``frozen`` optimizers do not step."""

    def __init__(self, method: Any, lr: float = 0.1, step: int = 0, steps: int = 5, stage: str = "train") -> None:
        self.stage, self.stage_epoch, self.stage_epochs, self.step, self.steps = stage, 0, 2, step, steps
        self.optimizers = method.optimizers(stage, lambda parameters: torch.optim.SGD(parameters, lr=lr))
        self.frozen: set[str] = set()
        self.minimized: list[str] = []

    def minimize(self, loss: Tensor, name: str = "main") -> None:
        assert loss.ndim == 0 and bool(loss.isfinite())
        self.minimized.append(name)
        self.optimizers[name].zero_grad()
        loss.backward()
        if name not in self.frozen:
            self.optimizers[name].step()


def network(norm: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5) if norm else nn.Tanh(), nn.Linear(5, C)).double()


def build(norm: bool = True, **options: Any) -> Any:
    torch.manual_seed(1)
    method = face2exp.Face2Exp(face2exp.Face2Exp.Config(**options), Task(C, N, torch.tensor(COUNTS), 2, B))
    method.build(lambda role: network(norm))
    return method.train()


def batch_for(seed: int = 0, mu: int = 1, labels: Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images, weak, strong = (torch.randn(n, 6, generator=generator, dtype=torch.float64) for n in (B, mu * B, mu * B))
    hidden = Images(mu * B, {"flipped": weak, "strong": strong}.__getitem__, ("flipped", "strong"))
    y = torch.arange(B) % C if labels is None else labels
    return Batch(torch.arange(B), y, {"weak": images}.__getitem__, ("weak",), unlabelled=hidden)


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


# --- the feedback -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "official"), [(False, True), (False, False), (True, False)])
def test_no_step_gives_no_feedback(norm: bool, official: bool) -> None:
    method = build(norm, official_feedback=official)
    before = [dict(method.base.named_parameters()), dict(method.adaptation.named_parameters())]
    before = [{name: value.detach().clone() for name, value in part.items()} for part in before]
    logged = method.train_step(batch_for(), Run(method, lr=0.0))
    assert float(logged["helped"]) == pytest.approx(0, abs=1e-15)
    assert same(before[0], dict(method.base.named_parameters()))
    assert same(before[1], dict(method.adaptation.named_parameters()))


def test_the_official_feedback_leaks_through_batch_norm() -> None:
    method = build(official_feedback=True)
    assert abs(float(method.train_step(batch_for(), Run(method, lr=0.0))["helped"])) > 1e-3


def test_the_first_loss_of_the_feedback_leaves_no_trace() -> None:
    """Running statistics after a step are those of the official two passes, with or without the extra one."""
    ours, official = build(ema=0.0), build(ema=0.0, official_feedback=True)
    for method in (ours, official):
        method.train_step(batch_for(), Run(method))
    assert same(state(ours.adaptation), state(official.adaptation))
    assert int(ours.adaptation[1].num_batches_tracked) == 2
    assert all(norm.track_running_stats for norm in (ours.adaptation[1], ours.base[1]))


def test_running_statistics_come_back_after_an_error() -> None:
    net = network()
    with pytest.raises(RuntimeError, match="stop"), face2exp.running_statistics_kept(net):
        raise RuntimeError("stop")
    assert net[1].track_running_stats


def test_helpful_pseudo_labels_give_positive_feedback() -> None:
    """To first order h = lr <grad CE(labelled), grad L_u>: with the labelled faces as unlabelled ones and the right
    answers as pseudo-labels both gradients are one."""
    method = build(norm=False, label_smoothing=0.0)
    batch = batch_for()
    images = batch.view("weak")
    hidden = Images(B, {"flipped": images, "strong": images}.__getitem__, ("flipped", "strong"))
    with torch.no_grad():
        answers = method.base(images).argmax(dim=1)
    for labels, sign in ((answers, 1), ((answers + 1) % C, -1)):
        again = copy.deepcopy(method)
        with_labels = Batch(batch.index, labels, {"weak": images}.__getitem__, ("weak",), unlabelled=hidden)
        assert sign * float(again.train_step(with_labels, Run(again, lr=1e-3))["helped"]) > 0


@pytest.mark.parametrize("label", ["strong", "weak"])
def test_the_base_gradient_of_the_feedback_is_h_times_that_of_cross_entropy(label: str) -> None:
    """With lambda_u = 0 the step's gradient less that of the supervised loss is h grad CE."""
    method, batch = build(lambda_u=0.0, label_smoothing=0.0, feedback_label=label), batch_for()
    net, run = copy.deepcopy(method.base), Run(method)
    run.frozen = {"base"}
    helped = float(method.train_step(batch, run)["helped"])
    assert helped != 0
    weak, strong = batch.unlabelled.view("flipped"), batch.unlabelled.view("strong")  # type: ignore[union-attr]
    z_l, z_w, z_s = face2exp.parts(net, batch.view("weak"), weak, strong)
    target = (z_s if label == "strong" else z_w).argmax(dim=1)
    (F.cross_entropy(z_l, batch.label) + helped * F.cross_entropy(z_s, target)).backward()
    assert not torch.equal(z_s.argmax(dim=1), z_w.argmax(dim=1)), "the two options must differ here"
    for mine, other in zip(method.base.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


# --- who learns from what -----------------------------------------------------------------------------------------


def test_the_adaptation_network_never_sees_labels_but_through_the_feedback() -> None:
    """Its update is the same for any labels; the base network's is not."""
    one, other = build(), build()
    one.train_step(batch_for(), Run(one))
    other.train_step(batch_for(labels=torch.arange(B) * 3 % C), Run(other))
    assert same(state(one.adaptation), state(other.adaptation))
    assert not same(state(one.base), state(other.base))


def test_both_networks_step_once_and_the_adaptation_network_first() -> None:
    method = build(mu=3)
    run = Run(method)
    method.train_step(batch_for(mu=3), run)
    assert run.minimized == ["adaptation", "base"]


def test_temperature_softens_the_consistency_and_keeps_the_pseudo_labels() -> None:
    sharp, plain = build(temperature=1e-6, lambda_u=0.0), build(lambda_u=0.0)
    losses = [method.train_step(batch_for(), Run(method)) for method in (sharp, plain)]
    assert same(state(sharp.adaptation), state(plain.adaptation))
    z = batch_for().view("weak")[:, :C]
    torch.testing.assert_close(face2exp.consistency_loss(z, z, 1e-6), F.cross_entropy(z, z.argmax(dim=1)))
    assert float(losses[0]["consistency"]) != float(losses[1]["consistency"])


def test_the_consistency_teaches_the_strong_view_only() -> None:
    weak, strong = (torch.randn(5, C, requires_grad=True) for _ in range(2))
    face2exp.consistency_loss(weak, strong).backward()
    assert weak.grad is None
    torch.testing.assert_close(strong.grad, (F.softmax(strong, 1) - F.softmax(weak, 1)).detach() / 5)


def test_a_threshold_takes_unsure_images_out_of_the_consistency() -> None:
    weak = torch.tensor([[9.0, 0, 0, 0], [0.1, 0, 0, 0]])
    strong = torch.randn(2, C)
    sure = face2exp.consistency_loss(weak[:1], strong[:1])
    torch.testing.assert_close(face2exp.consistency_loss(weak, strong, threshold=0.95), sure / 2)
    method = build(threshold=1.0)
    assert float(method.train_step(batch_for(), Run(method))["consistency"]) == 0


def test_smoothing_is_torchs() -> None:
    z, y = torch.randn(6, C), torch.arange(6) % C
    for a in (0.0, 0.1, 1.0):
        torch.testing.assert_close(face2exp.smooth_cross_entropy(z, y, a), F.cross_entropy(z, y, label_smoothing=a))


# --- schedules ----------------------------------------------------------------------------------------------------


def test_the_consistency_weight_rises_to_lambda_u() -> None:
    weights = [face2exp.consistency_weight(step, 8.0, 10) for step in range(12)]
    assert weights[0] == pytest.approx(0.8) and weights[8] < 8 and weights[9:] == [8.0, 8.0, 8.0]
    assert face2exp.consistency_weight(0, 2.0, 0.0) == 2.0


@pytest.mark.parametrize(("ramp", "share"), [(1.0, 0.4), (0.5, 0.8), (0.0, 1.0)])
def test_the_ramp_is_a_share_of_the_training(ramp: float, share: float) -> None:
    """In the fourth of ten steps."""
    method = build(ramp=ramp)
    run = Run(method, step=3)
    logged = method.train_step(batch_for(), run)
    total = logged["supervised"] + share * 8 * logged["consistency"] + logged["feedback"]
    torch.testing.assert_close(logged["loss"], total)


def test_the_official_schedule_begins_at_1_and_ends_at_0() -> None:
    assert face2exp.learning_rate_factor(0, 10) == 1 and face2exp.learning_rate_factor(10, 10) == 0
    assert [face2exp.learning_rate_factor(s, 9, warmup=2, wait=2) for s in range(5)] == [0, 0, 0.5, 0.75, 1]


def test_the_official_optimizer() -> None:
    method = build(optimizer="official", official_lr=0.1, wait_steps=4, warmup_steps=1, ema=0.0)
    run = Run(method, step=3)
    for optimizer in run.optimizers.values():
        (group,) = optimizer.param_groups
        assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, True, 0)
    before = dict(method.adaptation.named_parameters())["0.weight"].detach().clone()
    method.train_step(batch_for(), run)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in run.optimizers.items()}
    assert rates["adaptation"] == 0 and torch.equal(before, method.adaptation[0].weight)
    assert rates["base"] == pytest.approx(0.1 * face2exp.learning_rate_factor(3, 10, warmup=1)) and rates["base"] > 0
    assert Run(build(optimizer="official", nesterov=False)).optimizers["base"].defaults["nesterov"] is False


# --- the averaged copy --------------------------------------------------------------------------------------------


def test_without_averaging_the_adaptation_network_answers() -> None:
    method, x = build(ema=0.0), torch.randn(3, 6, dtype=torch.float64)
    assert method.average is None and list(method.other_predictions(x)) == ["base network"]
    method.train_step(batch_for(), Run(method))
    method.eval()
    assert torch.equal(method.predict(x), method.adaptation(x))


def test_the_average_reaches_over_the_same_share_of_a_short_training() -> None:
    method = build()
    steps = total_steps(method.task)
    assert steps < 10_000 and method.ema**steps == pytest.approx(0.995**10_000)
    assert build(ema=0.995).ema == 0.995


def test_the_averaged_copy_answers() -> None:
    method, x = build(ema=0.9, ema_warmup=False), torch.randn(3, 6, dtype=torch.float64)
    first = state(method.adaptation)
    method.train_step(batch_for(), Run(method))
    second = state(method.adaptation)
    torch.testing.assert_close(method.average[0].weight, 0.9 * first["0.weight"] + 0.1 * second["0.weight"])
    method.eval()
    assert torch.equal(method.predict(x), method.average(x)) and not torch.equal(
        method.predict(x), method.adaptation(x)
    )
    assert torch.equal(method.other_predictions(x)["adaptation network, not averaged"], method.adaptation(x))
    assert not any(p.requires_grad for p in method.average.parameters())


def test_the_average_forgets_random_weights_sooner_at_first() -> None:
    momenta = [face2exp.averaging_momentum(step, 0.995) for step in (0, 90, 10_000)]
    assert momenta == [0.1, 0.91, 0.995]
    assert face2exp.averaging_momentum(0, 0.995, warmup=False) == 0.995


# --- the labelled set ---------------------------------------------------------------------------------------------


def rows_of(method: Any, epoch: int = 0) -> Tensor:
    rows = method.epoch_indices(LABELS, torch.Generator().manual_seed(epoch))
    assert rows.dtype == torch.int64 and len(rows) == N
    return rows


def test_the_labelled_set_is_balanced_and_one_for_all_epochs() -> None:
    method = build(min_per_class=1)
    chosen = [set(rows_of(method, epoch).tolist()) for epoch in (0, 1)]
    assert chosen[0] == chosen[1] and not torch.equal(rows_of(method, 0), rows_of(method, 1))
    assert torch.bincount(LABELS[list(chosen[0])]).tolist() == [2, 2, 2, 2]
    assert torch.bincount(LABELS[rows_of(method)]).tolist() == [10, 10, 10, 10]


def test_rare_classes_are_over_sampled() -> None:
    method = build(min_per_class=5)
    rows = rows_of(method)
    assert torch.bincount(LABELS[rows]).tolist() == [10, 10, 10, 10]
    assert torch.bincount(LABELS[rows.unique()]).tolist() == [5, 5, 5, 2]


def test_the_labelled_set_belongs_to_the_seed() -> None:
    one, other = build(min_per_class=1), build(min_per_class=1)
    assert torch.equal(one.turn, other.turn) and torch.equal(one.turn.sort().values, torch.arange(N))
    torch.manual_seed(2)
    other.build(lambda role: network())
    assert set(rows_of(one).tolist()) != set(rows_of(other).tolist())


def test_the_size_of_the_labelled_set() -> None:
    counts = torch.tensor([20, 12, 0, 8])
    assert face2exp.labelled_per_class(counts, None, 1) == 8
    assert face2exp.labelled_per_class(counts, None, 10) == 10
    assert face2exp.labelled_per_class(counts, 0.3, 100) == 3
    assert face2exp.labelled_per_class(counts, 1e-9, 100) == 1
    assert len(rows_of(build(labelled_share=0.2)).unique()) == 8
    assert build(labelled="all").epoch_indices(LABELS, torch.Generator()) is None


# --- fine-tuning and settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_fine_tuning_trains_the_answering_network_on_labels_alone(ema: float) -> None:
    method = build(finetune=0.5, finetune_lr=0.1, ema=ema, ema_warmup=False)
    assert [(stage.name, stage.extra) for stage in method.stages()] == [("train", False), ("finetune", True)]
    method.train_step(batch_for(), Run(method))
    answering = state(method.adaptation if method.average is None else method.average)
    run = Run(method, stage="finetune")
    method.on_stage_start("finetune", run)
    assert same(answering, state(method.adaptation))
    base = state(method.base)
    run.optimizers["adaptation"].param_groups[0]["lr"] = 0.0
    method.on_epoch_start(run)
    logged = method.train_step(batch_without_stream(), run)
    assert run.minimized == ["adaptation"] and float(logged["loss"]) > 0 and same(base, state(method.base))
    assert not torch.equal(answering["0.weight"], method.adaptation[0].weight)
    x = torch.randn(3, 6, dtype=torch.float64)
    method.eval()
    assert torch.equal(method.predict(x), method.adaptation(x))
    assert build().stages()[0].share == 1


def batch_without_stream() -> Batch:
    batch = batch_for()
    batch.unlabelled = None
    return batch


def test_the_readme_settings() -> None:
    method = build(paper_cli=True)
    c = method.config
    assert (c.mu, c.lambda_u, c.ramp, c.label_smoothing, c.ema, c.nesterov) == (7, 1, 0, 0, 0, False)
    needs = face2exp.Face2Exp.needs(face2exp.Face2Exp.Config(paper_cli=True))
    assert needs.unlabelled == 7 and needs.forwards == 25
    assert face2exp.Face2Exp.remarks(face2exp.Face2Exp.Config(paper_cli=True))
    assert not face2exp.Face2Exp.remarks(face2exp.Face2Exp.Config())
    with pytest.raises(ValueError, match="paper_cli sets mu: leave out mu = 3"):
        face2exp.Face2Exp.Config(paper_cli=True, mu=3)


@pytest.mark.parametrize(
    "wrong",
    [{"mu": 0}, {"ema": 1.5}, {"temperature": 0}, {"labelled_share": 0.0}, {"labelled_share": 2.0}, {"lambda_u": -1}],
)
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        face2exp.Face2Exp.Config(**wrong)


def test_presets() -> None:
    plugin = discover()["face2exp"]
    assert plugin.configure("rafdb", "clean", {}).labelled == "all"
    assert plugin.configure("affectnet7", "clean", {}).labelled_share == 0.1
    defaults = dataclasses.asdict(face2exp.Face2Exp.Config())
    assert dataclasses.asdict(plugin.configure("ferplus", "clean", {})) == defaults


def test_a_batch_without_unlabelled_images_is_an_error() -> None:
    method = build()
    with pytest.raises(ValueError, match="needs the unlabelled images"):
        method.train_step(batch_without_stream(), Run(method))


# --- through the engine -------------------------------------------------------------------------------------------


def test_labels_of_the_unlabelled_images_change_nothing(bench: Bench) -> None:
    """Rows outside the labelled set are seen as unlabelled images only: with all their labels exchanged among each
    other, and the labelled set as it was, every number but those measured against labels stays."""
    plugin = discover()["face2exp"]
    spec = bench.spec(plugin, batch_size=32)
    spec = dataclasses.replace(spec, config={**spec.config, "min_per_class": 1, "labelled_share": 0.125})
    _, seen = bench.train(plugin, spec, "labels")
    labelled = torch.cat([batch.index for batch in seen.batches]).unique().numpy()
    assert 0 < len(labelled) <= 8

    def exchanged(given: np.ndarray) -> np.ndarray:
        other = given.copy()
        turn = seen.method.turn.numpy()
        # within a class the labelled rows come first; later ones may trade places between classes
        late = np.setdiff1d(np.arange(len(given)), labelled)
        late = late[turn[late] > turn[labelled].max()]
        other[late] = np.roll(other[late], 1)
        assert (other != given).any()
        return other

    _, again = bench.train(plugin, spec, "exchanged", change_splits=relabelled(exchanged))
    assert all(torch.equal(a.index, b.index) for a, b in zip(seen.batches, again.batches, strict=True))
    assert same(state(seen.method), state(again.method))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 30 images without labels, in sub-folders."""
    root, rng = tmp_path_factory.mktemp("pool") / "crowd", np.random.default_rng(3)
    for number in range(30):
        path = root / f"part{number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)).save(path)
    return root


def test_an_unlabelled_folder_is_read_without_labels(pool: Path) -> None:
    faces = open_unlabelled(pool)
    assert faces.name == "crowd" and faces.ids.tolist() == sorted(faces.ids.tolist()) and len(faces.ids) == 30
    assert faces.ids[0] == "part0/00.png" and set(faces.label.tolist()) == {0}
    first = np.asarray(Image.open(pool / "part0" / "00.png")).transpose(2, 0, 1)
    assert np.array_equal(faces.pixels(32)[0], first)


@pytest.mark.slow
@pytest.mark.usefixtures("no_outputs")
def test_the_run_learns_from_the_unlabelled_folder(pool: Path, faces_folder: Path, tmp_path: Path) -> None:
    """Its images are the stream, the key and the table know of them, and without it the numbers differ."""
    settings: dict[str, Any] = {
        "methods": ["face2exp"], "dataset": str(faces_folder), "epochs": 1, "image_size": 32, "jobs": 1,
    }  # fmt: skip
    fer_bench.run(**settings, unlabelled=pool, out=tmp_path / "out")
    fer_bench.run(**settings, out=tmp_path / "out")
    runs = load_runs(tmp_path / "out")
    assert len(runs) == 2
    finals = [path.read_text() for path in sorted((tmp_path / "out").glob("runs/*/face2exp/*/final.json"))]
    assert sum("30 unlabelled images of crowd" in text for text in finals) == 1


def test_the_stream_shows_every_image_before_any_comes_again(bench: Bench, pool: Path) -> None:
    plugin = discover()["face2exp"]
    spec, faces = bench.spec(plugin, batch_size=16, settings={"mu": 2}), open_unlabelled(pool)
    trainer = Trainer(bench.job(plugin, spec, RunFolder(bench.folder / "never"), unlabelled=faces))

    def stream(epoch: int) -> Tensor:
        return torch.cat([rows.unlabelled for rows in trainer.source.epoch(epoch, lambda labels, generator: None)])

    shown = [stream(epoch) for epoch in (0, 1)]
    for rows in shown:
        assert [len(part.unique()) for part in rows.split(30)] == [30, 30, 30, 30, 8]
    assert not torch.equal(*shown) and torch.equal(shown[0], stream(0))


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_a_folder_without_images_is_named(kind: str, tmp_path: Path, faces_folder: Path) -> None:
    folder = tmp_path / kind
    if kind == "empty":
        folder.mkdir()
        (folder / "notes.txt").write_text("x")
    elif kind == "file":
        folder.write_text("x")
    with pytest.raises(
        DataError, match=f"--unlabelled .*{kind}: no {'image in it' if kind == 'empty' else 'such folder'}"
    ):
        sweep.make_plan(request.Request(["face2exp"], dataset=str(faces_folder), unlabelled=folder))


def test_a_folder_that_no_method_learns_from_is_an_error(pool: Path, faces_folder: Path) -> None:
    with pytest.raises(SpecError, match="none of ce learns from unlabelled images"):
        sweep.make_plan(request.Request(["ce"], dataset=str(faces_folder), unlabelled=pool))


def test_fine_tuning_comes_on_top_of_the_epochs(bench: Bench) -> None:
    plugin = discover()["face2exp"]
    spec = bench.spec(plugin, batch_size=32)
    spec = dataclasses.replace(spec, config={**spec.config, "finetune": 0.5})
    folder, _ = bench.train(plugin, spec, "finetuned")
    assert [(record["stage"], sorted(record["lr"])) for record in records(folder)] == [
        ("train", ["adaptation", "base"]), ("train", ["adaptation", "base"]), ("finetune", ["adaptation"]),
    ]  # fmt: skip
