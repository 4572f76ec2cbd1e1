"""Properties of DMUE and LA-Net, and of the pieces that take networks apart: what their formulas imply."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import fer_bench_methods.dmue as dmue
import fer_bench_methods.lanet as lanet
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_bench import ops
from fer_bench.method import Batch, Method, Task
from fer_bench.models.networks import FerRes8, models

C, B, N, L = 4, 16, 40, 19


class Run:
    """The harness, reduced to what these methods call."""

    def __init__(self, method: Method, epoch: int = 0, epochs: int = 12, lr: float = 0.01, **settings: Any) -> None:
        self.epoch, self.epochs, self.step, self.steps, self.stage = epoch, epochs, 0, 4, "train"
        self.device = torch.device("cpu")
        self.optimizers = method.optimizers("train", lambda p, **kw: torch.optim.Adam(p, **({"lr": lr} | kw)))
        self.minimized: list[float] = []

    def minimize(self, loss: Tensor, name: str = "main") -> None:
        assert loss.dim() == 0 and loss.dtype == torch.float32 and bool(loss.isfinite())
        self.minimized.append(loss.item())
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    def generator(self, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(len(name) + self.step)


def network(_role: str) -> FerRes8:
    return FerRes8(C, widths=(4, 6, 8, 10))


def task(counts: tuple[int, ...] = (16, 12, 8, 4), **changes: Any) -> Task:
    values: dict[str, Any] = {
        "num_classes": C, "num_samples": N, "class_counts": torch.tensor(counts), "epochs": 12, "batch_size": B,
    }  # fmt: skip
    return Task(**(values | changes))


def build(cls: type[Method], the_task: Task | None = None, **options: Any) -> Any:
    torch.manual_seed(1)
    method = cls(cls.Config(**options), the_task or task())
    method.build(network)
    return method.train()


def labels(size: int = B) -> Tensor:
    return torch.arange(size) % C


def batch_for(method: Method, seed: int = 0, y: Tensor | None = None, index: Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    y = labels() if y is None else y
    images = torch.randn(len(y), 3, 32, 32, generator=generator)
    points = torch.rand(len(y), L, 2, generator=generator)
    index = torch.arange(len(y)) * 3 % N if index is None else index
    if method.needs(method.config).landmarks:
        return Batch(index, y, {"weak": images}.__getitem__, ("weak",), points, torch.arange(len(y)) % 5 > 0)
    return Batch(index, y, {"weak": images}.__getitem__, ("weak",))


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- every option takes a step --------------------------------------------------------------------------------------

OPTIONS: list[tuple[type[Method], dict[str, Any]]] = [
    (dmue.Dmue, {}),
    (dmue.Dmue, {"sp_source": "logits", "official_frozen_uncertainty": True, "neck": "off", "sampler": "natural"}),
    (dmue.Dmue, {"neck": "separate", "beta": 3.0, "dropout": 0.0, "temperature": 1.0, "head_lr_factor": 1.0}),
    (dmue.Dmue, {"lr_schedule": "official", "omega": 0.0, "gamma": 0.0, "redraw": False, "max_skipped": 0.5}),
    (lanet.Lanet, {}),
    (lanet.Lanet, {"landmark_source": "detector-like", "swap_on_flip": False, "official_peaks": True}),
    (lanet.Lanet, {"landmark_source": "none", "sampler": "natural"}),
    (lanet.Lanet, {"spaces": "fer", "official_ids": True, "queue": 8, "neighbours": 3, "momentum": 0.9}),
    (lanet.Lanet, {"detach_target": True, "lr_schedule": "official", "official_lr": 0.01, "sigma": 1.0}),
    (lanet.Lanet, {"bank_momentum": 0.5, "confidence": 0.5, "temperature": 0.5, "lam_lm": 0.5, "lam_kl": 0.5}),
    (lanet.Lanet, {"lam_el": 1.0}),
]


def name_of(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else ",".join(map(str, value)) or "default"


@pytest.mark.parametrize(("cls", "options"), OPTIONS, ids=name_of)
def test_steps_train_every_used_parameter_and_answers_come_from_the_image_alone(
    cls: type[Method], options: dict[str, Any]
) -> None:
    method = build(cls, **options)
    run = Run(method)
    before = state(method.net)
    for seed in range(2):
        method.on_epoch_start(run)
        log = method.train_step(batch_for(method, seed), run)
        method.on_epoch_end(run)
        assert all(math.isfinite(float(value)) for value in log.values())
    assert len(run.minimized) == 2
    still = [
        name
        for name, value in method.net.named_parameters()
        if value.requires_grad and torch.equal(value, before[name])
    ]
    assert not still
    method.eval()
    images = random(3, 3, 32, 32)
    assert method.predict(images).shape == (3, C)
    torch.testing.assert_close(method.predict(images)[:1], method.predict(images[:1]))
    rows = method.epoch_indices(labels(N), torch.Generator().manual_seed(0))
    assert rows is None or (rows.dtype == torch.int64 and rows.min() >= 0 and rows.max() < N)


def test_every_option_is_tried() -> None:
    for cls in (dmue.Dmue, lanet.Lanet):
        fields = set(cls.Config.__dataclass_fields__)
        tried = {name for other, options in OPTIONS if other is cls for name in options}
        assert fields - tried <= {"landmark_num"}  # has a test of its own


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (dmue.Dmue, {"temperature": 0.0}),
        (dmue.Dmue, {"beta": -1.0}),
        (dmue.Dmue, {"dropout": 1.5}),
        (lanet.Lanet, {"bank_momentum": 1.1}),
        (lanet.Lanet, {"temperature": 0.0}),
        (lanet.Lanet, {"swap_on_flip": False, "landmark_num": 5}),
    ],
)
def test_values_out_of_range_are_refused(cls: type[Method], options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        cls.Config(**options)


# --- taking networks apart ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "strides"), [("ferres8", [2, 4, 8, 16]), ("resnet18", [2, 4, 8, 16, 32])]
)  # fmt: skip
def test_stages_are_the_networks_own_layers_one_after_the_other(name: str, strides: list[int]) -> None:
    torch.manual_seed(0)
    net = models().create_model(name, num_classes=C).train()
    parts = ops.resolution_stages(net)
    assert [stride for stride, _ in parts] == strides and all(module.training for module in net.modules())
    images, net = random(2, 3, 48, 48), net.eval()
    x = images
    for _, layers in parts:
        x = layers(x)
    torch.testing.assert_close(x, net.forward_features(images))
    mine = {id(p) for _, layers in parts for p in layers.parameters()}
    head = {id(p) for p in net.get_classifier().parameters()}
    assert mine == {id(p) for p in net.parameters()} - head


class Skipping(FerRes8):
    """Its features are not what its layers give one after the other."""

    def forward_features(self, x: Tensor) -> Tensor:
        return self.block2(self.block1(self.stem(x))) + 1


def test_a_network_that_is_no_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be taken apart"):
        ops.resolution_stages(Skipping(C))
    with pytest.raises(ValueError, match="cannot be taken apart"):
        ops.resolution_stages(timm.create_model("vit_tiny_patch16_224", num_classes=C, depth=1))


def test_a_copy_follows_slowly_and_copies_buffers() -> None:
    torch.manual_seed(0)
    fast = nn.BatchNorm1d(3)
    slow = ops.copied(fast)
    assert not any(p.requires_grad for p in slow.parameters())
    with torch.no_grad():
        fast.weight += 1
        fast.running_mean += 5
    ops.follow(slow, fast, 0.9)
    torch.testing.assert_close(slow.weight.data, torch.full((3,), 1.1))
    assert torch.equal(slow.running_mean, fast.running_mean)
    ops.follow(slow, fast, 0.0)
    assert torch.equal(slow.weight, fast.weight)


# --- DMUE -----------------------------------------------------------------------------------------------------------


def test_branch_labels_are_a_bijection_without_the_class() -> None:
    y = torch.arange(C).repeat(2)
    for c in range(C):
        rows, own = dmue.branch_rows(y, c)
        assert (y[rows] != c).all() and (y[own] == c).all()
        assert sorted([*rows.tolist(), *own.tolist()]) == list(range(len(y)))
        assert dmue.branch_labels(y[rows], c).unique().tolist() == list(range(C - 1))


@pytest.mark.parametrize("c", range(C))
def test_latent_distributions(c: int) -> None:
    z = random(5, C - 1).requires_grad_()
    soft = dmue.latent_distribution(z, c, 1.2)
    assert not soft.requires_grad and (soft[:, c] == 0).all()
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(5))
    others = [k for k in range(C) if k != c]
    torch.testing.assert_close(dmue.latent_distribution(z, c, 1.0)[:, others], z.detach().softmax(dim=1))
    p = z.detach().softmax(dim=1) ** (1 / 1.2)
    torch.testing.assert_close(soft[:, others], p / p.sum(dim=1, keepdim=True))
    flat = dmue.latent_distribution(z, c, 1e6)[:, others]
    torch.testing.assert_close(flat, torch.full((5, C - 1), 1 / (C - 1)), atol=1e-5, rtol=0)


def test_ramps() -> None:
    for beta in (1.0, 4.0, 6.0, 10.5):
        assert dmue.ramp_up(beta, beta) == 1 and dmue.ramp_up(beta + 1, beta) == 1
        assert dmue.ramp_up(0, beta) == pytest.approx(math.exp(-5))
        up = [dmue.ramp_up(e, beta) for e in range(40)]
        down = [dmue.ramp_down(e, beta) for e in range(40)]
        assert up == sorted(up) and down == sorted(down, reverse=True)
        assert max(down) <= 1 and down[0] == 1
    assert build(dmue.Dmue).beta == 2 and build(dmue.Dmue, task(epochs=3)).beta == 1
    assert build(dmue.Dmue, beta=7.0).beta == 7


def pooled(y: Tensor, width: int = 10) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    target, aux = random(len(y), width, seed=3).abs(), random(C, len(y), width, seed=4).abs()
    rows = [dmue.branch_rows(y, c) for c in range(C)]
    return target, [aux[c][r[0]] for c, r in enumerate(rows)], [aux[c][r[1]] for c, r in enumerate(rows)]


def test_without_its_parts_it_is_cross_entropy_and_the_branches() -> None:
    method, y = build(dmue.Dmue, omega=0.0, gamma=0.0, dropout=0.0), labels()
    with torch.no_grad():
        method.certainty.project[2].bias.fill_(100.0)  # a score of 1
    found = method.objective(*pooled(y), y, epoch=9)
    expected = F.cross_entropy(found["logits"], y) + dmue.ramp_down(9, 2.0) * found["auxiliary"]
    torch.testing.assert_close(found["loss"], expected)


def test_scores_are_certainties_and_scaled_similarities_span_each_row() -> None:
    method, y = build(dmue.Dmue), labels()
    found = method.objective(*pooled(y), y, epoch=3)
    assert ((found["score"] > 0) & (found["score"] < 1)).all() and found["score"].shape == (B, 1)
    similarity = found["scaled_similarity"]
    assert (similarity.min(dim=1).values == 0).all() and (similarity.max(dim=1).values == 1).all()
    assert found["soft"].gather(1, y[:, None]).eq(0).all()
    torch.testing.assert_close(found["soft"].sum(dim=1), torch.ones(B))


def test_similarity_losses_of_the_two_sources() -> None:
    y = labels()
    features, logits = (build(dmue.Dmue, sp_source=s, dropout=0.0) for s in ("features", "logits"))
    a, b = (m.objective(*pooled(y), y, epoch=3) for m in (features, logits))
    assert (a["similarity"] - b["similarity"]).abs() > 1e-4
    torch.testing.assert_close(a["auxiliary"], b["auxiliary"])
    same = random(6, 5)
    assert float(dmue.similarity_loss(same, same)) == 0
    torch.testing.assert_close(dmue.similarity_loss(same, 3 * same), torch.zeros(()))


def test_identical_features_are_finite() -> None:
    method, y = build(dmue.Dmue, neck="off"), labels()
    _, others, own = pooled(y)
    target = torch.ones(B, 10, requires_grad=True)
    found = method.objective(target, others, own, y, epoch=3)
    assert (found["scaled_similarity"] == 0).all()
    found["loss"].backward()
    assert bool(target.grad.isfinite().all())
    assert bool(dmue.class_similarity(torch.ones(B, 10), y, C, official=True).isnan().all())


def test_a_class_without_images_takes_no_part_in_the_scaling() -> None:
    y = torch.tensor([0, 0, 1, 1, 3, 3])
    similarity = dmue.class_similarity(random(6, 5), y, C)
    assert (similarity[:, 2] == 0).all()
    assert (similarity[:, [0, 1, 3]].min(dim=1).values == 0).all()


@pytest.mark.parametrize("counts", [(20, 0, 12, 8), (40, 0, 0, 0)])
def test_training_goes_on_without_some_classes(counts: tuple[int, ...]) -> None:
    method = build(dmue.Dmue, task(counts))
    present = torch.nonzero(torch.tensor(counts)).squeeze(1)
    run = Run(method, epoch=4)
    method.train_step(batch_for(method, y=present[torch.arange(B) % len(present)]), run)
    assert len(run.minimized) == 1
    given = present.repeat_interleave(torch.tensor(counts)[present])
    assert set(given[method.epoch_indices(given, torch.Generator())].tolist()) == set(present.tolist())


@pytest.mark.parametrize("frozen", [False, True])
def test_the_official_optimizer_leaves_the_score_out(frozen: bool) -> None:
    method = build(dmue.Dmue, official_frozen_uncertainty=frozen)
    score, neck = state(method.certainty), method.necks[0].weight.clone()
    head, bias = method.heads[0].weight.clone(), method.necks[0].bias.clone()
    run = Run(method, epoch=4)
    method.train_step(batch_for(method), run)
    assert all(torch.equal(score[n], v) for n, v in method.certainty.state_dict().items()) == frozen
    assert torch.equal(neck, method.necks[0].weight) == frozen
    assert not torch.equal(head, method.heads[0].weight) and torch.equal(bias, method.necks[0].bias)


def test_branches_start_alike_and_become_different() -> None:
    method = build(dmue.Dmue)
    last = method._shared[1]
    for branch in method.branches:
        assert all(torch.equal(a, b) for a, b in zip(branch.parameters(), last.parameters(), strict=True))
    run = Run(method, epoch=4)
    method.train_step(batch_for(method), run)
    weights = [next(b.parameters()).detach() for b in (last, *method.branches)]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(weights, 2))
    assert len(method.necks) == 1 and len(build(dmue.Dmue, neck="separate").necks) == C + 1
    assert len(build(dmue.Dmue, neck="off").necks) == 0
    rates = [group["lr"] for group in run.optimizers["main"].param_groups]
    assert rates == pytest.approx([0.01, 0.1])


def test_a_batch_that_lacks_a_class_makes_no_step_and_it_is_said_once() -> None:
    method = build(dmue.Dmue)
    run = Run(method)
    method.on_epoch_start(run)
    lacking = torch.tensor([0, 0, 1, 1, 2, 2, 3])
    before = state(method)
    with pytest.warns(UserWarning, match="skipped") as said:
        assert method.train_step(batch_for(method, y=lacking), run) == {}
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method.train_step(batch_for(method, y=lacking), run)
    assert not run.minimized
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    with pytest.raises(RuntimeError, match="skipped 2 of 2 batches"):
        method.on_epoch_end(run)
    method.on_epoch_start(run)
    for _ in range(4):
        method.train_step(batch_for(method), run)
    method.train_step(batch_for(method, y=lacking), run)
    method.on_epoch_end(run)  # a fifth is allowed
    with pytest.raises(ValueError, match="two faces of each class"):
        build(dmue.Dmue, task(batch_size=7))


def test_balanced_batches_hold_every_class_twice() -> None:
    y = torch.arange(4).repeat_interleave(torch.tensor([300, 60, 9, 1]))
    rows = dmue.balanced_rows(y, 16, True, torch.Generator().manual_seed(0))
    assert len(rows) == 16 * (len(y) // 16)
    assert all(torch.bincount(y[part], minlength=4).min() >= 2 for part in rows.split(16))
    share = torch.bincount(y[rows]).float() / len(rows)
    assert (share - 0.25).abs().max() < 0.06
    assert len(rows[y[rows] == 0].unique()) > 50
    free = dmue.balanced_rows(y, 16, False, torch.Generator().manual_seed(0))
    assert len(free) == len(y)
    assert any(torch.bincount(y[part], minlength=4).min() < 2 for part in free.split(16))
    tight = dmue.balanced_rows(y, 8, True, torch.Generator().manual_seed(0))
    assert all(torch.bincount(y[part], minlength=4).tolist() == [2, 2, 2, 2] for part in tight.split(8))


def test_dmue_official_rates() -> None:
    rates = [(dmue.staircase_rate(dmue.BASE_RATES, e), dmue.staircase_rate(dmue.HEAD_RATES, e)) for e in range(40)]
    assert rates[0] == (1e-4, 1e-3) and rates[5] == (1e-4, 5e-4) and rates[6] == (5e-5, 5e-4)
    assert rates[13] == (1e-5, 1e-4) and rates[22] == (5e-5, 5e-5) and rates[39] == (1e-5, 1e-5)
    method = build(dmue.Dmue, lr_schedule="official")
    run = Run(method, epoch=12)
    method.on_epoch_start(run)
    assert [group["lr"] for group in run.optimizers["main"].param_groups] == [1e-5, 1e-4]


# --- LA-Net ---------------------------------------------------------------------------------------------------------


def test_targets_are_distributions_with_the_two_limits() -> None:
    method, y = build(lanet.Lanet, neighbours=3), labels()
    u, v, z, index = random(B, 10), random(B, 6, seed=1), random(B, C, seed=2), torch.arange(B)
    target = method.targets(u, v, z, index, y)
    assert (target >= 0).all()
    torch.testing.assert_close(target.sum(dim=1), torch.ones(B))
    remembering = build(lanet.Lanet, neighbours=3, bank_momentum=1.0)
    assert torch.equal(remembering.targets(u, v, z, index, y), F.one_hot(y, C).float())
    forgetting = build(lanet.Lanet, neighbours=3, bank_momentum=0.0)
    for score in (forgetting.score_u, forgetting.score_v):
        nn.init.zeros_(score.fc_out[4].weight), nn.init.zeros_(score.fc_out[4].bias)
    p = z.softmax(dim=1)
    means = [lanet.neighbours(s, 3) @ p / 3 for s in (u, v)]
    torch.testing.assert_close(forgetting.targets(u, v, z, index, y), (means[0] + means[1]) / 2, atol=1e-6, rtol=1e-5)
    alone = build(lanet.Lanet, neighbours=3, bank_momentum=0.0, spaces="fer")
    nn.init.zeros_(alone.score_u.fc_out[4].weight), nn.init.zeros_(alone.score_u.fc_out[4].bias)
    torch.testing.assert_close(alone.targets(u, v, z, index, y), means[0], atol=1e-6, rtol=1e-5)


def test_neighbours_are_the_most_similar_others() -> None:
    x = random(9, 5)
    for features in (x, torch.ones(9, 5), -x.abs()):
        mask = lanet.neighbours(features, 3)
        assert (mask.sum(dim=1) == 3).all() and (mask.diagonal() == 0).all()
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert torch.equal(lanet.neighbours(opposite, 1), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    weights = lanet.neighbour_weights(torch.rand(9, 9), mask)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(9))


def test_pair_scores_are_those_of_the_concatenated_halves() -> None:
    torch.manual_seed(0)
    score, x = lanet.PairScore(8), random(5, 8)
    first, second = score.fc_in(x).chunk(2, dim=1)
    for i in range(5):
        for j in range(5):
            pair = score.fc_out(torch.cat([first[i], second[j]])).softmax(dim=0)[0]
            torch.testing.assert_close(score(x)[i, j], pair)


def test_the_memory_holds_what_was_last_seen() -> None:
    method, y = build(lanet.Lanet, neighbours=3), labels(6)
    index = torch.tensor([5, 9, 2, 5, 0, 5])
    assert torch.equal(method.remembered(index, y), F.one_hot(y, C).float())
    target = random(6, C).softmax(dim=1).requires_grad_()
    before = method.bank.clone()
    method.remember(index, y, target)
    assert torch.equal(method.bank[[9, 2, 5, 0]], target.detach()[[1, 2, 5, 4]])
    absent = [i for i in range(N) if i not in index.tolist()]
    assert torch.equal(method.bank[absent], before[absent])
    assert torch.equal(method.remembered(torch.tensor([9, 1]), torch.tensor([0, 3]))[0], target.detach()[1])
    assert method.remembered(torch.tensor([9, 1]), torch.tensor([0, 3]))[1].tolist() == [0, 0, 0, 1]
    score = method.clean_score()
    assert float(score[9]) == float(target[1, y[1]].detach()) and bool(score.isfinite().all())
    torch.testing.assert_close(score[1], score[[9, 2, 5, 0]].mean())
    assert (build(lanet.Lanet).clean_score() == 0).all()


def test_the_gradient_of_the_distributions() -> None:
    method, y = build(lanet.Lanet, neighbours=3), labels()
    u, v, z = (
        random(B, 10).requires_grad_(),
        random(B, 6, seed=1).requires_grad_(),
        random(B, C, seed=2).requires_grad_(),
    )
    target = method.targets(u, v, z, torch.arange(B), y)
    lanet.target_kl(target, z).backward()
    for value in (u, v, *method.score_u.parameters(), *method.score_v.parameters()):
        assert value.grad is not None and bool(value.grad.isfinite().all())
    assert any(bool(p.grad.any()) for p in method.score_u.parameters())
    for detach in (False, True):
        stepped = build(lanet.Lanet, detach_target=detach, landmark_source="none", neighbours=3)
        before = state(stepped.score_u)
        stepped.train_step(batch_for(stepped), Run(stepped))
        same = all(torch.equal(before[name], value) for name, value in stepped.score_u.state_dict().items())
        assert same == detach


def test_kl_is_finite_at_a_target_of_zero() -> None:
    target, z = F.one_hot(labels(), C).float().requires_grad_(), random(B, C).requires_grad_()
    loss = lanet.target_kl(target, z)
    torch.testing.assert_close(loss, F.cross_entropy(z, labels()))
    assert bool(torch.autograd.grad(loss, target)[0].isfinite().all())
    soft = random(B, C, seed=5).softmax(dim=1)
    torch.testing.assert_close(lanet.target_kl(soft, z), lanet.target_kl(soft, z, official=True))


def test_pseudo_labels() -> None:
    target = torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.2, 0.1, 0.7]])
    index = torch.tensor([4, 0, 7])
    assert lanet.pseudo_labels(target, index, 0.7).tolist() == [0, -1, 2]
    assert lanet.pseudo_labels(target, index, 0.7, official=True).tolist() == [0, 0, 2]
    ids = lanet.pseudo_labels(target[[1, 1, 1]], torch.tensor([0, 1, 2]), 0.7)
    assert len(ids.unique()) == 3 and (ids < 0).all() and (ids != lanet.EMPTY).all()


def test_contrast_of_distinct_labels_is_infonce() -> None:
    q, k, queue = (F.normalize(random(n, 5, seed=s), dim=1) for s, n in enumerate((6, 6, 9)))
    loss = lanet.contrast(q, k, queue, torch.arange(6), torch.arange(10, 19), 0.1)
    scores = torch.cat([(q * k).sum(dim=1, keepdim=True), q @ queue.T], dim=1) / 0.1
    torch.testing.assert_close(loss, F.cross_entropy(scores, torch.zeros(6, dtype=torch.int64)))
    queue = queue.requires_grad_()
    ids = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8])
    lanet.contrast(q, k, queue, torch.zeros(6, dtype=torch.int64), ids, 0.1).backward()
    assert (queue.grad[0] == 0).all() and (queue.grad[1:] != 0).any(dim=1).all()
    same = torch.zeros(6, dtype=torch.int64)
    assert float(lanet.contrast(q, k, queue.detach(), same, torch.zeros(9, dtype=torch.int64), 0.1)) == 0


def test_queues_are_first_in_first_out_for_any_batch() -> None:
    method = build(lanet.Lanet, queue=5)
    for start, size in ((0, 3), (3, 3), (6, 7)):
        keys = torch.arange(start, start + size).float()[:, None].expand(-1, 6)
        method.enqueue(keys, -keys, torch.arange(start, start + size))
    assert sorted(method.queue_label.tolist()) == [8, 9, 10, 11, 12]
    assert torch.equal(method.queue_u[:, 0], method.queue_label.float()) and torch.equal(
        method.queue_v, -method.queue_u
    )
    fresh = build(lanet.Lanet)
    assert len(fresh.queue_label) == N and (fresh.queue_label == lanet.EMPTY).all()
    torch.testing.assert_close(fresh.queue_u.norm(dim=1), torch.ones(N))


def test_the_slow_copy_follows_and_is_not_trained() -> None:
    method = build(lanet.Lanet, momentum=0.5)
    fast, slow = next(method._fast[0].parameters()), next(method.slow.parameters())
    run = Run(method)
    method.train_step(batch_for(method), run)
    assert slow.grad is None and not slow.requires_grad
    before, after = slow.clone(), fast.detach().clone()
    method.train_step(batch_for(method, 1), run)
    torch.testing.assert_close(slow.data, 0.5 * before + 0.5 * after)
    assert method.queue_label[:B].ne(lanet.EMPTY).all() and int(method.pointer) == 2 * B % N


def test_adaptive_wing_joins_at_the_threshold() -> None:
    y = torch.tensor([0.0, 0.3, 0.9, 1.0])
    assert (ops.adaptive_wing(y, y) == 0).all()
    for step in (1e-6, 1e-4):
        below, above = ops.adaptive_wing(y + 0.5 - step, y), ops.adaptive_wing(y + 0.5 + step, y)
        assert (above - below).abs().max() < 100 * step + 1e-5
    x = torch.linspace(-1, 2, 50, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: ops.adaptive_wing(p, torch.full_like(p, 0.25)), x)


def test_heatmaps_peak_at_their_cells() -> None:
    cells = torch.tensor([[[7, 3], [0, 0], [2, 9], [11, 11]]])
    maps = ops.gaussian_heatmaps(cells, 12, 12)
    peaks = [divmod(int(m.argmax()), 12)[::-1] for m in maps[0]]
    assert peaks == [tuple(cell) for cell in cells[0].tolist()] and bool((maps.amax(dim=(2, 3)) == 1).all())
    official = ops.gaussian_heatmaps(cells, 12, 12, truncate=True)
    assert divmod(int(official[0, 1].argmax()), 12) == (1, 1) and torch.equal(official[0, 3], maps[0, 3])
    weights = ops.heatmap_weights(maps)
    assert set(weights.unique().tolist()) == {1.0, 10.0} and (weights[maps > 0.2] == 10).all()
    outside = ops.gaussian_heatmaps(torch.tensor([[[-40, 3], [60, 60]]]), 12, 12)
    assert not outside.any() and (ops.heatmap_weights(outside) == 1).all()


def test_mirroring_twice_is_nothing_and_exchanges_sides() -> None:
    points = torch.rand(3, L, 2)
    for exchange in (True, False):
        twice = lanet.mirror_points(lanet.mirror_points(points, exchange=exchange), exchange=exchange)
        torch.testing.assert_close(twice, points)
    mirrored = lanet.mirror_points(points)
    torch.testing.assert_close(mirrored[:, 6, 0], 1 - points[:, 11, 0])
    torch.testing.assert_close(mirrored[:, 18, 0], 1 - points[:, 18, 0])


def test_faces_without_landmarks_teach_none() -> None:
    method = build(lanet.Lanet)
    batch, run = batch_for(method), Run(method)
    batch.landmarks[~batch.landmarks_ok] = math.nan
    maps, weights = method.heatmap_targets(batch, run, 8, 8)
    assert bool(maps.isfinite().all())
    assert ((weights > 0).flatten(1).any(dim=1) == batch.landmarks_ok).all()
    worse = build(lanet.Lanet, landmark_source="detector-like")
    moved, weights = worse.heatmap_targets(batch, run, 8, 8)
    again, _ = worse.heatmap_targets(batch, run, 8, 8)
    assert torch.equal(moved, again)
    worse.lost.fill_(True)
    assert not worse.heatmap_targets(batch, run, 8, 8)[1].any()


def test_detector_like_points_lie_on_a_grid_near_the_true_ones() -> None:
    points = torch.rand(200, L, 2)
    noise = random(200, L, 2) * lanet.JITTER / lanet.REFERENCE_WIDTH
    moved = lanet.detector_like(points, noise)
    assert moved.min() >= 0 and moved.max() <= 1
    cells = moved * lanet.REFERENCE_WIDTH / lanet.QUANTUM
    torch.testing.assert_close(cells, cells.round(), atol=1e-3, rtol=0)
    apart = (moved - points) * lanet.REFERENCE_WIDTH
    assert 1.8 < float(apart.std()) < 2.2


def test_without_the_exchange_half_of_the_targets_have_their_sides_mixed_up() -> None:
    official = build(lanet.Lanet, swap_on_flip=False)
    run = Run(official)
    y = labels(400)
    batch = batch_for(official, y=y)
    batch.landmarks_ok.fill_(True)
    straight, _ = build(lanet.Lanet).heatmap_targets(batch, run, 8, 8)
    mixed, _ = official.heatmap_targets(batch, run, 8, 8)
    same = (mixed == straight).flatten(1).all(dim=1)
    assert 150 < int(same.sum()) < 250
    torch.testing.assert_close(mixed[~same], straight[~same][:, list(lanet.MIRRORED)])


def test_answers_do_not_depend_on_landmarks_or_the_branch() -> None:
    method = build(lanet.Lanet)
    method.train_step(batch_for(method), Run(method))
    method.eval()
    images = random(3, 3, 32, 32)
    before = method.predict(images)
    for part in (method.landmark, method.laterals, method.heatmap, method.slow):
        for parameter in part.parameters():
            nn.init.zeros_(parameter)
    method.bank.zero_()
    assert torch.equal(before, method.predict(images))
    assert not lanet.Lanet.needs(lanet.Lanet.Config(landmark_source="none")).landmarks


def test_other_numbers_of_landmarks() -> None:
    method = build(lanet.Lanet, landmark_num=5)
    batch = batch_for(method)
    with pytest.raises(ValueError, match="needs 5 landmarks"):
        method.train_step(batch, Run(method))
    batch.landmarks = batch.landmarks[:, :5]
    method.train_step(batch, Run(method))
    with pytest.raises(ValueError, match="smaller than the batch size"):
        build(lanet.Lanet, task(batch_size=8))


def test_the_landmark_pyramid_is_as_fine_as_the_shared_layers() -> None:
    method = build(lanet.Lanet)
    u, finest = method._fast[0](random(2, 3, 48, 48))
    assert u.shape == (2, 10) and finest.shape == (2, 6, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(
            method.net.get_classifier()(u), method.net(random(2, 3, 48, 48)), atol=1e-5, rtol=1e-4
        )
    names = [name for name, _ in method.named_parameters()]
    assert len(names) == len(set(names)) and len(names) == len(list(method.state_dict().keys() & set(names)))


def test_budgets_go_from_natural_to_equal() -> None:
    counts = [10, 3, 1, 40, 8, 8, 30]
    assert lanet.class_budget(counts, 0, 80) == counts
    assert lanet.class_budget(counts, 80, 80)[:-1] == [15] * 6
    for epoch in range(80):
        budget = lanet.class_budget([100, 50, 30, 1], epoch, 80)
        assert min(budget) >= 0 and sum(budget) >= 181
    y = torch.arange(7).repeat_interleave(torch.tensor(counts))
    method = build(lanet.Lanet, task(epochs=20))
    first = method.epoch_indices(y, torch.Generator().manual_seed(0))
    assert sorted(first.tolist()) == list(range(len(y)))
    for _ in range(19):
        method.on_epoch_end(Run(method))
    late = method.epoch_indices(y, torch.Generator().manual_seed(0))
    assert torch.bincount(y[late]).tolist() == lanet.class_budget(counts, 19, 20)
    often = torch.bincount(late, minlength=len(y))
    for c in range(7):
        mine = often[y == c]
        assert mine.max() - mine.min() <= 1
    gap = method.epoch_indices(torch.tensor([0, 0, 2]), torch.Generator())
    assert set(gap.tolist()) <= {0, 1, 2}


def test_lanet_official_rate_falls_to_zero_step_by_step() -> None:
    method = build(lanet.Lanet, lr_schedule="official", landmark_source="none")
    run, rates = Run(method, epochs=2), []
    for run.epoch in range(2):
        for run.step in range(4):
            method.train_step(batch_for(method), run)
            rates.append(run.optimizers["main"].param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3 * (1 - i / 8) for i in range(8)])
