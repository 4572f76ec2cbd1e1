"""MentorNet: samples are weighted by a curriculum on their loss.

L. Jiang, Z. Zhou, T. Leung, L.-J. Li, L. Fei-Fei. "MentorNet: Learning Data-Driven Curriculum for Very Deep Neural
Networks on Corrupted Labels". ICML 2018, arXiv 1712.05055. Code: github.com/google/mentornet @ 76d6be2 (code/utils.py,
code/training_mentornet/models.py).

1. A running percentile of the losses separates easy samples from hard ones.
2. A mentor maps the loss, its distance to the percentile and the progress of the training to a weight in [0, 1].
3. The student minimizes the weighted loss. A part of each batch is dropped at random; it is large at first.
4. The mentor is a predefined curriculum ('pd' and others), or it is learned ('dd') from the losses of a first student
   on faces with known true labels. A second student is then trained with this mentor and makes the predictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_bench.method import Batch, Info, MakeNet, MakeOptimizer, Method, Needs, Run, Stage, Task, hparam
from fer_bench.ops import (
    MentorNetwork,
    area_under_roc,
    clean_score_from_losses,
    curriculum,
    curriculum_table,
    data_driven_table,
    draw_survivors,
    drop_others,
    fit_mentor,
    parse_drop_rates,
    require_positive,
    require_range,
    split_table,
    survivor_count,
)

TABLE_ROWS = 100_000
USED = 1e-3
"""A weight above which a sample counts as used."""
STREAM_SEEDS = 2**62
FIRST, SECOND = "first student", "second student"
DD_BURN_IN, DD_MENTOR_STEPS = 18, 3000
DUMP_COLUMNS = 5
"""Columns of a recorded loss: sample, percentage, observed label, true label, loss."""


def percent_of(step: int, steps: int) -> int:
    """floor(100 step / steps), 99 at most."""
    return min(99, 100 * step // steps)


def current_percent(percent: int, burn_in: int, fixed: bool) -> int:
    """The percentage that indexes all schedules. With ``fixed`` it does not rise above ``burn_in``."""
    return min(percent, burn_in) if fixed else percent


def burning_in(percent: int, burn_in: int) -> bool:
    """Whether all weights are 1: for percentages 0 to ``burn_in`` - 2."""
    return percent < burn_in - 1


def nearest_percentile(loss: Tensor, share: float) -> Tensor:
    """The ``share`` (0 to 1) percentile, a scalar, of losses [B]: always one of them, the nearest.

    The place (B - 1)(1 - share) in descending order is computed in float32 and rounded half to even.
    """
    above = 1 - torch.tensor(share, dtype=torch.float32)
    place = int(torch.round((len(loss) - 1) * above))
    return torch.sort(loss, descending=True).values[place]


def moving_average(average: Tensor, value: Tensor, decay: float) -> Tensor:
    """d m + (1 - d) q in the type of q, without correction. An average of NaN has no value yet and becomes q."""
    keep = torch.full_like(value, decay)
    return torch.where(average.isnan(), value, keep * average + (1 - keep) * value)


def weighted_loss(per_sample: Tensor, v: Tensor) -> Tensor:
    """(1 / B) sum_i v_i l_i, a scalar: divided by the size of the batch, not by the sum of the weights."""
    return (v.detach() * per_sample).mean()


@contextmanager
def scaled_weight_decay(optimizer: torch.optim.Optimizer, factor: float) -> Iterator[None]:
    """The weight decay of all groups times ``factor``, for one step."""
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    for group, decay in zip(optimizer.param_groups, decays, strict=True):
        group["weight_decay"] = decay * factor
    try:
        yield
    finally:
        for group, decay in zip(optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = decay


class Mentornet(Method):
    info = Info(
        name="MentorNet",
        title="MentorNet: Learning Data-Driven Curriculum for Very Deep Neural Networks on Corrupted Labels",
        authors="Lu Jiang, Zhengyuan Zhou, Thomas Leung, Li-Jia Li, Li Fei-Fei",
        venue="ICML",
        year=2018,
        idea="A curriculum gives each image a weight, from its loss, the distance of this loss to a running percentile "
        "of the losses, and the progress of the training. A part of each batch is dropped.",
        kind="label noise",
        family="selection",
        scaling="The schedules are shares of the training. The percentile is averaged over batches: decay 0.5 is for "
        "large ones, 0.9 for batches of up to 32. 'dd' gives each student half of the epochs, which may be too few in "
        "a short training. Its mentor is fitted in 3000 steps for any budget. The settings of quick have "
        "'spcl_linear' in place of 'pd', because of 0.3 points in the one study of the sweep tune-quick. On other "
        "drawn faces, over three seeds, that is the wrong choice under noise: with symmetric noise of 0.4, 'pd' "
        "reaches 79 % on the validation split (reference sweep reference-defaults), 'spcl_linear' 71 % with a "
        "standard deviation of 8 (reference-grid), and cross-entropy 75 %.",
        arxiv="1712.05055",
        code="github.com/google/mentornet @ 76d6be2",
        deviations=(
            "A predefined curriculum is computed by its formula. Officially a network imitates it (mentor='network').",
            "The percentile is 0.7. The official scripts set others by a misspelt option, which may have had no "
            "effect.",
            "The drop schedule ends in '0.05,83'. The official default ends in '1.0,5' and trains nothing in the last "
            "5 % of the steps.",
            "Except for 'pd' and 'dd', the running percentile starts at that of the first batch. Officially it starts "
            "at 0, and 'self_paced' then selects hardly anything in the first steps (start='zero').",
            "A step in which all weights are 0 is skipped; officially momentum still moves the weights of the network.",
            "'dd' gives each student half of the recipe's epochs, so its cost is that of other methods. Officially the "
            "second student has a whole training (budget='double').",
            "'dd' records the losses of trusted faces while a first student is trained by cross-entropy. It is not "
            "published which student was recorded officially.",
            "'dd' keeps every recorded loss, officially one of each image. Differences are to the percentile that the "
            "second student tracks, officially to another, 0.9 at 20 % noise (dump_percentile).",
            "The mentor of 'dd' is fitted in 3000 steps; its learning rate falls as in the official 30000.",
        ),
    )

    @dataclass(frozen=True)
    class Config:
        variant: Literal["pd", "self_paced", "spcl_linear", "focal_loss", "hard_example", "baseline", "dd"] = hparam(
            "pd",
            "curriculum: 'pd' (predefined MentorNet), 'self_paced', 'spcl_linear'; for contrast 'focal_loss' and "
            "'hard_example', which favour noisy labels, and 'baseline', all weights 1; or 'dd' (data-driven "
            "MentorNet), which is told true labels",
            "official models.py",
        )
        trusted: float = hparam(
            0.1, "'dd': share of the training images whose true labels it is told", "official TRAINING.md: about 10 %"
        )
        budget: Literal["shared", "double"] = hparam(
            "shared",
            "'dd': each student has half of the recipe's epochs, or ('double') all of them",
            "the harness's, for equal terms",
        )
        dump_percentile: float | None = hparam(
            None,
            "'dd': percentile of all recorded losses that the mentor is fitted with (none = 'percentile')",
            "project default; official: 0.4 to 0.9",
        )
        mentor: Literal["auto", "closed_form", "network"] = hparam(
            "auto",
            "'network': a mentor network fitted before the student is trained; 'auto' = only for 'dd', which has no "
            "closed form",
            "project default",
        )
        mentor_steps: int | None = hparam(
            None, "steps of its fitting (none = 30000, 3000 for 'dd')", "official train.py of the mentor: 30000"
        )
        percentile: float = hparam(0.7, "percentile of the losses that is tracked; sweep 0.5 to 0.8", "official flags")
        decay: float = hparam(
            0.5, "decay of the running percentile for each batch; 0.9 for batches of up to 32", "official flags"
        )
        start: Literal["auto", "zero", "first"] = hparam(
            "auto",
            "where the running percentile starts: 'zero', the 'first' batch, or 'auto' = zero for 'pd' and 'dd', else "
            "first",
            "official utils.py: zero",
        )
        gamma: float | None = hparam(
            None,
            "width of 'spcl_linear' and 'pd' (none = 1), exponent of 'focal_loss' (none = 2)",
            "official models.py",
        )
        dropout: str = hparam(
            "auto",
            "'rate,count,...': share of each batch that is dropped, over 100 percentages of the training; "
            "'auto' = '0.5,17,0.05,83' for 'pd' and 'dd', else '0.0,100'",
            "official scripts",
        )
        sampling: Literal["random", "binary", "actual"] = hparam(
            "random",
            "who is not dropped: 'random', or drawn by weight: 'actual', or 'binary' with a weight of 1 then",
            "official utils.py",
        )
        burn_in: int | None = hparam(
            None, "weights are 1 in percentages 0 to burn_in - 2 (none = 18 for 'dd', else 0)", "official scripts"
        )
        fixed_after_burn_in: bool | None = hparam(
            None,
            "True: the percentage stays at burn_in after it, in all schedules (none = True for 'dd', else False)",
            "official scripts",
        )
        scale_weight_decay: bool = hparam(
            True, "True: weight decay is multiplied by the mean weight of the batch", "official ResNet scripts"
        )

        def __post_init__(self) -> None:
            require_range("percentile", self.percentile, 0, 1)
            require_range("decay", self.decay, 0, 1)
            if self.gamma is not None:
                require_positive("gamma", self.gamma)
            require_range("burn_in", self.burn_in_until, 0, 100)
            require_range("mentor_steps", self.fitting_steps, low=1)
            require_range("trusted", self.trusted, 0, 1)
            require_positive("trusted", self.trusted)
            if self.dump_percentile is not None:
                require_range("dump_percentile", self.dump_percentile, 0, 1)
            if self.data_driven and self.mentor == "closed_form":
                raise ValueError("mentor = 'closed_form' is of the predefined curricula: variant 'dd' has none")
            parse_drop_rates(self.dropout_spec)

        @property
        def data_driven(self) -> bool:
            return self.variant == "dd"

        @property
        def has_network(self) -> bool:
            """Whether a network, not a formula, weights the samples."""
            return self.data_driven or self.mentor == "network"

        @property
        def fitting_steps(self) -> int:
            """Steps of the mentor network's fitting, with None resolved, as below."""
            return (
                self.mentor_steps if self.mentor_steps is not None else DD_MENTOR_STEPS if self.data_driven else 30000
            )

        @property
        def burn_in_until(self) -> int:
            return self.burn_in if self.burn_in is not None else DD_BURN_IN * self.data_driven

        @property
        def fixed(self) -> bool:
            return self.data_driven if self.fixed_after_burn_in is None else self.fixed_after_burn_in

        @property
        def starts_at_zero(self) -> bool:
            return self.start == "zero" or (self.start == "auto" and self.variant in ("pd", "dd"))

        @property
        def dropout_spec(self) -> str:
            """The drop schedule, with 'auto' resolved."""
            if self.dropout != "auto":
                return self.dropout
            return "0.5,17,0.05,83" if self.variant in ("pd", "dd") else "0.0,100"

    def __init__(self, config: Config, task: Task) -> None:
        super().__init__(config, task)
        self.sample_buffer("last_loss", float("nan"), dtype=torch.float32)
        self.register_buffer("average", torch.tensor(0.0 if config.starts_at_zero else float("nan")))
        self.drop_rates = parse_drop_rates(config.dropout_spec)
        if config.data_driven:
            assert task.trusted is not None and task.trusted_label is not None, "declared by needs"
            told = len(task.trusted)
            place = torch.full((task.num_samples,), -1).scatter(0, task.trusted, torch.arange(told))
            self.register_buffer("place", place, persistent=False)  # of a sample among the trusted ones, or -1
            self.register_buffer("told_label", task.trusted_label, persistent=False)
            self.register_buffer("dump", torch.full((told, task.epochs, DUMP_COLUMNS), float("nan")))

    @classmethod
    def needs(cls, config: Config) -> Needs:
        if not config.data_driven:
            return Needs()
        # 'double' comes to twice the images of the recipe's epochs, by which times are estimated
        return Needs(trusted=config.trusted, networks=2, forwards=2.0 if config.budget == "double" else 1.0)

    @classmethod
    def remarks(cls, config: Config) -> Sequence[str]:
        double = config.data_driven and config.budget == "double"
        return [f"variant {config.variant}", *(["twice the epochs"] if double else [])]

    def build(self, make_net: MakeNet) -> None:
        self.net = make_net("main")
        if self.config.data_driven:
            self.first = make_net("first")
        if self.config.has_network:
            self.mentor = MentorNetwork().requires_grad_(False)
            self.register_buffer("mentor_quality", torch.tensor(float("nan")))

    def stages(self) -> Sequence[Stage]:
        if not self.config.data_driven:
            return super().stages()
        if self.config.budget == "double":
            return Stage(FIRST), Stage(SECOND, extra=True)
        return Stage(FIRST, 0.5), Stage(SECOND, 0.5)

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        return {"main": make_optimizer((self.first if stage == FIRST else self.net).parameters())}

    def on_stage_start(self, stage: str, run: Run) -> None:
        """Fits the mentor network on the CPU, before the first step of the student whose samples it weights."""
        c = self.config
        if not c.has_network or stage == FIRST:
            return
        seed = int(torch.randint(STREAM_SEEDS, (), generator=run.generator("mentor"), device=run.device))
        generator = torch.Generator().manual_seed(seed)
        if c.data_driven:
            fit, test = self.recorded(generator)
        else:
            table = curriculum_table(lambda loss, diff, percent: curriculum(c.variant, loss, diff, percent, c.gamma))
            fit, test = split_table(table, torch.randperm(len(table), generator=generator), TABLE_ROWS)
        mentor = MentorNetwork()
        mentor.reset(generator)
        fit_mentor(mentor, fit, c.fitting_steps, generator)
        with torch.no_grad():
            weight, wanted = torch.sigmoid(mentor(test[:, :4].float())), test[:, 4].float()
        quality = area_under_roc(weight, wanted > 0) if c.data_driven else F.mse_loss(weight, wanted)
        self.mentor_quality.fill_(float("nan") if quality is None else quality)
        self.mentor.load_state_dict(mentor.state_dict())

    def recorded(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The rows (loss, difference, 0, percentage, 1[label right]) to fit the mentor on and to test it on, float64.

        A sample is in one of the two only (except one at the border), so the mentor is tested on other faces.
        """
        c, dump = self.config, self.dump.flatten(0, 1).cpu().double()
        dump = dump[~dump[:, -1].isnan()]
        table = data_driven_table(dump, 100 * (c.percentile if c.dump_percentile is None else c.dump_percentile))
        rank = torch.randperm(len(self.dump), generator=generator)
        return split_table(table, rank[dump[:, 0].long()].argsort(stable=True))

    @torch.no_grad()
    def weights(self, loss: Tensor, percent: int) -> Tensor:
        """v [B] of losses [B] before samples are dropped; updates the running percentile. No gradient."""
        c, loss = self.config, loss.detach()
        self.average.copy_(moving_average(self.average, nearest_percentile(loss, c.percentile), c.decay))
        if burning_in(percent, c.burn_in_until):
            return torch.ones_like(loss)
        difference = loss - self.average
        if not c.has_network:
            return curriculum(c.variant, loss, difference, percent, c.gamma)
        zeros = torch.zeros_like(loss)
        return torch.sigmoid(self.mentor(torch.stack([loss, difference, zeros, zeros + percent], dim=1)))

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        percent = percent_of(run.stage_epoch * run.steps + run.step, run.stage_epochs * run.steps)
        return self.first_step(batch, percent, run) if run.stage == FIRST else self.weighted_step(batch, percent, run)

    def first_step(self, batch: Batch, percent: int, run: Run) -> Mapping[str, Tensor | float]:
        """A cross-entropy step of the first student of 'dd'; keeps its losses on trusted samples for the mentor."""
        per_sample = F.cross_entropy(self.first(batch.view("weak")).float(), batch.label, reduction="none")
        loss, place = per_sample.mean(), self.place[batch.index]
        told = place >= 0
        place = place[told]
        columns = place, torch.full_like(place, percent), batch.label[told], self.told_label[place]
        self.dump[place, run.stage_epoch] = torch.stack([*columns, per_sample.detach()[told]], dim=1)
        run.minimize(loss)
        return {"loss": loss.detach()}

    def weighted_step(self, batch: Batch, percent: int, run: Run) -> Mapping[str, Tensor | float]:
        """A step of the student whose samples are weighted, at this ``percent`` of its training."""
        c = self.config
        per_sample = F.cross_entropy(self.net(batch.view("weak")).float(), batch.label, reduction="none")
        self.last_loss[batch.index] = per_sample.detach()
        percent = current_percent(percent, c.burn_in_until, c.fixed)
        v = self.weights(per_sample, percent)
        left = draw_survivors(v, survivor_count(len(v), self.drop_rates[percent]), c.sampling, run.generator("drop"))
        v = drop_others(v, left, c.sampling)
        run.record_selection(batch.index, v > USED)
        loss, mean = weighted_loss(per_sample, v), v.mean()
        used = (v > USED).float().mean()
        log = {"loss": loss.detach(), "weight": mean, "used": used, "percentile": self.average.clone()}
        if c.has_network and not bool(self.mentor_quality.isnan()):
            log["mentor_auc" if c.data_driven else "mentor_error"] = self.mentor_quality
        if not bool((v > 0).any()):
            return log
        with scaled_weight_decay(run.optimizers["main"], float(mean) if c.scale_weight_decay else 1.0):
            run.minimize(loss)
        return log

    def predict(self, images: Tensor) -> Tensor:
        """The weighted student alone. For 'dd' it is untrained in the first half of the training."""
        return self.net(images)

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        return {FIRST: self.first(images)} if self.config.data_driven else {}

    def clean_score(self) -> Tensor:
        """Minus the cross-entropy when the sample was last seen."""
        return clean_score_from_losses(self.last_loss)
