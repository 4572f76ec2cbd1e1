"""Properties of DivideMix."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import fer_bench_methods.dividemix as dividemix
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Batch, Task
from fer_bench.ops import Mix
from fer_bench.plugins.registry import discover
from fer_bench.testing.bench import Bench

C, B, N = 5, 8, 80
LABELS = torch.tensor([0, 3, 3, 1, 4, 2, 0, 1])


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits(seed: int, count: int = B) -> Tensor:
    return torch.randn(count, C, generator=stream(seed), dtype=torch.float64) * 2


def p(seed: int, count: int = B) -> Tensor:
    return F.softmax(logits(seed, count), dim=1)


def losses(seed: int = 0, noisy: int = 30) -> Tensor:
    """Small for the first N - noisy rows, large for the others."""
    return torch.rand(N, generator=stream(seed)) * 0.3 + torch.tensor([0.1] * (N - noisy) + [3.0] * noisy)


class Net(nn.Module):
    """A linear network with a batch norm; it keeps the images it was trained on."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.norm, self.fc, self.trained = nn.BatchNorm2d(3), nn.Linear(3, C), []

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.trained.append(x)
        return self.fc(self.norm(x).mean(dim=(2, 3)))


class Run:
    """The harness, reduced to what a step asks for."""

    epoch, epochs, step, steps, device = 5, 20, 0, 10, torch.device("cpu")

    def __init__(self, method: dividemix.Dividemix) -> None:
        self.optimizers = method.optimizers("train", lambda params: torch.optim.SGD(params, lr=0.1))
        self.minimized: list[str] = []
        self.selected: list[Tensor] = []

    def generator(self, name: str) -> torch.Generator:
        return stream(sum(map(ord, name)) + self.step)

    def record_selection(self, index: Tensor, kept: Tensor) -> None:
        self.selected.append(kept)

    def minimize(self, loss: Tensor, name: str) -> None:
        self.minimized.append(name)
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()


def built(pretrained: bool = False, epochs: int = 20, **options: Any) -> dividemix.Dividemix:
    torch.manual_seed(0)
    task = Task(C, N, torch.tensor([40, 20, 10, 6, 4]), epochs, B, pretrained=pretrained)
    method = dividemix.Dividemix(dividemix.Dividemix.Config(**options), task)
    method.build(Net)
    return method.train()


def batch() -> Batch:
    views = {name: torch.randn(B, 3, 4, 4, generator=stream(k)) for k, name in enumerate(("weak", "second"))}
    return Batch(torch.arange(B), LABELS, views.__getitem__, ("weak", "second", "plain"))


def state(net: nn.Module) -> list[Tensor]:
    return [value.clone() for value in net.state_dict().values()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# --- division


def test_the_division_finds_small_losses() -> None:
    w = dividemix.clean_probability(dividemix.normalised(losses()), 0)
    assert w is not None and bool(((w >= 0) & (w <= 1)).all())
    assert (w > 0.5).tolist() == [True] * 50 + [False] * 30


@pytest.mark.parametrize("values", [[1.0] * 6, [0.0, math.nan, 1.0], [0.5]])
def test_what_cannot_be_divided(values: list[float]) -> None:
    assert dividemix.clean_probability(torch.tensor(values), 0) is None


def test_a_division_that_leaves_nobody_is_not_taken() -> None:
    method, labels = built(), torch.arange(N) % C
    assert method.clean_score() is None
    method.divide("a", torch.ones(N), labels, 0)
    assert bool((method.clean_a == 1).all()) and method.clean_score() is None
    method.divide("a", losses(), labels, 0)
    before = method.clean_a.clone()
    assert 0 < int((before > 0.5).sum()) < N and method.clean_score() is not None
    few = losses(noisy=N - 3)  # 3 labelled faces, fewer than two for each class
    method.divide("a", few, labels, 0)
    assert torch.equal(method.clean_a, before)
    assert bool((method.clean_b == 1).all())


def test_losses_of_several_divisions_are_averaged() -> None:
    method, labels = built(average=2), torch.arange(N) % C
    first, second = losses(0), losses(1).flip(0)
    method.divide("a", first, labels, 0)
    method.divide("a", second, labels, 0)
    mean = (dividemix.normalised(first) + dividemix.normalised(second)) / 2
    torch.testing.assert_close(method.history_a.mean(dim=1), mean)
    torch.testing.assert_close(method.clean_a, dividemix.clean_probability(mean, 0).float())


def test_a_mixture_for_each_class() -> None:
    method = built(mixture="per-class")
    labels = torch.tensor([0] * 40 + [1] * 35 + [2] * 5)
    of_class = torch.where(torch.arange(N) % 2 == 0, 0.1, 1.0) + torch.rand(N, generator=stream(0)) * 0.05
    rare = of_class + 5 * (labels == 1)  # all losses of class 1 are larger than any of class 0
    found = method.probabilities(rare, labels, 0)
    assert found is not None
    assert (found[:75] > 0.5).tolist() == [k % 2 == 0 for k in range(75)] and bool((found[75:] == 1).all())
    together = dividemix.clean_probability(rare, 0)
    assert together is not None and not bool((together[40:75] > 0.5).any())


# --- targets and losses


def test_targets() -> None:
    one_hot = F.one_hot(LABELS, C).double()
    torch.testing.assert_close(dividemix.refined(LABELS, torch.ones(B), p(0), 0.3), one_hot)
    torch.testing.assert_close(dividemix.refined(LABELS, torch.zeros(B), p(0), 1.0), p(0))
    w = torch.linspace(0, 1, B, dtype=torch.float64)
    target = dividemix.refined(LABELS, w, p(0), 0.5)
    mixture = w[:, None] * one_hot + (1 - w[:, None]) * p(0)
    torch.testing.assert_close(target, mixture**2 / (mixture**2).sum(dim=1, keepdim=True))
    torch.testing.assert_close(dividemix.guessed(p(0), p(1), 1.0), (p(0) + p(1)) / 2)
    for found in (target, dividemix.guessed(p(0), p(1), 0.5)):
        torch.testing.assert_close(found.sum(dim=1), torch.ones(B, dtype=torch.float64))


def test_mixmatch_losses() -> None:
    z, t = logits(0), p(1)
    l_x, l_u = dividemix.mixmatch_losses(z, t, 6)
    torch.testing.assert_close(l_x, -(t[:6] * F.log_softmax(z[:6], dim=1)).sum(dim=1).mean())
    torch.testing.assert_close(l_u, ((F.softmax(z[6:], dim=1) - t[6:]) ** 2).mean())
    assert float(dividemix.mixmatch_losses(z, t, B)[1]) == 0


def test_penalties() -> None:
    uniform = torch.full((C,), 1 / C, dtype=torch.float64)
    assert float(dividemix.prior_penalty(torch.zeros(4, C, dtype=torch.float64), uniform)) == pytest.approx(
        0, abs=1e-12
    )
    assert float(dividemix.prior_penalty(logits(0), uniform)) > 0
    shares = torch.tensor([0.6, 0.2, 0.1, 0.1, 0.0], dtype=torch.float64)
    near = torch.log(shares.clamp(min=1e-12)).repeat(4, 1)
    assert float(dividemix.prior_penalty(near, shares)) == pytest.approx(0, abs=1e-9)
    far = torch.tensor([[2000.0, 0, 0, 0, 0]])
    assert bool(dividemix.confidence_penalty(far).isfinite()) and bool(
        dividemix.prior_penalty(far, shares.float()).isfinite()
    )
    torch.testing.assert_close(dividemix.confidence_penalty(logits(0)), (p(0) * p(0).log()).sum(dim=1).mean())


def test_ramp_and_phases() -> None:
    assert [dividemix.ramp(e, 10, 16) for e in (10, 18, 26, 40)] == [0, 0.5, 1, 1]
    assert built().warmup_epochs == 3 and built(pretrained=True).warmup_epochs == 1
    assert built(warmup=0.5, pretrained=True).warmup_epochs == 10 and built(epochs=2).warmup_epochs == 1
    assert built(epochs=300).ramp_epochs == 15 and built().ramp_epochs == 1


# --- a step


def test_each_network_trains_on_the_division_of_the_other() -> None:
    method = built(alpha=0.0)
    method.clean_a[: B // 2], method.clean_b[B // 2 : B] = 0.0, 0.0
    run, data = Run(method), batch()
    method.train_step(data, run)
    assert run.minimized == ["a", "b"]
    # without mixup the first rows of a network's batch are its labelled faces, in both views
    first, second = data.view("weak"), data.view("second")
    for name, rows in (("a", range(4)), ("b", range(4, 8))):
        (images,) = method.nets[name].trained
        assert len(images) == 2 * B
        torch.testing.assert_close(images[:8], torch.cat([first[list(rows)], second[list(rows)]]))
    assert run.selected[0].tolist() == [True] * 4 + [False] * 4


def test_a_step_leaves_the_other_network_alone() -> None:
    method = built()
    method.clean_a[:B] = 0.0  # network b has no labelled face
    run, before = Run(method), state(method.nets["b"])
    log = method.train_step(batch(), run)
    assert run.minimized == ["a"] and same(state(method.nets["b"]), before)
    assert all(bool(torch.as_tensor(value).isfinite()) for value in log.values())
    method.clean_b[:B] = 0.0
    run, before = Run(method), state(method.nets)
    method.train_step(batch(), run)
    assert not run.minimized and same(state(method.nets), before)


def test_all_labelled_has_no_unlabelled_loss() -> None:
    method = built()
    log = method.train_step(batch(), Run(method))
    assert float(log["unlabelled_loss"]) == 0 and math.isfinite(float(log["loss"]))


def test_unlabelled_faces_as_partners_only() -> None:
    method = built(train_unlabelled=False)
    method.clean_b[:2] = 0.0
    method.train_step(batch(), Run(method))
    assert len(method.nets["a"].trained[0]) == 2 * (B - 2)


def test_guessing_in_training_mode_moves_the_own_statistics() -> None:
    counts = {}
    for mode in ("evaluation", "training"):
        method = built(guess=mode)
        method.train_step(batch(), Run(method))
        counts[mode] = [int(net.norm.num_batches_tracked) for net in method.nets.values()]
    assert counts == {"evaluation": [1, 1], "training": [3, 3]}


def test_lambda_one_ignores_the_permutation() -> None:
    rows = torch.cat([logits(0), logits(1)])
    mixes = [Mix(1.0, torch.randperm(2 * B, generator=stream(k))) for k in (0, 1)]
    assert torch.equal(mixes[0](rows), mixes[1](rows))


def test_warm_up_is_cross_entropy_for_both() -> None:
    method = built(confidence_penalty=True)
    run, data = Run(method), batch()
    run.epoch = 0
    expected = {}
    for name, net in built(confidence_penalty=True).nets.items():
        z = net(data.view("weak"))
        expected[name] = F.cross_entropy(z, LABELS) + (F.softmax(z, 1) * F.log_softmax(z, 1)).sum(1).mean()
    log = method.train_step(data, run)
    torch.testing.assert_close([log["loss"], log["loss_b"]], [v.detach() for v in expected.values()])
    assert run.minimized == ["a", "b"]


def test_the_answer_is_the_mean_of_both() -> None:
    method = built().eval()
    images = batch().view("weak")
    a, b = method.other_predictions(images).values()
    torch.testing.assert_close(method.predict(images), (a + b) / 2)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"temperature": 0.0}, "temperature"),
        ({"threshold": 1.5}, "threshold"),
        ({"warmup": 2.0}, "warmup"),
        ({"average": 0}, "average"),
        ({"lambda_u": -1.0}, "lambda_u"),
    ],
)
def test_bounds(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} = "):
        dividemix.Dividemix.Config(**options)


@pytest.mark.filterwarnings("ignore:imbalance factor")
@pytest.mark.parametrize(("noise", "factor"), [(0.4, 1.0), (0.4, 50.0)])
def test_trains_under_noise_and_imbalance(bench: Bench, noise: float, factor: float) -> None:
    folder, _ = bench.trained(discover()["dividemix"], noise, factor)
    assert all(math.isfinite(value) for record in folder.epochs() for value in record["train"].values())


def test_options_train(tmp_path: Path) -> None:
    plugin, bench = discover()["dividemix"], Bench(tmp_path)
    spec = bench.spec(plugin, 0.4, 5.0, epochs=4)
    spec.config.update(mixture="per-class", prior="observed", average=3, guess="training", train_unlabelled=False)
    folder, _ = bench.train(plugin, spec, "options")
    assert folder.state == "done"
    spec = bench.spec(plugin, 0.4, epochs=3)
    spec.config.update(prior="none", confidence_penalty=True)
    folder, _ = bench.train(plugin, spec, "others")
    assert folder.state == "done"
