"""Pieces that methods are made of. A method imports from here and from ``fer_bench.method``, nothing else.

What only one method uses is in the file of that method. Exceptions are large units: the heatmaps
and networks of LA-Net, and the pieces of MentorNet.
"""

from fer_bench.metrics import area_under_roc
from fer_bench.ops.agreement import kl_divergence, mean_log_probability
from fer_bench.ops.averages import average_parameters, capped_momentum, copied, follow
from fer_bench.ops.backbone_stages import resolution_stages
from fer_bench.ops.budgets import first_relabelling_epoch, scaled_momentum, total_steps, warm_up_share
from fer_bench.ops.checks import require_positive, require_range
from fer_bench.ops.class_weights import effective_number, effective_number_weights
from fer_bench.ops.consistency import class_activation_maps, mirror, pooled_linear_classifier
from fer_bench.ops.contrast import contrast, queue_places
from fer_bench.ops.deferred import deferral_is_over
from fer_bench.ops.early_learning import clamped_softmax, early_learning_term, label_share
from fer_bench.ops.heatmaps import adaptive_wing, gaussian_heatmaps, heatmap_weights, landmark_cells
from fer_bench.ops.held_out import held_out
from fer_bench.ops.label_losses import LOG_ZERO, label_log_probability, reverse_cross_entropy
from fer_bench.ops.landmark_branch import LandmarkBranches, PairScore, projection
from fer_bench.ops.mentor import (
    MentorNetwork,
    curriculum,
    curriculum_table,
    data_driven_table,
    draw_probability,
    draw_survivors,
    drop_others,
    fit_mentor,
    parse_drop_rates,
    split_table,
    survivor_count,
)
from fer_bench.ops.mixing import Mix, draw_mix
from fer_bench.ops.mixtures import GaussianPair, two_gaussians
from fer_bench.ops.modes import evaluating
from fer_bench.ops.ranking import rank_groups, rank_loss
from fer_bench.ops.sampling import (
    Shuffle,
    balanced_rows,
    budget_rows,
    class_budget,
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
from fer_bench.ops.soft_labels import sharpen
from fer_bench.ops.streams import integer_seed
from fer_bench.ops.two_networks import PeerSettings

__all__ = [
    "LOG_ZERO",
    "GaussianPair",
    "LandmarkBranches",
    "MentorNetwork",
    "Mix",
    "PairScore",
    "PeerSettings",
    "Shuffle",
    "adaptive_wing",
    "area_under_roc",
    "average_parameters",
    "balanced_rows",
    "budget_rows",
    "capped_momentum",
    "clamped_softmax",
    "class_activation_maps",
    "class_budget",
    "class_probability",
    "clean_score_from_losses",
    "clearly_better_class",
    "contrast",
    "copied",
    "curriculum",
    "curriculum_table",
    "data_driven_table",
    "default_num_gradual",
    "deferral_is_over",
    "disagreement",
    "draw_mix",
    "draw_probability",
    "draw_survivors",
    "drop_others",
    "early_learning_term",
    "effective_number",
    "effective_number_weights",
    "evaluating",
    "first_relabelling_epoch",
    "fit_mentor",
    "follow",
    "forget_rate_at",
    "gaussian_heatmaps",
    "generator_shuffle",
    "heatmap_weights",
    "held_out",
    "independent_rows",
    "integer_seed",
    "keep_count",
    "kl_divergence",
    "label_log_probability",
    "label_share",
    "landmark_cells",
    "mean_log_probability",
    "membership",
    "mirror",
    "official_beta1",
    "official_learning_rate",
    "parse_drop_rates",
    "pooled_linear_classifier",
    "positions",
    "projection",
    "queue_places",
    "rank_groups",
    "rank_loss",
    "require_positive",
    "require_range",
    "resolution_stages",
    "reverse_cross_entropy",
    "scaled_momentum",
    "set_official_schedule",
    "sharpen",
    "shuffled_cycle",
    "small_loss",
    "small_loss_exchange",
    "split_table",
    "survivor_count",
    "total_steps",
    "two_gaussians",
    "warm_up_share",
]
