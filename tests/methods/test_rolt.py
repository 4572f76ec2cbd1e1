"""Properties of RoLT."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import fer_bench_methods.rolt as rolt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench.method import Task
from fer_bench.ops import effective_number_weights
from fer_bench.plugins.registry import discover
from fer_bench.testing.bench import Bench

C, D, N = 4, 6, 120


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=stream(seed), dtype=torch.float64)


def world(noise: float = 0.4, spread: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """Features [N, D] around a centre for each true class, given labels, and whether they are right."""
    true = torch.arange(N) % C
    features = random(0, C, D)[true] * 2 + random(1, N, D) * spread
    wrong = torch.rand(N, generator=stream(2)) < noise
    given = torch.where(wrong, (true + torch.randint(1, C, (N,), generator=stream(3))) % C, true)
    return features, given, ~wrong


class Linear(nn.Module):
    """A network whose feature map is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(D, C)

    def forward_features(self, x: Tensor) -> Tensor:
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        return x if pre_logits else self.fc(x)

    def get_classifier(self) -> nn.Linear:
        return self.fc


def built(epochs: int = 20, **options: Any) -> rolt.Rolt:
    torch.manual_seed(0)
    task = Task(C, N, torch.full((C,), N // C), epochs, 8)
    method = rolt.Rolt(rolt.Rolt.Config(**options), task)
    method.build(lambda role: Linear())
    return method.double()


def test_prototypes_are_means_over_kept_members() -> None:
    features, labels, _ = world()
    mean = features.mean(dim=0)
    x = rolt.centred(features, mean)
    torch.testing.assert_close(x.norm(dim=1), torch.ones(N, dtype=torch.float64))
    kept = torch.rand(N, generator=stream(4)) < 0.5
    means = rolt.class_means(x, labels, kept, C)
    for c in range(C):
        torch.testing.assert_close(means[c], x[(labels == c) & kept].mean(dim=0))
    moved = x.clone()
    moved[~kept] += 5
    torch.testing.assert_close(rolt.class_means(moved, labels, kept, C), means)
    assert bool(rolt.class_means(x, labels, labels != 2, C)[2].isnan().all())


def test_distances_and_an_absent_class() -> None:
    x, prototypes = F.normalize(random(0, 9, D), dim=1), random(1, C, D) * 0.3
    d = rolt.distance_logits(x, prototypes)
    torch.testing.assert_close(d, -(torch.cdist(x, prototypes) ** 2))
    prototypes[1] = float("nan")
    absent = rolt.distance_logits(x, prototypes)
    assert bool((absent[:, 1] == rolt.FAR).all()) and 1 not in absent.argmax(dim=1).tolist()


def test_a_split_keeps_the_near_group() -> None:
    near = torch.cat([random(0, 30) * 0.03 + 0.9, random(1, 20) * 0.05 + 0.2])
    kept = rolt.near_members(near)
    assert kept.tolist() == [True] * 30 + [False] * 20
    distance = 3 * near - 7
    assert torch.equal(rolt.near_members(rolt.nearness(distance)), kept)
    torch.testing.assert_close(rolt.nearness(distance), rolt.nearness(near))
    assert torch.equal(rolt.near_members(near), kept), "the split must not depend on a global random state"


@pytest.mark.parametrize(
    ("values", "kept"),
    [([0.0], [True]), ([0.0, 1.0], [False, True]), ([0.0, 0.0, 0.0], [True] * 3), ([], [])],
)
def test_small_classes(values: list[float], kept: list[bool]) -> None:
    assert rolt.near_members(torch.tensor(values, dtype=torch.float64)).tolist() == kept


def test_detection_ignores_scale_shift_and_order() -> None:
    features, labels, right = world()
    found = rolt.detect(features, labels, C)
    assert float((found.kept == right).double().mean()) > 0.9
    for other in (features * 7, features + 3):
        again = rolt.detect(other, labels, C)
        assert torch.equal(again.kept, found.kept)
        torch.testing.assert_close(again.distance, found.distance)
    order = torch.randperm(N, generator=stream(5))
    assert torch.equal(rolt.detect(features[order], labels[order], C).kept, found.kept[order])
    # nearness ranks right labels above wrong ones
    pairs = found.near[right][:, None] > found.near[~right][None]
    assert float(pairs.double().mean()) > 0.95


def test_averages() -> None:
    a, b = random(0, 5, C), random(1, 5, C)
    assert torch.equal(rolt.averaged(torch.zeros(5, C), a, 1, 0.6), a)
    torch.testing.assert_close(rolt.averaged(a, b, 2, 0.6), 0.6 * a + 0.4 * b)
    torch.testing.assert_close(rolt.averaged(a, b, 1, 0.6, official=True), 2.5 * b)


def terms() -> tuple[Tensor, Tensor, list[float], Tensor]:
    kept, given = torch.tensor([True, False, False, True]), torch.tensor([0, 1, 2, 3])
    guess, nearest = torch.tensor([1, 2, 2, 1]), torch.tensor([3, 3, 0, 0])
    return kept, given, *rolt.pseudo_labels(kept, given, [(0.4, guess), (0.2, nearest), (0.2, given)], C)


def test_pseudo_labels() -> None:
    kept, given, weights, labels = terms()
    soft = sum(w * F.one_hot(y, C).double() for w, y in zip(weights, labels, strict=True))
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(soft[kept], F.one_hot(given, C).double()[kept])
    torch.testing.assert_close(soft[1], torch.tensor([0.05, 0.25, 0.45, 0.25], dtype=torch.float64))
    torch.testing.assert_close(soft[2], torch.tensor([0.25, 0.05, 0.65, 0.05], dtype=torch.float64))
    z = random(0, 4, C)
    torch.testing.assert_close(rolt.pseudo_label_loss(z, weights, labels, None), F.cross_entropy(z, soft))
    class_weight = torch.tensor([0.1, 1.0, 3.0, 0.5], dtype=torch.float64)
    weighted = rolt.pseudo_label_loss(z, weights, labels, class_weight)
    assert abs(float(weighted - F.cross_entropy(z, soft, class_weight))) > 1e-3
    by_hand = sum(w * F.cross_entropy(z, y, class_weight) for w, y in zip(weights, labels, strict=True))
    torch.testing.assert_close(weighted, by_hand)


def test_phases() -> None:
    features, given, _ = world()
    method = built(epochs=20, drw=True)
    assert method.warmup_epochs == 8 and built(epochs=1).warmup_epochs == 1
    assert [method.deferred(e) for e in (15, 16, 19)] == [False, True, True] and not built().deferred(19)
    method.clean(features, random(6, N, C), given, 1)
    index, z = torch.arange(8), random(7, 8, C)
    weights, labels = method.targets(index, given[:8], 7)
    assert torch.equal(rolt.pseudo_label_loss(z, weights, labels, None), F.cross_entropy(z, given[:8]))
    assert len(method.targets(index, given[:8], 8)[0]) == 3 + C
    method.fix_surrogates(given)
    before, kept = method.surrogate.clone(), method.kept.clone()
    assert torch.equal(before, torch.where(kept, given, random(6, N, C).argmax(dim=1)))
    expected = effective_number_weights(torch.bincount(before, minlength=C), 0.9999)
    torch.testing.assert_close(method.class_weight, expected)
    method.clean(features.flip(0), random(8, N, C), given, 2)
    assert torch.equal(method.surrogate, before), "surrogates stay, the mask moves"
    weights, labels = method.targets(torch.arange(N), given, 16)
    assert weights == [0.5] + [0.5 / C] * C and torch.equal(labels[0], before), "a surrogate does not follow the mask"
    for c, label in enumerate(labels[1:]):
        assert torch.equal(label, torch.where(method.kept, given, torch.full_like(given, c)))
    assert (method.kept & (before != given)).any(), "a face that was far is near now"


def test_a_class_without_members() -> None:
    features, given, _ = world()
    given[given == 2] = 3
    method = built()
    method.clean(features, random(6, N, C), given, 1)
    assert 2 not in method.average_distance.argmax(dim=1).tolist()
    answer = method.other_predictions(features)["nearest prototype"]
    assert bool(answer.isfinite().all()) and 2 not in answer.argmax(dim=1).tolist()
    method.fix_surrogates(given)
    assert bool(method.class_weight.isfinite().all())


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"warmup": 1.5}, "warmup"),
        ({"memory": 1.0}, "memory"),
        ({"guess": 0.7}, r"guess \+ nearest \+ given"),
        ({"drw": True, "drw_start": 0.2}, "drw_start"),
        ({"beta": 1.0}, "beta"),
    ],
)
def test_bounds(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} = "):
        rolt.Rolt.Config(**options)


@pytest.mark.filterwarnings("ignore:imbalance factor")
@pytest.mark.parametrize(("noise", "factor"), [(0.4, 1.0), (0.4, 50.0)])
def test_trains_under_noise_and_imbalance(bench: Bench, noise: float, factor: float) -> None:
    folder, seen = bench.trained(discover()["rolt"], noise, factor)
    assert all(math.isfinite(record["train"]["loss"]) for record in folder.epochs())
    score = seen.method.clean_score()
    assert score is not None and bool(((score >= 0) & (score <= 1)).all())


def test_options_train(tmp_path: Path) -> None:
    plugin, bench = discover()["rolt"], Bench(tmp_path)
    spec = bench.spec(plugin, 0.4, epochs=6)
    spec.config.update(drw=True, view="weak", ensemble="official")
    folder, seen = bench.train(plugin, spec, "options")
    assert folder.state == "done" and not torch.equal(seen.method.class_weight, torch.ones(4))
