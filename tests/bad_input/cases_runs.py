"""Finished runs that are asked about single images: suspected labels, and trained models."""

from __future__ import annotations

from tests.bad_input.seen import Case
from tests.bad_input.world import both, gone, in_run, malicious, results, run_folder, text, turned

SUSPECTS = (
    Case("an unknown sweep or run", "suspects mien", ("no run 'mien'", "did you mean 'mine'"), make=results),
    Case("an unknown score", "suspects mine --score margn", ("'margn'", "did you mean 'margin'"), make=results),
    Case("no images", "suspects mine --top 0", ("--top 0: 1 image or more",), make=results),
    Case("a budget in per cent", "suspects mine --budget 20", ("--budget 20.0", "above 0 and at most 1"), make=results),
    Case("--top and --budget", "suspects mine --top 5 --budget 0.1", ("give one of them",), make=results),
    Case(
        "an unknown condition",
        "suspects mine --condition clean",
        ("--condition 'clean'", "symmetric 0.2, data seed 0"),
        make=results,
    ),
    Case(
        "other data for the paths",
        "suspects mine --dataset faces",
        ("--dataset faces: the runs were trained on other data",),
        make=both(results, gone("faces/train/anger/0.png")),
    ),
    Case("no data for the paths", "suspects mine --dataset absent", ("absent",), make=results),
    Case(
        "the scores of a run are not here",
        "suspects mine",
        ("the scores of its labels are not on this machine", "run the sweep's command again"),
        1,
        make=in_run(lambda run: (run / "scores.npz").unlink()),
    ),
    Case(
        "the scores of a run are damaged",
        "suspects mine",
        ("scores.npz is damaged (its bytes were changed)",),
        1,
        make=in_run(turned("scores.npz"), summed=True),
    ),
    Case(
        "a CSV file into a folder that is a file",
        "suspects mine --csv taken/x.csv",
        ("taken",),
        1,
        make=both(results, text("taken", "")),
        foreign=r"\[Errno \d+\]",
    ),
)

MODELS = (
    Case("an unknown run", "predict 0123 faces", ("no run '0123'",), make=results, foreign=r"\(\d+ runs\)"),
    Case("no image is named", "predict mine", ("Missing argument 'IMAGES...'",), make=results),
    Case(
        "a sweep with several runs",
        "predict mine faces",
        ("sweep mine has 2 finished runs, and one is needed", "ce, symmetric 0.2, seed 1"),
        make=results,
    ),
    Case(
        "a run that did not keep its model",
        "predict named faces",
        ("did not keep its model", "--keep-model --force"),
        make=results,
    ),
    Case(
        "a model that would run code",
        "predict named faces",
        ("model.safetensors is damaged",),
        1,
        make=both(results, lambda here: malicious("model.safetensors", "pickle")(run_folder(here, "named"))),
        foreign=r"(?<=damaged \().*?(?=\)$)",
    ),
    Case("no such device", "predict named faces --device cuda:99", ("cuda:99",), make=results),
)
