"""Where the parts of a drawn face are, given identity, pose and facial action units.

Face frame: x to the image's right, y down, origin between nose and eyes, half the head's height is about 1. Left and
right mean left and right in the image. All results are bit for bit equal on every machine: see
:mod:`fer_bench.data.synthetic.render`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 23, 25, 26)
"""The FACS action units that the face can show (Ekman & Friesen 1978); columns of the ``aus`` arrays."""

Values = Mapping[str, np.ndarray]
"""Named per-face numbers, each float32 [N]; names and ranges are in ``synthetic.IDENTITY`` and ``synthetic.IMAGE``."""


def geometry(p: Values, aus: np.ndarray) -> dict[str, np.ndarray]:
    """Computes positions and sizes of the features in the face frame.

    Args:
        p: Identity and image parameters.
        aus: [N, len(AUS)] float32, intensities of the action units: 0 = absent, 1 = FACS level E.

    Returns:
        float32 [N] for each feature.

    What each unit does follows the FACS manual's appearance changes: 1/2 raise the inner/outer brow, 4 lowers the brow
    and draws it together, 5 raises the upper lid, 6 raises the cheek and with it the lower lid, 7 tightens the lids,
    9 wrinkles the nose, 10 raises the upper lip, 12/15 pull the lip corners up/down, 17 raises the chin, 20 stretches
    the lips, 23 tightens them, 25 parts them, 26 drops the jaw.
    """
    au = {unit: aus[:, column] for column, unit in enumerate(AUS)}
    f = np.float32
    brow_y = p["eye_y"] - p["brow_gap"]
    lower = f(0.085) * au[4] + f(0.05) * au[9]
    jaw = f(0.2) * au[26]
    part = f(0.035) * au[25] + f(0.13) * au[26] + f(0.02) * au[10] * au[25]
    lips = f(1) - f(0.62) * np.minimum(au[23], f(1.2)) - f(0.15) * au[12]
    return {
        "brow_in": brow_y + p["brow_tilt"] - f(0.18) * au[1] + f(1.35) * lower,
        "brow_mid": brow_y - p["brow_arch"] - f(0.11) * au[1] - f(0.11) * au[2] + lower,
        "brow_out": brow_y - p["brow_tilt"] - f(0.17) * au[2] + f(0.03) * au[1] + f(0.35) * lower,
        "brow_x": p["eye_x"] - f(0.015) - f(0.035) * au[4],
        "lid_up": np.maximum(p["eye_open"] * (f(1) + f(0.9) * au[5] - f(0.45) * au[7] - f(0.12) * au[9]), f(0.006)),
        "lid_low": np.maximum(
            p["eye_open"] * (f(0.75) + f(0.1) * au[5] - f(0.6) * au[7] - f(0.5) * au[6] - f(0.2) * au[9]), f(0.004)
        ),
        "nose_y": p["nose_y"] - f(0.035) * au[9] - f(0.008) * au[10],
        "nose_w": p["nose_w"] * (f(1) + f(0.18) * au[9] + f(0.08) * au[10]),
        "mouth_y": p["mouth_y"] + f(0.28) * jaw - f(0.05) * au[17] - f(0.025) * au[10],
        "mouth_w": p["mouth_w"] * (f(1) + f(0.3) * au[12] + f(0.34) * au[20] - f(0.22) * au[23] - f(0.25) * au[26]),
        "corner": p["mouth_rest"] - f(0.17) * au[12] + f(0.15) * au[15] + f(0.04) * au[20] + f(0.02) * au[17],
        "skew": p["skew"] * (au[12] + au[10] + au[15]),
        "gap_up": f(0.35) * part + f(0.07) * au[10],
        "gap_low": f(0.9) * part + f(0.02) * au[20] * au[25],
        "lip_up": p["lip_up"] * lips * (f(1) - f(0.2) * au[10]),
        "lip_low": p["lip_low"] * lips * (f(1) + f(0.25) * au[17]),
        "chin": p["head_h"] + jaw - f(0.015) * au[17],
        "turn_x": f(0.055) * p["yaw"],
        "turn_y": f(0.035) * p["pitch"],
        "nose_turn": f(0.035) * p["yaw"],
    }


def landmarks(p: Values, g: Values) -> np.ndarray:
    """Computes 19 points in the order of AFLW, float32 [N, 19, 2]: (x, y) as fractions of width and height.

    0-2 left brow outer/mid/inner, 3-5 right brow inner/mid/outer, 6-8 left eye outer/centre/inner, 9-11 right eye
    inner/centre/outer, 12-14 nose left wing/tip/right wing, 15-17 mouth left/centre/right, 18 chin. This is the order
    of the landmark files of LA-Net.
    """
    f = np.float32
    brow, zero = {-1: "brow_in", 0: "brow_mid", 1: "brow_out"}, np.zeros_like(p["eye_x"])
    brows: list[tuple[np.ndarray, np.ndarray]] = []
    eyes: list[tuple[np.ndarray, np.ndarray]] = []
    for side in (-1, 1):
        near = f(1) - f(side) * FORESHORTEN * p["yaw"]
        for end in (-side, 0, side):  # in image order, left to right; 1 is the outer end
            brows.append((f(side) * (g["brow_x"] * near + f(end) * p["brow_len"]), g[brow[end]]))
            eyes.append((f(side) * (p["eye_x"] * near + f(end) * p["eye_w"]), p["eye_y"] - f(end) * p["eye_slant"]))
    nose = [(f(end) * g["nose_w"] + g["nose_turn"], g["nose_y"] - f(0 if end else 0.02)) for end in (-1, 0, 1)]
    mouth = [
        (-g["mouth_w"], g["mouth_y"] + g["corner"] - g["skew"]),
        (zero, g["mouth_y"] + f(0.5) * (g["gap_low"] - g["gap_up"])),
        (g["mouth_w"], g["mouth_y"] + g["corner"] + g["skew"]),
    ]
    inner = [*brows, *eyes, *nose, *mouth]
    xs = np.stack([x + g["turn_x"] for x, _ in inner] + [zero], axis=1)  # the chin belongs to the outline
    ys = np.stack([y + g["turn_y"] for _, y in inner] + [g["chin"]], axis=1)
    cos, sin = rotation(p["roll"])
    scale = p["scale"]
    column = (slice(None), None)
    u = scale[column] * (cos[column] * xs - sin[column] * ys) + p["shift_x"][column]
    v = scale[column] * (sin[column] * xs + cos[column] * ys) + p["shift_y"][column]
    return np.stack([u, v], axis=2) * np.float32(0.5) + np.float32(0.5)


FORESHORTEN = np.float32(0.1)
"""How much nearer to the midline an eye is on the side that the head is turned to, at full yaw."""


def rotation(half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine, float32, of the angle whose half has this tangent: rational, hence exact on every machine."""
    t = half.astype(np.float64)
    return ((1 - t * t) / (1 + t * t)).astype(np.float32), (2 * t / (1 + t * t)).astype(np.float32)
