"""Every method that is found passes every check of the suite; and plugins that break one promise fail its check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fer_bench.plugins.registry import Plugin, discover
from fer_bench.testing.bench import Bench
from fer_bench.testing.checks import CHECKS
from fer_bench.testing.run import check_plugin
from tests.helpers.plugins import LOSS

PLUGINS = discover()


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("key", [pytest.param(key, marks=pytest.mark.xdist_group(key)) for key in PLUGINS])
def test_method(key: str, name: str, bench: Bench) -> None:
    CHECKS[name](PLUGINS[key], bench)


def test_there_are_methods_to_check() -> None:
    assert {"ce", "nla", "scn", "eac", "jocor", "coteaching", "cb", "balanced_softmax"} <= PLUGINS.keys()


def test_every_check_says_what_it_proves() -> None:
    assert len(CHECKS) >= 17
    assert all(len(check.proves) > 20 for check in CHECKS.values())


BROKEN = {
    "config": LOSS + "\n@dataclass(frozen=True)\nclass Config:\n    margin: float = 0.5",
    "build_is_reproducible": LOSS
    + """
def build(self, make_net):
    super().build(make_net)
    self.register_buffer("mask", torch.from_numpy(np.random.default_rng().random(4)))
""",
    "needs_are_honoured": """
def loss(self, batch, run):
    return F.cross_entropy(self.net(batch.view("mirror")), batch.label)
""",
    "true_labels_are_out_of_reach": """
def train_step(self, batch, run):
    frame = __import__("sys")._getframe()
    while "self" not in frame.f_locals or not hasattr(frame.f_locals["self"], "splits"):
        frame = frame.f_back
    batch.stolen = frame.f_locals["self"].splits.clean_label[batch.index.numpy()]
    loss = F.cross_entropy(self.net(batch.view()), batch.label)
    run.minimize(loss)
    return {"loss": loss.detach()}
""",
    "trains": """
def build(self, make_net):
    self.net, self.other = make_net("a"), make_net("b")
@classmethod
def needs(cls, config):
    return Needs(networks=2)
"""
    + LOSS,
    "learns": """
def loss(self, batch, run):
    return -0.01 * F.cross_entropy(self.net(batch.view()), batch.label).clamp(max=3)
""",
    "predicts": LOSS
    + """
def predict(self, images):
    logits = self.net(images)
    return logits - logits.mean(0)
""",
    "state_round_trip": LOSS
    + """
def on_epoch_end(self, run):
    self.shift = getattr(self, "shift", 0.0) + 1.0
def predict(self, images):
    return self.net(images) + getattr(self, "shift", 0.0)
""",
    "resumes_exactly": """
def loss(self, batch, run):
    self.seen = getattr(self, "seen", 0) + len(batch)
    return F.cross_entropy(self.net(batch.view()), batch.label) * (1 + 0.01 * self.seen)
""",
    "last_batch_of_one": """
def epoch_indices(self, labels, generator):
    return torch.zeros(1, dtype=torch.int64)
"""
    + LOSS,
    "absent_class": """
def loss(self, batch, run):
    assert (self.task.class_counts > 0).all(), "a class is absent"
    return F.cross_entropy(self.net(batch.view()), batch.label)
""",
    "equal_labels": """
def loss(self, batch, run):
    positive = self.net(batch.view())[batch.label != batch.label[0]]
    return F.cross_entropy(positive, batch.label[batch.label != batch.label[0]])
""",
    "labels_are_untouched": LOSS
    + """
def epoch_indices(self, labels, generator):
    labels[:5] = (labels[:5] + 1) % self.task.num_classes
""",
    "writes_in_its_folder_only": LOSS
    + """
def on_fit_end(self, run):
    with open(os.path.join(os.path.dirname(__file__), "dump.txt"), "w") as handle:
        handle.write("x")
""",
    "leaves_the_process_as_it_was": LOSS
    + """
def on_fit_end(self, run):
    os.environ["TOY"] = str(random.random())
""",
    "cost_is_counted": """
def loss(self, batch, run):
    self.net(batch.view())
    return F.cross_entropy(self.net(batch.view()), batch.label)
""",
    "clean_score": LOSS
    + """
def clean_score(self):
    return torch.full((self.task.num_samples - 1,), 0.5)
""",
}


MESSAGES = {
    "config": r"without a meaning: \['margin'\]",
    "build_is_reproducible": r"differ in \['mask'\]",
    "needs_are_honoured": "view 'mirror' was not declared",
    "true_labels_are_out_of_reach": "batch.stolen holds the clean labels",
    "trains": r"never moved: \['other\.",
    "learns": "accuracy 0.* after 12 epochs",
    "predicts": "alone and in a batch differ",
    "state_round_trip": r"not in its state; lost: self\.shift \(make it a buffer: register_buffer or sample_buffer\)",
    "resumes_exactly": r"epoch 2 differs in .*; lost: self\.seen \(make it a buffer",
    "last_batch_of_one": "a batch of one image",
    "absent_class": "a class is absent",
    "equal_labels": "NaN or infinite",
    "labels_are_untouched": "wrote into the training labels",
    "writes_in_its_folder_only": "dump.txt",
    "leaves_the_process_as_it_was": "environment",
    "cost_is_counted": "2.00 images forwarded",
    "clean_score": r"clean_score \(63,\)",
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_plugin_that_breaks_the_promise_fails_its_check(
    name: str, toy: Callable[..., Plugin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY", "")
    with pytest.raises(AssertionError, match=MESSAGES[name]):
        CHECKS[name](toy("broken", BROKEN[name]), Bench(tmp_path / "bench"))


@pytest.mark.slow
def test_a_sound_plugin_of_an_outsider_passes(toy: Callable[..., Plugin]) -> None:
    results = check_plugin(toy("sound", LOSS))
    assert [name for name, _, error in results if error] == []
    assert [name for name, _, _ in results] == ["loads", *CHECKS]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (LOSS + "def predict(self, images):\n    return self.net(images)[:, :2]", r"predict\(\) returned \(\d+, 2\)"),
        (
            LOSS + "def epoch_indices(self, labels, generator):\n    return torch.ones(3)",
            r"epoch_indices\(\) must be int64",
        ),
        ("def loss(self, batch, run):\n    return self.net(batch.view()).sum(1)", "scalar loss"),
        ("def loss(self, batch, run):\n    return self.net(batch.view()).sum() * float('nan')", "NaN or infinite"),
        (
            "def train_step(self, batch, run):\n    run.minimize(self.net(batch.view()).sum(), 'second')",
            "no optimizer 'second'",
        ),
        (LOSS + "def stages(self):\n    return [Stage('a', 0.5), Stage('b', 0.4)]", "do not sum to 1"),
        ("pass", r"must define loss\(\) or train_step\(\)"),
    ],
)
def test_a_broken_contract_is_named(body: str, message: str, toy: Callable[..., Plugin], bench: Bench) -> None:
    with pytest.raises(AssertionError, match=message):
        CHECKS["trains"](toy("broken", body), bench)
