"""What only some methods ask of the harness, each through the engine with a plugin made for it: trusted labels, passes
over the training set, extra stages, the unlabelled stream, and what tables must say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fer_bench.data.cache import PixelFile
from fer_bench.data.dataset import Dataset
from fer_bench.engine.batches import PASS_BATCH
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.store.folder import RunFolder
from fer_bench.testing.bench import SIZE, Bench, Seen
from fer_bench.testing.checks import CHECKS
from fer_bench.testing.probes import records
from tests.helpers.plugins import LOSS, plugin_source
from tests.helpers.training import train_with

Toy = Callable[..., Plugin]


def train(bench: Bench, plugin: Plugin, name: str, epochs: int = 2, **settings: Any) -> tuple[RunFolder, Seen]:
    return bench.train(plugin, bench.spec(plugin, epochs=epochs, **settings), name)


def final_of(folder: RunFolder) -> dict[str, Any]:
    assert folder.final is not None
    return folder.final


# --- trusted labels -----------------------------------------------------------------------------------------------

TRUSTED = (
    """
@classmethod
def needs(cls, config):
    return Needs(trusted=0.25)
"""
    + LOSS
)


def test_trusted_labels_are_true_counted_and_no_more_than_declared(toy: Toy, bench: Bench) -> None:
    folder, seen = train(bench, toy("trusting", TRUSTED), "trusted", noise=0.4)
    task, splits = seen.method.task, seen.splits
    assert task.trusted is not None and task.trusted_label is not None
    rows = task.trusted.numpy()
    assert len(rows) == len(set(rows.tolist())) == 16 and task.trusted.dtype == task.trusted_label.dtype == torch.int64
    assert np.array_equal(task.trusted_label.numpy(), splits.clean_label[rows])
    wrong = (splits.noisy_label != splits.clean_label)[rows]
    assert wrong.any() and not wrong.all(), "trusted rows are drawn by observed class, wrong labels and right ones"
    assert set(splits.noisy_label[rows]) == set(splits.noisy_label), "every observed class has a trusted image"
    assert final_of(folder)["clean_labels_used"] == 16
    again = train(bench, toy("trusting", TRUSTED), "trusted again", noise=0.4)[1].method.task.trusted
    assert again is not None and torch.equal(again, task.trusted)


def test_without_declaration_no_label_is_trusted(toy: Toy, bench: Bench) -> None:
    folder, seen = train(bench, toy("plain", LOSS), "plain")
    assert seen.method.task.trusted is None and seen.method.task.trusted_label is None
    assert final_of(folder)["clean_labels_used"] == 0 and final_of(folder)["remarks"] == []


# --- what tables must say -----------------------------------------------------------------------------------------


def test_remarks_follow_the_settings_and_an_ensemble_is_named(tmp_path: Path, bench: Bench) -> None:
    body = """
@dataclass(frozen=True)
class Config:
    worse: bool = hparam(False, "inputs made worse", "none")

@classmethod
def remarks(cls, config):
    return ("inputs made worse",) if config.worse else ()
"""
    source = plugin_source(body + LOSS).replace('kind="baseline")', 'kind="baseline", ensemble="mean of two networks")')
    (tmp_path / "says.py").write_text(source)
    plugin = discover([tmp_path])["says"]
    final = final_of(train(bench, plugin, "says")[0])
    assert final["remarks"] == [] and final["ensemble"] == "mean of two networks" and final["extra_images"] == ""
    assert final["peak_memory_bytes"] is None or final["peak_memory_bytes"] > 1 << 20
    spec = dataclasses.replace(bench.spec(plugin), config={"worse": True})
    folder, _ = bench.train(plugin, spec, "says")
    assert final_of(folder)["remarks"] == ["inputs made worse"]


def test_every_variant_of_lanet_is_marked() -> None:
    plugin = discover()["lanet"]
    method = plugin.load()
    said = {
        source: method.remarks(plugin.configure("rafdb", "clean", {"landmark_source": source}))
        for source in ("given", "detector-like", "none")
    }
    assert said["none"] == ("LA-Net without landmarks",)
    assert said["detector-like"] == ("landmarks degraded to detector-like ones",)
    assert "exact for drawn faces" in said["given"][0]
    drawn = plugin.configure("synthetic", "clean", {})
    assert method.remarks(drawn) == said["detector-like"], "the default for drawn faces"


def test_one_network_is_no_ensemble() -> None:
    for key, plugin in discover().items():
        method = plugin.load()
        if method.needs(method.Config()).networks < 2:
            assert not method.info.ensemble, f"{key} has one network"


# --- passes over the training set ---------------------------------------------------------------------------------

WALKER = (
    """
def __init__(self, config, task):
    super().__init__(config, task)
    self.sample_buffer("sums", 0.0, (4,))
    self.seen = []

def walk(self, run, place):
    batches = list(run.training_set())
    self.seen.append((run.epoch, run.step, torch.cat([b.index for b in batches]), batches))
    with torch.no_grad():
        for batch in batches:
            self.net(batch.view())
            self.sums[batch.index, place] += batch.view().sum(dim=(1, 2, 3)) + torch.rand(
                1, generator=run.generator("mine"))

def stages(self):
    return (Stage("one", 0.5), Stage("two", 0.5))

def on_stage_start(self, stage, run):
    self.walk(run, 0)

def on_epoch_start(self, run):
    self.walk(run, 1)

def on_epoch_end(self, run):
    self.walk(run, 2)
    self.walk(run, 3)

def clean_score(self):
    return self.sums.sum(1)
"""
    + LOSS
)


def test_a_pass_shows_every_image_once_in_order_and_is_counted(toy: Toy, bench: Bench) -> None:
    plugin = toy("walker", WALKER)
    folder, seen = train(bench, plugin, "walks", noise=0.3)
    count = seen.method.task.num_samples
    walks: list[Any] = seen.method.seen  # type: ignore[assignment]
    assert len(walks) == 2 + 3 * 2 and count > 1
    for _, _, index, batches in walks:
        assert index.tolist() == list(range(count)), "in order, once"
        assert all(len(batch) <= PASS_BATCH for batch in batches)
        assert (
            seen.noisy_label is not None and torch.cat([b.label for b in batches]).tolist() == seen.noisy_label.tolist()
        )
        with pytest.raises(KeyError, match="not declared"):
            batches[0].view("second")
    assert [w[0] for w in walks] == [0, 0, 0, 0, 1, 1, 1, 1], "a stage starts in its first epoch"
    pictures = [torch.cat([b.view() for b in batches]) for *_, batches in walks]
    alike = [(i, j) for i in range(len(walks)) for j in range(i) if torch.equal(pictures[i], pictures[j])]
    assert not alike, "every pass draws an augmentation of its own"
    assert final_of(folder)["images_forward"] == (len(walks) + 2) * count, "two epochs and what the passes cost"
    assert final_of(folder)["images_backward"] == 2 * count


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resumes_exactly", "build_is_reproducible"])
def test_passes_and_draws_at_the_start_of_a_stage_resume_exactly(name: str, toy: Toy, bench: Bench) -> None:
    CHECKS[name](toy("walker", WALKER), bench)


# --- extra stages -------------------------------------------------------------------------------------------------

EXTRA = (
    """
def stages(self):
    return (Stage("train"), Stage("after", 0.5, extra=True))

def __init__(self, config, task):
    super().__init__(config, task)
    self.told, self.ends = [], []

def on_stage_start(self, stage, run):
    self.told.append((stage, run.epoch, run.epochs, run.stage_epochs))

def on_fit_end(self, run):
    self.ends.append(run.epoch)
"""
    + LOSS
)


def test_an_extra_stage_comes_on_top(toy: Toy, bench: Bench) -> None:
    plugin = toy("extra", EXTRA)
    folder, seen = train(bench, plugin, "extra", epochs=4)
    plain, _ = train(bench, toy("plain", LOSS), "extra", epochs=4)
    assert [record["stage"] for record in folder.epochs()] == ["train"] * 4 + ["after"] * 2
    assert seen.method.task.epochs == 4, "a method is told the recipe's epochs"
    assert seen.method.told == [("train", 0, 6, 4), ("after", 4, 6, 2)] and seen.method.ends == [5]
    assert [record["lr"]["main"] for record in folder.epochs()] == pytest.approx(
        [2e-3 * factor for factor in (1, 0.8535534, 0.5, 0.1464466, 1, 0.5)]
    ), "the schedule of the recipe ends before it, and begins again"
    for mine, other in zip(records(folder)[:4], records(plain), strict=True):
        assert {**mine, "stage": ""} == {**other, "stage": ""}, "the stage before it is trained as without it"


@pytest.mark.slow
def test_an_extra_stage_resumes_exactly(toy: Toy, bench: Bench) -> None:
    CHECKS["resumes_exactly"](toy("extra", EXTRA.replace("0.5, extra", "0.2, extra")), bench)


# --- the unlabelled stream ----------------------------------------------------------------------------------------

STREAM = """
@classmethod
def needs(cls, config):
    return Needs(unlabelled=1.5, views=("weak", "plain"), forwards=2.5)

def __init__(self, config, task):
    super().__init__(config, task)
    self.register_buffer("trace", torch.zeros((), dtype=torch.float64))

def train_step(self, batch, run):
    self.trace += batch.unlabelled.view("weak").double().sum()
    loss = F.cross_entropy(self.net(batch.view()), batch.label)
    run.minimize(loss + 1e-3 * self.net(batch.unlabelled.view()).square().mean())
    return {"loss": loss.detach(), "trace": float(self.trace)}
"""


def shown(bench: Bench, seen: Seen) -> list[int]:
    """Which images of the training set the stream gave, in order."""
    pool = torch.from_numpy(bench.dataset.pixels(SIZE)[seen.splits.train]).float().flatten(1)
    given = []
    for batch in seen.batches:
        assert batch.unlabelled is not None
        picture = batch.unlabelled.view("plain").flatten(2)
        pixels = pool.view(len(pool), 3, -1)
        # the normalisation is one affine map of each channel: standardise both sides
        a, b = ((x - x.mean(2, keepdim=True)).flatten(1) for x in (picture, pixels))
        near = torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T
        assert bool((near.amax(1) > 0.999).all())
        given += near.argmax(1).tolist()
    return given


def test_the_stream_gives_as_many_images_as_declared_without_labels(toy: Toy, bench: Bench) -> None:
    folder, seen = train(bench, toy("stream", STREAM), "stream")
    for batch in seen.batches:
        hidden = batch.unlabelled
        assert hidden is not None and len(hidden) == len(hidden.view()) == round(1.5 * len(batch))
        assert not hasattr(hidden, "label") and not hasattr(hidden, "index")
        with pytest.raises(KeyError, match="not declared"):
            hidden.view("second")
    count, rows = seen.method.task.num_samples, shown(bench, seen)
    first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    assert len(first) == len(second) == 96 and count == 64
    for epoch in (first, second):
        assert sorted(epoch[:count]) == list(range(count)), "every image once before any comes again"
        assert len(set(epoch[count:])) == 32 and epoch[count:] != epoch[:32]
    assert first != second
    assert first[:16] != seen.batches[0].index.tolist(), "the stream does not follow the order of the labelled images"
    assert final_of(folder)["remarks"] == ["unlabelled images: the training images, labels hidden"]


def test_the_stream_does_not_disturb_the_labelled_batches(toy: Toy, bench: Bench) -> None:
    with_stream = train(bench, toy("stream", STREAM), "apart")[1]
    without = train(bench, toy("plain", LOSS), "apart")[1]
    for mine, other in zip(with_stream.batches, without.batches, strict=True):
        assert torch.equal(mine.index, other.index) and torch.equal(mine.view(), other.view())
        assert other.unlabelled is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resumes_exactly", "cost_is_counted", "true_labels_are_out_of_reach"])
def test_the_stream_keeps_the_promises(name: str, toy: Toy, bench: Bench) -> None:
    CHECKS[name](toy("stream", STREAM), bench)


def test_a_pool_of_its_own_is_named(toy: Toy, bench: Bench, tmp_path: Path) -> None:
    pixels = np.full((5, SIZE, SIZE, 3), 200, dtype=np.uint8)
    np.save(PixelFile(tmp_path, 5, SIZE).path, pixels)
    names = np.array(list("abcde"))
    pool = Dataset(
        *("strangers", ("face",), names, np.full(5, "train"), np.zeros(5, dtype=np.int64)),
        fingerprint="1" * 64,
        folder=tmp_path,
    )
    folder = train_with(bench, toy("stream", STREAM), "pool", epochs=1, unlabelled=pool)
    assert final_of(folder)["extra_images"] == "5 unlabelled images of strangers"
    assert final_of(folder)["remarks"] == []
    own = train_with(bench, toy("stream", STREAM), "own", epochs=1)
    assert folder.epochs()[0]["train"]["trace"] != own.epochs()[0]["train"]["trace"]
