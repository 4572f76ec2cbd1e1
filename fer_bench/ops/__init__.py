"""Pieces that methods are made of. A method imports from here and from ``fer_bench.method``, nothing else.

What only one method uses stands in its own file. Exceptions: the heatmaps of LA-Net and the mentor of MentorNet.
"""

from fer_bench.metrics import area_under_roc
from fer_bench.ops.agreement import kl_divergence, mean_log_probability
from fer_bench.ops.backbone_stages import copied, follow, resolution_stages
from fer_bench.ops.checks import require_positive, require_range
from fer_bench.ops.class_weights import effective_number, effective_number_weights
from fer_bench.ops.consistency import class_activation_maps, mirror, pooled_linear_classifier
from fer_bench.ops.heatmaps import adaptive_wing, gaussian_heatmaps, heatmap_weights, landmark_cells
from fer_bench.ops.mentor import (
    MentorNetwork,
    curriculum_table,
    data_driven_table,
    fit_mentor,
    split_table,
)
from fer_bench.ops.sampling import (
    Shuffle,
    class_probability,
    generator_shuffle,
    independent_rows,
    shuffled_cycle,
)
from fer_bench.ops.small_loss import (
    clean_score_from_losses,
    clearly_better_class,
    default_num_gradual,
    disagreement,
    forget_rate_at,
    keep_count,
    membership,
    official_beta1,
    official_learning_rate,
    positions,
    set_official_schedule,
    small_loss,
    small_loss_exchange,
)
from fer_bench.ops.two_networks import PeerSettings

__all__ = [
    "MentorNetwork",
    "PeerSettings",
    "Shuffle",
    "adaptive_wing",
    "area_under_roc",
    "class_activation_maps",
    "class_probability",
    "clean_score_from_losses",
    "clearly_better_class",
    "copied",
    "curriculum_table",
    "data_driven_table",
    "default_num_gradual",
    "disagreement",
    "effective_number",
    "effective_number_weights",
    "fit_mentor",
    "follow",
    "forget_rate_at",
    "gaussian_heatmaps",
    "generator_shuffle",
    "heatmap_weights",
    "independent_rows",
    "keep_count",
    "kl_divergence",
    "landmark_cells",
    "mean_log_probability",
    "membership",
    "mirror",
    "official_beta1",
    "official_learning_rate",
    "pooled_linear_classifier",
    "positions",
    "require_positive",
    "require_range",
    "resolution_stages",
    "set_official_schedule",
    "shuffled_cycle",
    "small_loss",
    "small_loss_exchange",
    "split_table",
]
