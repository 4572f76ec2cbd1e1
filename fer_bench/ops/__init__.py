"""Pieces that more than one method uses. A method imports from here and from ``fer_bench.method``, nothing else."""

from fer_bench.ops.agreement import bhattacharyya, jensen_shannon, kl_divergence, mean_log_probability
from fer_bench.ops.backbone_stages import copied, follow, resolution_stages
from fer_bench.ops.checks import require_positive, require_range
from fer_bench.ops.class_weights import effective_number, effective_number_weights
from fer_bench.ops.consistency import class_activation_maps, flip_consistency, mirror, pooled_linear_classifier
from fer_bench.ops.heatmaps import adaptive_wing, gaussian_heatmaps, heatmap_weights, landmark_cells
from fer_bench.ops.mentor import (
    MentorNetwork,
    area_under_roc,
    curriculum_table,
    data_driven_table,
    fit_mentor,
    split_table,
)
from fer_bench.ops.meta_sampler import class_draw_probability, initial_rates, straight_through_loss
from fer_bench.ops.sampling import (
    class_aware_rows,
    class_cycle_rows,
    class_probability,
    generator_shuffle,
    independent_rows,
    progressive_probability,
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
    "adaptive_wing",
    "area_under_roc",
    "bhattacharyya",
    "class_activation_maps",
    "class_aware_rows",
    "class_cycle_rows",
    "class_draw_probability",
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
    "flip_consistency",
    "follow",
    "forget_rate_at",
    "gaussian_heatmaps",
    "generator_shuffle",
    "heatmap_weights",
    "independent_rows",
    "initial_rates",
    "jensen_shannon",
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
    "progressive_probability",
    "require_positive",
    "require_range",
    "resolution_stages",
    "set_official_schedule",
    "shuffled_cycle",
    "small_loss",
    "small_loss_exchange",
    "split_table",
    "straight_through_loss",
]
