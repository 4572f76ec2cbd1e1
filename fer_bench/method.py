"""The contract between a method and the harness.

A method owns its update. The harness owns everything that must be equal between methods: data, noise, batches,
augmentation, schedule, budget and evaluation.

A plugin is one file with one subclass of :class:`Method`. It imports only this module and ``fer_bench.ops`` from
fer-bench. A method does not know which labels are wrong. It receives clean labels only if it declares that it needs
them, and tables then say so. It sees test images only in :meth:`Method.predict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from fer_bench.core.families import FAMILIES as FAMILIES

VIEWS = {
    "weak": "the recipe's random augmentation of the image",
    "mirror": "the exact horizontal mirror of the finished 'weak' view (an erased box is mirrored with it)",
    "mirror-erased": "the mirror image of 'weak' before pixel noise and erasing, with another erased box",
    "second": "a second, independent draw of the recipe's augmentation",
    "plain": "the image as it is tested",
    "flipped": "the image mirrored as in 'weak', and nothing else",
    "strong": "an independent draw: mirrored at random, two operations of RandAugment, then the recipe's erasing",
}


@dataclass(frozen=True)
class Info:
    """Where a method comes from, for the tables and the card that ``fer-bench methods KEY`` prints."""

    title: str
    authors: str
    venue: str
    year: int
    idea: str
    """What the method does, in two or three sentences for a newcomer."""
    kind: str
    """The problem it addresses: "baseline", "label noise", "imbalance" or "both"."""
    family: str = ""
    """A key of FAMILIES; the list of methods is grouped by it. "" for a method of no family."""
    arxiv: str = ""
    code: str = ""
    """The official repository and commit."""
    deviations: tuple[str, ...] = ()
    """Where the defaults differ from the official code, each with its reason."""
    scaling: str = ""
    """How its settings scale: with the length of the training in epochs or steps, the batch size, the number of classes
    and of images, and with networks from random or pre-trained weights. Also what experiments showed about the method.
    In plain sentences."""
    ensemble: str = ""
    """How ``predict`` combines several networks ("mean of two networks"); tables mark it. "" for one network."""
    name: str = ""
    """Its usual name in tables and figures ("Co-teaching"), as plain text: it is read without running the file. "" for
    its key."""

    def __post_init__(self) -> None:
        if self.family and self.family not in FAMILIES:
            raise ValueError(f"family {self.family!r} is none of {', '.join(FAMILIES)}")


@dataclass(frozen=True)
class Needs:
    """What a method needs. If the data or the recipe cannot provide it, the method is skipped with a reason."""

    views: tuple[str, ...] = ("weak",)
    noise_rate: bool = False
    """The realised noise rate. Tables mark the row."""
    landmarks: bool = False
    trusted: float = 0.0
    """The share of the training images whose clean labels it receives. Tables state their number."""
    unlabelled: float = 0.0
    """Images of the unlabelled stream for each image of a batch: ``--unlabelled FOLDER``, or else the training images
    with their labels hidden."""
    first_stage_of: str = ""
    """Key of a method whose whole training is, number for number, the first stage of this one. A finished run of it
    with the same settings is taken where there is one. ``build`` gives its parameters the same names, and up to the end
    of that stage ``predict`` answers as the other method does. If no stage follows, ``on_fit_end`` and the last
    evaluation are this method's own; it meets new optimizers there."""
    networks: int = 1
    forwards: float | Callable[[int], float] = 1.0
    """Images forwarded in training for each image of a batch, or a function of the epochs of the training that returns
    them. Time estimates and the budget of a tuning use it."""
    compiles: bool = True
    """False: its networks cannot be compiled (hooks on layers, gradients of gradients)."""

    def forwards_in(self, epochs: int) -> float:
        """``forwards`` in a training of ``epochs``."""
        return float(self.forwards(epochs) if callable(self.forwards) else self.forwards)


@dataclass(frozen=True)
class Stage:
    """A part of the training with optimizers of its own.

    ``share`` is of the recipe's epochs. The shares of stages that are not ``extra`` sum to 1, and extra stages come on
    top of them, at the end.
    """

    name: str
    share: float = 1.0
    extra: bool = False


@dataclass(frozen=True)
class Task:
    """What a method knows of the problem. Counts and labels are the noisy ones."""

    num_classes: int
    num_samples: int
    class_counts: Tensor
    """int64 [C]: training images per noisy label."""
    epochs: int
    """Of the recipe; extra stages come on top."""
    batch_size: int
    noise_rate: float | None = None
    """The realised share of wrong labels, for methods that declare ``Needs(noise_rate=True)``; else None."""
    trusted: Tensor | None = None
    """int64 [T]: rows of the training set whose clean labels are known, if the method declares that it needs them."""
    trusted_label: Tensor | None = None
    """int64 [T]: the clean labels of the rows ``trusted``."""
    pretrained: bool = False
    """Whether the recipe's networks start from pre-trained weights."""
    labels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    """int64 [N]: the noisy label of every row, on the CPU; a copy."""


class Images:
    """Images of one step, without labels."""

    def __init__(self, count: int, make_view: Callable[[str], Tensor], allowed: Sequence[str]) -> None:
        self._count, self._make_view, self._allowed = count, make_view, tuple(allowed)

    def __len__(self) -> int:
        return self._count

    def view(self, name: str = "weak") -> Tensor:
        """Normalised float32 images [B, 3, H, W], made when first asked for. KeyError if the view was not declared."""
        if name not in self._allowed:
            raise KeyError(f"view {name!r} was not declared: Needs(views={self._allowed}); there are {tuple(VIEWS)}")
        return self._make_view(name)


class Batch(Images):
    """One mini-batch: ``index`` int64 [B] (rows of the training set), ``label`` int64 [B], and views.

    A method sees one label of an image, which may be wrong. The harness calls it ``noisy_label``.

    ``landmarks`` is float32 [B, 19, 2] in AFLW order, as a fraction of width and height in the frame of the 'weak' view
    (left and right exchanged where it is mirrored), with ``landmarks_ok`` bool [B]; both are None unless the method
    declared that it needs them. ``unlabelled`` are the next images of the unlabelled stream, None unless declared.
    """

    def __init__(
        self,
        index: Tensor,
        label: Tensor,
        make_view: Callable[[str], Tensor],
        allowed: Sequence[str],
        landmarks: Tensor | None = None,
        landmarks_ok: Tensor | None = None,
        unlabelled: Images | None = None,
    ) -> None:
        super().__init__(len(label), make_view, allowed)
        self.index, self.label = index, label
        self.landmarks, self.landmarks_ok = landmarks, landmarks_ok
        self.unlabelled = unlabelled


class Net(Protocol):
    """A classification network in timm's interface, as ``make_net`` returns it."""

    num_features: int

    def __call__(self, x: Tensor) -> Tensor:
        """Logits [B, C] of images [B, 3, H, W]."""
        ...

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map [B, D, h, w]."""
        ...

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Logits [B, C], or the pooled features [B, D] that go into the classifier, from the last feature map."""
        ...

    def get_classifier(self) -> nn.Module:
        """The last linear layer: weight [C, D], bias [C]."""
        ...


SampleWeight = Callable[[Tensor, Tensor], Tensor]
"""``weight(p_label, p_other)``: the weights of samples, any shape, whose noisy label has probability ``p_label`` and
whose most probable other class has ``p_other``."""

MakeNet = Callable[[str], Any]
"""``make_net(role)``: a network of the recipe. The role names the stream of its random classifier, so two roles differ
in their heads and share pre-trained weights; any random trunk differs as well."""

MakeOptimizer = Callable[..., torch.optim.Optimizer]
"""``make_optimizer(parameters, **overrides)``: the recipe's optimizer; overrides such as ``lr=...`` go to torch."""

FOLLOWS_RECIPE = "follows_recipe"
"""Key of a parameter group. The recipe's schedule and clipping leave a group with ``"follows_recipe": False`` alone."""


class Run(Protocol):
    """The state of the training, as a method sees it."""

    epoch: int
    """0-based epoch over the whole budget."""
    epochs: int
    step: int
    """0-based step in this epoch."""
    steps: int
    """Steps in this epoch."""
    stage: str
    stage_epoch: int
    """0-based epoch within the stage."""
    stage_epochs: int
    device: torch.device
    optimizers: Mapping[str, torch.optim.Optimizer]

    @property
    def progress(self) -> float:
        """Share of the whole budget that is done, in [0, 1)."""
        ...

    def minimize(self, loss: Tensor, *names: str) -> None:
        """One backward pass of a scalar loss and one step of each named optimizer, "main" without a name.

        This is the only way to update parameters: it clips gradients, checks for non-finite values and counts the
        cost. KeyError for a name that ``optimizers`` did not return.
        """
        ...

    def generator(self, name: str) -> torch.Generator:
        """A random stream of the method's own, on the run's device, derived from (seed, name, epoch, step)."""
        ...

    def training_set(self) -> Iterator[Batch]:
        """The whole training set in order, once, as batches with the declared views: for passes that do not train.

        What goes through a network is counted as cost.
        """
        ...

    def batch(self, rows: Tensor) -> Batch:
        """The training images of ``rows``, int64 [n], as a batch of its own with the declared views.

        It has no unlabelled images. Each call draws its own augmentations.
        """
        ...

    def record_selection(self, index: Tensor, kept: Tensor) -> None:
        """Reports which of the samples ``index`` int64 [B] this step trained on (``kept`` bool [B]).

        The harness turns it into the purity and the per-class share of the selection.
        """
        ...


class Method(nn.Module):
    """Base class of every method. A plugin defines at least ``info`` and :meth:`loss`.

    Per-sample memory is a registered buffer ``[num_samples, ...]`` indexed by ``batch.index``: it is saved and resumed
    with the weights. Labels in the data set are never changed.
    """

    info: ClassVar[Info]

    @dataclass(frozen=True)
    class Config:
        """Hyper-parameters, each made by :func:`hparam`. An unknown key is an error that names the nearest one."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A registered buffer or module: type checkers do not know which names a method registers."""

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__()
        self.config, self.task = config, task

    @classmethod
    def needs(cls, config: Any) -> Needs:
        """What the method needs with these settings."""
        return Needs()

    @classmethod
    def remarks(cls, config: Any) -> Sequence[str]:
        """Remarks that tables show for a run with these settings, such as the variant of the method."""
        return ()

    def build(self, make_net: MakeNet) -> None:
        """Makes the networks. Runs once, inside a derived random scope: layers made here are reproducible."""
        self.net = make_net("main")

    def stages(self) -> Sequence[Stage]:
        """The parts of the training, in order."""
        return (Stage("train"),)

    def optimizers(self, stage: str, make_optimizer: MakeOptimizer) -> Mapping[str, torch.optim.Optimizer]:
        """Optimizers by name, new ones for each stage.

        The harness applies the recipe's schedule to their groups, except to those with ``"follows_recipe": False``.
        """
        return {"main": make_optimizer(self.parameters())}

    def on_stage_start(self, stage: str, run: Run) -> None:
        """Called before the first epoch of a stage, in training mode."""

    def on_epoch_start(self, run: Run) -> None:
        """Called before each epoch, after the schedule has set the learning rates."""

    def on_epoch_end(self, run: Run) -> None:
        """Called after each epoch, before the evaluation."""

    def on_fit_end(self, run: Run) -> None:
        """Called once after the last epoch, before the last evaluation."""

    def epoch_indices(self, labels: Tensor, generator: torch.Generator) -> Tensor | None:
        """A sampler is an index array: int64 rows to visit in this epoch, in order. None = the harness's shuffle.

        ``labels`` int64 [N] are the noisy labels, on the CPU, as is ``generator``.
        """
        return None

    def train_step(self, batch: Batch, run: Run) -> Mapping[str, Tensor | float]:
        """The only thing that the training loop calls; returns scalars to log (a detached tensor costs no waiting).

        The default minimizes :meth:`loss`. Returning without ``run.minimize`` counts as a skipped step.
        """
        loss = self.loss(batch, run)
        run.minimize(loss)
        return {"loss": loss.detach()}

    def loss(self, batch: Batch, run: Run) -> Tensor:
        """A scalar loss for methods with one optimizer."""
        raise NotImplementedError(f"{type(self).__name__} must define loss() or train_step()")

    def predict(self, images: Tensor) -> Tensor:
        """Logits [B, C] of normalised, un-augmented images [B, 3, H, W]: what tables report, in eval mode."""
        return self.net(images)

    def other_predictions(self, images: Tensor) -> Mapping[str, Tensor]:
        """Other ways to answer (the second network, the mean of both), evaluated once, after the last epoch."""
        return {}

    def clean_score(self) -> Tensor | None:
        """Scores, float [N]: higher = the label is more likely right. None = the harness scores by the final loss."""
        return None

    @classmethod
    def sample_weight(cls, config: Any, epoch: int, epochs: int) -> SampleWeight | None:
        """For methods that weigh a sample by two of its probabilities: the weight in an epoch (0-based) of ``epochs``.

        Called by reports only, never by training. None = the method does not weigh samples in this way.
        """
        return None

    def sample_buffer(self, name: str, fill: float | int | bool, shape: Iterable[int] = (), **kwargs: Any) -> Tensor:
        """Registers per-sample memory ``[num_samples, *shape]``, saved and resumed with the method."""
        self.register_buffer(name, torch.full((self.task.num_samples, *shape), fill, **kwargs))
        return self.get_buffer(name)


def hparam(default: Any, doc: str, source: str = "") -> Any:
    """A dataclass field with its meaning and where its default comes from, both shown by ``fer-bench methods KEY``."""
    return field(default=default, metadata={"doc": doc, "source": source})
