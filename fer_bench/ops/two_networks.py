"""Settings that Co-teaching, Co-teaching+ and JoCoR share: how much is forgotten, and their official schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fer_bench.method import Run, hparam
from fer_bench.ops.checks import require_positive, require_range
from fer_bench.ops.small_loss import default_num_gradual, set_official_schedule


@dataclass(frozen=True)
class PeerSettings:
    """The part of a Config that the three have in common. Sources: main.py of each, jocor.py of JoCoR.

    >>> settings = PeerSettings(num_gradual=5)
    >>> settings.target(noise_rate=0.2), settings.ramp_epochs(200), PeerSettings(forget_rate=0.3).target(None)
    (0.2, 5, 0.3)
    """

    forget_rate: float | None = hparam(
        None, "final forget rate tau; none = the realised noise rate of the training labels", "official main.py"
    )
    num_gradual: int | None = hparam(
        None,
        "epochs T_k of the ramp; none = 10, or a quarter of a budget of fewer than 40 epochs (2 at least)",
        "official main.py: 10 of 200 epochs",
    )
    counting: Literal["at-least-one", "official"] = hparam(
        "at-least-one", "'official' truncates in floating point and may keep nothing", "official loss.py"
    )
    lr_schedule: Literal["recipe", "official"] = hparam(
        "recipe",
        "'official': official_lr, linear decay to 0 and Adam's beta1 0.9 -> 0.1 from decay_start on",
        "official main.py",
    )
    official_lr: float = hparam(1e-3, "learning rate of lr_schedule='official'", "official main.py")
    decay_start: int | None = hparam(
        None,
        "epoch at which lr_schedule='official' starts to decay; none = 40 % of the budget",
        "official main.py: 80 of 200 epochs",
    )

    def __post_init__(self) -> None:
        if self.forget_rate is not None:
            require_range("forget_rate", self.forget_rate, 0, 1)
        if self.num_gradual is not None:
            require_range("num_gradual", self.num_gradual, low=1)
        if self.decay_start is not None:
            require_range("decay_start", self.decay_start, low=0)
        require_positive("official_lr", self.official_lr)

    def target(self, noise_rate: float | None) -> float:
        """tau: ``forget_rate`` where it is set, else the noise rate of the task. ValueError without either."""
        if self.forget_rate is not None:
            return self.forget_rate
        if noise_rate is None:
            raise ValueError("the noise rate of the task is needed, or forget_rate in the configuration")
        return noise_rate

    def ramp_epochs(self, epochs: int) -> int:
        """T_k in a budget of ``epochs``."""
        return self.num_gradual or default_num_gradual(epochs)

    def schedule_optimizers(self, run: Run) -> None:
        """Sets the official learning rate and beta1 of this epoch, where they are asked for."""
        if self.lr_schedule == "official":
            set_official_schedule(run.optimizers.values(), run.epoch, run.epochs, self.official_lr, self.decay_start)
