"""The recipe of a request: its preset, its overrides, and what comes with pre-trained weights."""

from __future__ import annotations

from pathlib import Path

from fer_bench.core.presets import load_preset
from fer_bench.core.spec import Recipe
from fer_bench.plugins.own_backbone import OwnBackbone, own_backbone
from fer_bench.sweep.request import Request


def resolve_recipe(request: Request) -> tuple[Recipe, Path | None]:
    """The preset with its overrides, and the file of pre-trained weights if there is one.

    Weights that come with a normalisation replace the mean and std of the preset, so these are part of the key. A mean
    or std among the overrides of the request is kept.

    Raises:
        SpecError: The backbone or a transform is unknown, or the weights are missing or do not fit it.
    """
    from fer_bench.engine.transforms import check_transforms
    from fer_bench.models.networks import check_backbone, make_network
    from fer_bench.models.pretrained import find_weights

    own, overrides = requested_backbone(request), dict(request.overrides)
    if own is not None:
        overrides["backbone"] = own.id
    recipe = load_preset(request.preset, **overrides)
    if own is None:
        check_backbone(recipe.backbone)
    check_transforms(recipe.augmentation.transforms, recipe.image_size)
    wanted = request.pretrained or recipe.pretrained
    if not wanted:
        return recipe, None
    found = find_weights(wanted, recipe.backbone)
    recipe = load_preset(request.preset, **{**found.normalisation, **overrides, "pretrained": found.id})
    make = own.load() if own else None
    make_network(recipe.backbone, 2, seed=0, role="check", pretrained=found.id, weights=found.path, own=make)
    return recipe, found.path


def requested_backbone(request: Request) -> OwnBackbone | None:
    """The function of the user that makes the networks; None for a network of fer-bench or timm."""
    return own_backbone(load_preset(request.preset, **request.overrides).backbone)
