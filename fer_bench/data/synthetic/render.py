"""Faces drawn from numbers: action units move a parametric face, the face is shaded and composited in float32.

Every pixel is the result of elementwise + - * / sqrt, min, max, where, floor and abs on float32 arrays. Those are
correctly rounded by IEEE 754, so the images are equal bit for bit on every machine; library calls whose last digit may
differ (exp, sin, pow, dot, convolutions, pairwise sums) are not used. No operation mixes two faces, so a face does not
depend on the chunk that it is rendered in.

Face frame: x to the image's right, y down, origin between nose and eyes, half the head's height is about 1.
Left and right mean left and right in the image.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fer_bench.data.synthetic.geometry import AUS, FORESHORTEN, Values, geometry, rotation

Length = np.ndarray | np.float32
"""A length in face units or a tone in [0, 1]: per face, per pixel, or one for all."""


def _step(t: np.ndarray) -> np.ndarray:
    """Smooth step of t clipped to [0, 1]."""
    t = np.minimum(np.maximum(t, np.float32(0)), np.float32(1))
    return t * t * (np.float32(3) - np.float32(2) * t)


class _Canvas:
    """Three colour planes float32 [n, S, S] in [0, 1], and the width of an anti-aliased edge in face units."""

    def __init__(self, shape: tuple[int, int, int], pixel: np.ndarray) -> None:
        self.planes = [np.zeros(shape, np.float32) for _ in range(3)]
        self.inverse = np.float32(1) / (np.float32(1.6) * pixel)

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Coverage in [0, 1] of a shape, from a signed distance (negative inside)."""
        return _step(np.float32(0.5) - distance * self.inverse)

    def paint(self, alpha: np.ndarray, colour: tuple[Length, ...]) -> None:
        """Lay a colour (per face or per pixel) over the planes."""
        for plane, tone in zip(self.planes, colour, strict=True):
            plane += alpha * (tone - plane)

    def shade(self, factor: np.ndarray) -> None:
        """Multiply all planes."""
        for plane in self.planes:
            plane *= factor


def _ellipse(x: np.ndarray, y: np.ndarray, a: Length, b: Length) -> np.ndarray:
    """First-order signed distance to an ellipse with half axes a, b."""
    u, v = x / a, y / b
    return (np.sqrt(u * u + v * v) - np.float32(1)) * np.minimum(a, b)


def _box(x: np.ndarray, y: np.ndarray, a: Length, b: Length, corner: Length) -> np.ndarray:
    """Signed distance to a rectangle with half sides a, b and rounded corners."""
    zero = np.float32(0)
    u, v = np.abs(x) - a + corner, np.abs(y) - b + corner
    p, q = np.maximum(u, zero), np.maximum(v, zero)
    return np.sqrt(p * p + q * q) + np.minimum(np.maximum(u, v), zero) - corner


def _blob(x: np.ndarray, y: np.ndarray, a: Length, b: Length) -> np.ndarray:
    """A soft spot, 1 in the middle and 0 from the ellipse (a, b) on."""
    u, v = x / a, y / b
    return _step(np.float32(1) - (u * u + v * v))


def draw(p: Values, aus: np.ndarray, grain: np.ndarray) -> np.ndarray:
    """Draws faces.

    Args:
        p: Parameters, each float32 [n].
        aus: [n, len(AUS)] float32, intensities of the action units.
        grain: [n, 3, S, S] float32 in [-1, 1), the sensor noise before its strength.

    Returns:
        uint8 [n, 3, S, S], RGB.
    """
    n, _, size, _ = grain.shape
    g = {name: value[:, None, None] for name, value in geometry(p, aus).items()}
    q = {name: value[:, None, None] for name, value in p.items()}
    au = {unit: aus[:, column][:, None, None] for column, unit in enumerate(AUS)}
    centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - np.float32(1)
    cos, sin = (value[:, None, None] for value in rotation(p["roll"]))
    u, v = (centres[None, None, :] - q["shift_x"]) / q["scale"], (centres[None, :, None] - q["shift_y"]) / q["scale"]
    x, y = cos * u + sin * v, cos * v - sin * u
    canvas = _Canvas((n, size, size), np.float32(2 / size) / q["scale"])
    _background(canvas, q, u, v)
    head = _head(canvas, q, g, x, y)
    xi, yi = x - g["turn_x"], y - g["turn_y"]  # frame of the inner features, which move more than the outline
    _skin_folds(canvas, q, g, au, xi, yi, head)
    _eyes(canvas, q, g, xi, yi)
    _nose(canvas, q, g, xi - g["nose_turn"], yi)
    _mouth(canvas, q, g, au, xi, yi)
    _light(canvas, q, x, y, head)
    _hair_and_brows(canvas, q, g, x, y, xi, yi)
    _occlude(canvas, q, xi, yi)
    return _camera(canvas.planes, q, grain)


def _tone(q: Values, name: str) -> tuple[np.ndarray, ...]:
    """A colour parameter: three planes."""
    return q[name + "_r"], q[name + "_g"], q[name + "_b"]


def _scaled(colour: tuple[np.ndarray, ...], *by: float) -> tuple[np.ndarray, ...]:
    return tuple(tone * np.float32(factor) for tone, factor in zip(colour, by, strict=True))


def _skin(q: Values) -> tuple[np.ndarray, ...]:
    """Skin colour from very light to very dark, with some spread in redness."""
    f, dark = np.float32, q["skin"]
    return (
        f(0.95) - f(0.58) * dark,
        f(0.79) - f(0.55) * dark - f(0.05) * q["ruddy"],
        f(0.69) - f(0.53) * dark - f(0.06) * q["ruddy"],
    )


def _hair(q: Values) -> tuple[np.ndarray, ...]:
    """Hair colour: black to blond along ``hair``, to grey with ``grey``."""
    f, light, grey = np.float32, q["hair"], np.maximum(q["grey"] - np.float32(0.7), np.float32(0)) * np.float32(2.2)
    return (
        f(0.08) + f(0.66) * light + grey * (f(0.65) - f(0.6) * light),
        f(0.06) + f(0.46) * light * (f(0.6) + f(0.4) * light) + grey * (f(0.65) - f(0.4) * light),
        f(0.05) + f(0.26) * light * light + grey * (f(0.66) - f(0.2) * light),
    )


def _background(canvas: _Canvas, q: Values, u: np.ndarray, v: np.ndarray) -> None:
    """A gradient, a soft spot and stripes; then neck and clothes."""
    f = np.float32
    mix = _step(f(0.5) + f(0.4) * (q["back_dx"] * u + q["back_dy"] * v))
    canvas.paint(np.ones_like(canvas.planes[0]), _tone(q, "back"))
    canvas.paint(mix, _tone(q, "wall"))
    canvas.paint(f(0.7) * _blob(u - q["spot_x"], v - q["spot_y"], q["spot_size"], q["spot_size"]), _tone(q, "spot"))
    wave = (u * q["back_dy"] - v * q["back_dx"]) * q["stripes"]
    canvas.shade(f(1) - q["stripe_depth"] * np.abs(wave - np.floor(wave) - f(0.5)))
    canvas.paint(canvas.cover(_ellipse(u, v - f(1.95), q["shoulder"], f(0.75))), _tone(q, "cloth"))


def _head(canvas: _Canvas, q: Values, g: Values, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Hair behind the head, neck, ears and the skin of the head; returns the head's coverage."""
    f = np.float32
    skin, hair = _skin(q), _hair(q)
    long = f(0.15) + f(1.0) * np.maximum(q["hair_long"] - f(0.55), f(0)) * f(2.2)
    behind = _box(x, y + f(0.5) - f(0.5) * long, q["head_w"] + q["hair_volume"], f(0.55) + f(0.5) * long, f(0.45))
    canvas.paint(canvas.cover(behind), _scaled(hair, 0.75, 0.75, 0.75))
    neck = _box(x, y - f(1.1), f(0.56) * q["head_w"], f(0.55), f(0.1))
    canvas.paint(canvas.cover(neck), _scaled(skin, 0.72, 0.68, 0.66))
    side = np.abs(x)
    ears = _ellipse(side - q["head_w"] - f(0.01), y - f(0.02), q["ear"], f(1.9) * q["ear"])
    canvas.paint(canvas.cover(ears), _scaled(skin, 0.88, 0.8, 0.78))
    down = np.minimum(np.maximum(y, f(0)), f(1.2))
    width = q["head_w"] * (f(1) - q["taper"] * down * down)
    height = np.where(y > f(0), g["chin"], q["head_h"])
    a, b = x / width, y / height
    head = canvas.cover((np.sqrt(a * a + b * b) - f(1)) * q["head_w"])
    canvas.paint(head, skin)
    return head


def _skin_folds(
    canvas: _Canvas, q: Values, g: Values, au: Mapping[int, np.ndarray], x: np.ndarray, y: np.ndarray, head: np.ndarray
) -> None:
    """Blush, beard shadow and the furrows that action units make (forehead, glabella, nose root, cheeks, chin)."""
    f = np.float32
    side = np.abs(x)
    depth = f(0.5) + f(0.5) * q["age"]
    brow_top = g["brow_mid"]
    # forehead lines: a triangle wave above the brows, faint with age, deep with AU1 and AU2
    wave = (y - brow_top - f(0.5) * x * x * (au[1] - au[2])) * f(8)
    lines = np.maximum(np.abs(wave - np.floor(wave) - f(0.5)) * f(4) - f(1), f(0))
    forehead = _blob(x, y - brow_top + f(0.2), f(0.5), f(0.22))
    folds = lines * forehead * (f(0.05) * q["age"] + f(0.5) * depth * (f(0.5) * au[1] + f(0.5) * au[2]))
    # two upright furrows between the brows (AU4), cross lines on the nose root (AU9)
    root = q["eye_y"] - f(0.08)
    folds = folds + f(0.75) * depth * au[4] * _blob(side - f(0.045), y - root + f(0.05), f(0.03), f(0.13))
    cross = y * f(16)
    ridge = np.maximum(np.abs(cross - np.floor(cross) - f(0.5)) * f(4) - f(1), f(0))
    folds = folds + f(0.8) * depth * au[9] * ridge * _blob(side - f(0.05), y - root - f(0.13), f(0.11), f(0.13))
    # nasolabial fold from the nose wing past the lip corner: AU9, 10, 12, 6; a little of it with age
    along = (y - g["nose_y"] + f(0.03)) / (g["mouth_y"] + g["corner"] - g["nose_y"] + f(0.1))
    fold_x = g["nose_w"] + f(0.035) + (g["mouth_w"] + f(0.03) - g["nose_w"]) * along * (f(0.55) + f(0.45) * along)
    strength = f(0.08) * q["age"] + f(0.45) * depth * np.minimum(au[12] + f(0.9) * au[10] + f(0.8) * au[9], f(1.3))
    near = np.maximum(f(1) - np.abs(side - fold_x) * f(22), f(0))
    folds = folds + strength * near * _step((along + f(0.1)) * f(5)) * _step((f(1.05) - along) * f(5))
    # bulge under the eye and crow's feet (AU6), bag lines with age
    cheek_y = q["eye_y"] + f(1.5) * q["eye_open"] + f(0.05)
    under = np.maximum(f(1) - np.abs(y - cheek_y - f(0.8) * (side - q["eye_x"]) * (q["eye_x"] - side)) * f(26), f(0))
    under = under * _blob(side - q["eye_x"], y - cheek_y, f(0.2), f(0.12))
    folds = folds + under * (f(0.1) * q["age"] + f(0.35) * au[6] + f(0.12) * au[7])
    # dimpled chin (AU17)
    folds = folds + f(0.3) * au[17] * _blob(x, y - g["mouth_y"] - f(0.17), f(0.16), f(0.05))
    canvas.shade(f(1) - head * np.minimum(folds, f(0.7)))
    red = _blob(side - q["eye_x"] - f(0.06), y - f(0.26) + f(0.06) * au[6], f(0.24), f(0.2)) * q["blush"]
    for plane, amount in zip(canvas.planes, (0.06, -0.06, -0.05), strict=True):
        plane += f(amount) * red * head
    canvas.shade(f(1) + f(0.1) * head * au[6] * _blob(side - q["eye_x"] - f(0.02), y - f(0.18), f(0.17), f(0.12)))
    # beard: stubble to full; leaves the lips to be painted over
    grown = np.minimum(np.maximum(q["beard"] - f(0.68), f(0)) * f(4), f(0.9))
    jaw = _step((y - f(0.3) - f(0.5) * (f(0.6) - side)) * f(7)) * head
    moustache = _blob(side - f(0.09), y - f(0.5) * (g["nose_y"] + g["mouth_y"]) - f(0.01), f(0.2), f(0.09))
    canvas.paint(grown * np.maximum(jaw, moustache), _scaled(_hair(q), 0.9, 0.9, 0.9))


def _eyes(canvas: _Canvas, q: Values, g: Values, x: np.ndarray, y: np.ndarray) -> None:
    """Sockets, eyeballs between two parabolic lids, iris, pupil, glint, lash line."""
    f = np.float32
    sign = np.where(x < f(0), f(-1), f(1))
    along = np.abs(x) - q["eye_x"] * (f(1) - sign * FORESHORTEN * q["yaw"])
    level = y - q["eye_y"] + q["eye_slant"] * along / q["eye_w"]
    t = along / q["eye_w"]
    arch = f(1) - t * t
    over, below = level + g["lid_up"] * arch, g["lid_low"] * arch - level  # both positive inside
    socket = _blob(along, level + f(0.03), f(1.5) * q["eye_w"], f(0.15))
    canvas.shade(f(1) - (f(0.1) + f(0.12) * q["age"]) * socket)
    crease = np.maximum(f(1) - np.abs(level + g["lid_up"] * arch + f(0.035)) * f(45), f(0)) * _step(arch * f(2))
    canvas.shade(f(1) - f(0.28) * crease)
    inside = canvas.cover(-np.minimum(over, below))
    white = f(0.93)
    canvas.paint(inside, (white, f(0.91), f(0.89)))
    ax, ay = along - sign * q["gaze_x"], level - q["gaze_y"] + f(0.008)
    radius = f(0.052)
    distance = np.sqrt(ax * ax + ay * ay)
    iris = (f(0.12) + f(0.3) * q["iris"], f(0.09) + f(0.4) * q["iris"], f(0.07) + f(0.5) * q["iris"] * q["iris"])
    canvas.paint(inside * canvas.cover(distance - radius), iris)
    canvas.paint(inside * canvas.cover(distance - f(0.025)), (f(0.03), f(0.03), f(0.03)))
    canvas.paint(inside * f(0.9) * canvas.cover(_norm(ax - f(0.016), ay + f(0.016)) - f(0.011)), (f(1), f(1), f(1)))
    lash = canvas.cover(np.abs(over) - f(0.011) - f(0.008) * q["lashes"]) * _step((f(1.12) - np.abs(t)) * f(9))
    canvas.paint(f(0.85) * lash, (f(0.1), f(0.07), f(0.06)))
    rim = canvas.cover(np.abs(below) - f(0.005)) * _step((f(1.05) - np.abs(t)) * f(9))
    canvas.shade(f(1) - f(0.45) * rim)


def _norm(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y)


def _nose(canvas: _Canvas, q: Values, g: Values, x: np.ndarray, y: np.ndarray) -> None:
    """Shaded sides, highlight on the ridge, wings and nostrils."""
    f = np.float32
    side = np.abs(x)
    middle = f(0.5) * (q["eye_y"] + g["nose_y"])
    length = f(0.62) * (g["nose_y"] - q["eye_y"])
    flank = _blob(side - f(0.6) * g["nose_w"], y - middle, f(0.05), length)
    ridge = _blob(x, y - middle - f(0.03), f(0.045), length)
    tip = _blob(side - g["nose_w"], y - g["nose_y"], f(0.045), f(0.06))
    base = _blob(x, y - g["nose_y"] - f(0.055), f(1.1) * g["nose_w"], f(0.045))
    canvas.shade(f(1) - f(0.16) * flank + f(0.14) * ridge - f(0.26) * tip - f(0.22) * base)
    nostril = _ellipse(side - f(0.5) * g["nose_w"], y - g["nose_y"] - f(0.022), f(0.3) * g["nose_w"], f(0.019))
    canvas.paint(f(0.75) * canvas.cover(nostril), _scaled(_skin(q), 0.3, 0.22, 0.2))


def _mouth(canvas: _Canvas, q: Values, g: Values, au: Mapping[int, np.ndarray], x: np.ndarray, y: np.ndarray) -> None:
    """Lips around an opening bounded by two parabolas; teeth, tongue and the line of the closed mouth."""
    f = np.float32
    t = x / g["mouth_w"]
    square = t * t
    arch = f(1) - square
    level = y - g["mouth_y"] - g["corner"] * square - g["skew"] * t
    top, bottom = g["gap_up"] * arch, g["gap_low"] * arch
    cupid = arch * (f(0.75) + f(0.9) * square) - f(0.3) * np.maximum(f(0.16) - np.abs(t), f(0))
    upper, lower = level + top + g["lip_up"] * cupid, bottom + g["lip_low"] * arch - level
    lips = canvas.cover(-np.minimum(upper, lower))
    red = q["lipstick"]
    skin = _skin(q)
    tone = (skin[0] * (f(0.86) - f(0.05) * red), skin[1] * (f(0.68) - f(0.3) * red), skin[2] * (f(0.7) - f(0.24) * red))
    canvas.paint(lips, tone)
    canvas.shade(f(1) - lips * np.where(level < f(0), f(0.16), f(-0.05)))
    inner_top, inner_bottom = level + top, bottom - level
    opening = canvas.cover(-np.minimum(inner_top, inner_bottom))
    canvas.paint(opening, (f(0.2), f(0.06), f(0.06)))
    tongue = opening * _blob(x, level - g["gap_low"], f(0.75) * g["mouth_w"], f(0.09))
    canvas.paint(f(0.8) * tongue, (f(0.62), f(0.28), f(0.28)))
    bare = f(0.012) + f(0.035) * np.minimum(au[12] + au[10] + f(0.6) * au[20], f(1.2))
    teeth = opening * canvas.cover(inner_top - bare) * _step((f(0.94) - np.abs(t)) * f(6))
    canvas.paint(teeth, (f(0.92), f(0.9), f(0.84)))
    line = canvas.cover(np.abs(level) - f(0.009)) * _step((f(1.06) - np.abs(t)) * f(12)) * (f(1) - opening)
    closed = f(1) - _step((g["gap_up"] + g["gap_low"]) * f(25))
    canvas.paint(f(0.8) * line * closed, _scaled(skin, 0.38, 0.25, 0.25))
    pit = _blob(np.abs(x) - g["mouth_w"], y - g["mouth_y"] - g["corner"] - g["skew"] * t, f(0.035), f(0.035))
    canvas.shade(f(1) - f(0.3) * pit)


def _light(canvas: _Canvas, q: Values, x: np.ndarray, y: np.ndarray, head: np.ndarray) -> None:
    """Lambertian shading of the head as half an ellipsoid."""
    f = np.float32
    nx, ny = x / q["head_w"], y / (f(1.08) * q["head_h"])
    nz = np.sqrt(np.maximum(f(1) - f(0.9) * (nx * nx + ny * ny), f(0.02)))
    lit = np.maximum(nx * q["light_x"] + ny * q["light_y"] + nz * f(0.75), f(0))
    factor = q["ambient"] + (f(1.12) - q["ambient"]) * lit * f(1.25)
    canvas.shade(f(1) + head * (factor - f(1)))


def _hair_and_brows(
    canvas: _Canvas, q: Values, g: Values, x: np.ndarray, y: np.ndarray, xi: np.ndarray, yi: np.ndarray
) -> None:
    """Brows as parabolic strokes that taper outwards; hair over the forehead with strands; glasses."""
    f = np.float32
    sign = np.where(xi < f(0), f(-1), f(1))
    hair = _hair(q)
    along = np.abs(xi) - g["brow_x"] * (f(1) - sign * FORESHORTEN * q["yaw"])
    t = along / q["brow_len"]
    bend = f(0.5) * (g["brow_out"] + g["brow_in"]) - g["brow_mid"]
    line = g["brow_mid"] + f(0.5) * (g["brow_out"] - g["brow_in"]) * t + bend * t * t
    thick = q["brow_thick"] * (f(1) - f(0.35) * t)
    brow = canvas.cover(np.abs(yi - line) - thick) * _step((f(1.05) - np.abs(t)) * f(8))
    canvas.paint(f(0.9) * brow, _scaled(hair, 0.6, 0.6, 0.6))
    fringe = y - q["hair_line"] - q["hair_round"] * x * x - q["parting"] * x
    top = _ellipse(x, y + f(0.12), q["head_w"] + f(0.6) * q["hair_volume"], q["head_h"] - f(0.06) + q["hair_volume"])
    cap = np.where(q["bald"] > f(0.9), f(0), f(1)) * canvas.cover(np.maximum(fringe, top))
    wave = (x + f(0.3) * y) * q["strands"]
    strand = f(0.8) + f(0.4) * np.abs(wave - np.floor(wave) - f(0.5))
    canvas.paint(cap, tuple(tone * strand for tone in hair))
    # glasses: a rim around each eye and the bridge; sunglasses fill the lens
    worn = np.where(q["glasses"] > f(0.78), f(1), f(0))
    dark = np.where(q["cover"] > f(0.985), f(1), f(0))
    away = np.abs(xi) - q["eye_x"]
    lens = _box(away, yi - q["eye_y"] - f(0.01), f(0.2), q["lens"], q["lens"] * q["lens_round"])
    rim = canvas.cover(np.abs(lens) - f(0.014))
    bridge = canvas.cover(_box(xi, yi - q["eye_y"] + f(0.02), q["eye_x"] - f(0.19), f(0.014), f(0.01)))
    canvas.paint(np.maximum(worn, dark) * np.maximum(rim, bridge), _tone(q, "rim"))
    canvas.paint((f(0.95) * dark + f(0.1) * worn * (f(1) - dark)) * canvas.cover(lens), (f(0.13), f(0.12), f(0.13)))


def _occlude(canvas: _Canvas, q: Values, x: np.ndarray, y: np.ndarray) -> None:
    """Sometimes a patch anywhere, a hand over a part of the face, or a mask over mouth and nose."""
    f = np.float32
    kind = q["cover"]
    patch, hand = (kind > f(0.88)) & (kind <= f(0.93)), (kind > f(0.93)) & (kind <= f(0.97))
    mask = (kind > f(0.97)) & (kind <= f(0.985))
    centre_x = np.where(mask, f(0), q["cover_x"])
    centre_y = np.where(mask, f(0.62), q["cover_y"])
    width, height = np.where(mask, f(0.58), q["cover_w"]), np.where(mask, f(0.36), q["cover_h"])
    dx, dy = x - centre_x, y - centre_y
    lean = np.where(mask, f(0), q["cover_lean"])
    dx, dy = dx + lean * dy, dy - lean * dx
    shape = canvas.cover(_box(dx, dy, width, height, np.where(patch, f(0.03), f(0.14))))
    wave = dx * f(7)  # the gaps between fingers; on a patch or a mask a faint weave
    gap = np.maximum(np.abs(wave - np.floor(wave) - f(0.5)) * f(4) - f(1.4), f(0)) * np.where(hand, f(0.5), f(0.08))
    tones = zip(_skin(q), _tone(q, "cover"), strict=True)
    colour = tuple(np.where(hand, skin * f(0.9), tone) * (f(1) - gap) for skin, tone in tones)
    canvas.paint(shape * np.where(patch | hand | mask, f(1), f(0)), colour)


def _camera(planes: list[np.ndarray], q: Values, grain: np.ndarray) -> np.ndarray:
    """Exposure, contrast, colour cast, blur by shift and add, sensor noise, 8 bits: uint8 [n, 3, S, S]."""
    f = np.float32
    size = grain.shape[2]
    reach = max(1, (size + 24) // 48)  # about the same blur at every size
    rows = np.arange(size)
    before, after = np.maximum(rows - reach, 0), np.minimum(rows + reach, size - 1)
    weight = q["blur"]
    out = np.empty(grain.shape, np.uint8)
    for channel, (plane, cast) in enumerate(zip(planes, _tone(q, "cast"), strict=True)):
        value = (plane - f(0.5)) * q["contrast"] + q["exposure"]
        value = value * cast
        value = value + weight * (value[:, :, before] + value[:, :, after] - f(2) * value)
        value = value + weight * (value[:, before, :] + value[:, after, :] - f(2) * value)
        value = value + q["noise"] * grain[:, channel]
        value = np.floor(value * f(255) + f(0.5))
        out[:, channel] = np.minimum(np.maximum(value, f(0)), f(255)).astype(np.uint8)
    return out
