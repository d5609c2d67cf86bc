"""Draw a figure's head: hair, face, sunglasses, hat; and the scarf below it.

Units as in figure.py; `r` is half the head's height, `y` the height of its middle.
"""

import numpy as np

from segtrain.data.people.drawing.canvas import Cloth, Ellipse, Line, Pen, Polygon, Shape
from segtrain.data.people.drawing.outfit import Outfit, Part

WHITE = Cloth((250, 250, 248))
INK = Cloth((38, 30, 30))


def draw_back_hair(pen: Pen, outfit: Outfit, r: float, y: float) -> None:
    """Hair behind the head and neck, or to their sides."""
    shapes: dict[str, tuple[Shape, ...]] = {
        "long": (Ellipse((0, y), (1.16 * r, 1.12 * r)), _lock(r, y, 1.14, 1.9)),
        "bob": (Ellipse((0, y), (1.16 * r, 1.1 * r)), _lock(r, y, 1.2, 0.95)),
        "afro": (Ellipse((0, y - 0.25 * r), (1.5 * r, 1.35 * r)),),
        "bun": (Ellipse((0, y - 1.12 * r), (0.5 * r, 0.42 * r)),),
        "ponytail": (Line(((0.6 * r, y - 0.7 * r), (1.35 * r, y - 0.3 * r), (1.45 * r, y + 0.7 * r)), 0.5 * r),),
    }
    if outfit.hair_style in shapes:
        pen.paint(Part.HAIR, outfit.hair, *shapes[outfit.hair_style])


def draw_head(pen: Pen, rng: np.random.Generator, outfit: Outfit, r: float, y: float, front: bool) -> None:
    """Face or back of the head, hair, sunglasses and hat."""
    ears = [Ellipse((side * 0.92 * r, y + 0.1 * r), (0.2 * r, 0.26 * r)) for side in (-1, 1)]
    pen.paint(Part.FACE, outfit.skin, Ellipse((0, y), (0.92 * r, r)), *ears, depth=0.3)
    if front:
        _draw_features(pen, rng, r, y)
        _draw_front_hair(pen, outfit, r, y)
        if outfit.sunglasses is not None:
            _draw_sunglasses(pen, outfit.sunglasses, r, y)
    elif outfit.hair_style != "bald":
        pen.paint(Part.HAIR, outfit.hair, Ellipse((0, y - 0.06 * r), (1.02 * r, 1.02 * r)))
        draw_back_hair(pen, outfit, r, y)
    if outfit.hat is not None:
        _draw_hat(pen, outfit.hat, outfit.hat_style, r, y, front)


def draw_scarf(pen: Pen, rng: np.random.Generator, scarf: Cloth, width: float, y: float, front: bool) -> None:
    """A thick band around the neck, and an end hanging down in front."""
    side = int(rng.choice([-1, 1]))
    if front:
        end = ((side * 0.38 * width, y), (side * 0.46 * width, y + rng.uniform(13, 19)))
        pen.paint(Part.SCARF, scarf, Line(end, 6.4))
    pen.paint(Part.SCARF, scarf, Line(((-0.6 * width, y - 2.4), (0, y + 0.6), (0.6 * width, y - 2.4)), 7.4))


def _lock(r: float, y: float, width: float, length: float) -> Polygon:
    """Hair hanging down on both sides to `length` below the middle of the head."""
    return Polygon(
        (
            (-width * r, y),
            (width * r, y),
            (1.08 * width * r, y + 0.9 * length * r),
            (0.85 * width * r, y + length * r),
            (-0.85 * width * r, y + length * r),
            (-1.08 * width * r, y + 0.9 * length * r),
        )
    )


def _draw_features(pen: Pen, rng: np.random.Generator, r: float, y: float) -> None:
    """Eyes, brows, cheeks, nose and mouth: part of the face in the labels."""
    look, smile = rng.uniform(-0.06, 0.06), rng.uniform(0.02, 0.3)
    for side in (-1, 1):
        eye = (side * 0.38 * r, y + 0.08 * r)
        pen.paint(
            None,
            Cloth((232, 130, 120)),
            Ellipse((side * 0.52 * r, y + 0.46 * r), (0.15 * r, 0.1 * r)),
            depth=0,
        )
        pen.paint(None, WHITE, Ellipse(eye, (0.2 * r, 0.21 * r)), depth=0)
        pen.paint(None, INK, Ellipse((eye[0] + look * r, eye[1]), (0.1 * r, 0.12 * r)), depth=0)
        pen.paint(
            None,
            INK,
            Line(((eye[0] - 0.18 * r, eye[1] - 0.3 * r), (eye[0] + 0.18 * r, eye[1] - 0.3 * r)), 0.07 * r),
            depth=0,
        )
    mouth = (
        (-0.25 * r, y + (0.62 - smile / 2) * r),
        (0, y + (0.6 + smile / 2) * r),
        (0.25 * r, y + (0.62 - smile / 2) * r),
    )
    pen.paint(None, Cloth((150, 50, 52)), Line(mouth, 0.09 * r), depth=0)
    pen.paint(None, Cloth((190, 110, 90)), Line(((0, y + 0.26 * r), (0.05 * r, y + 0.38 * r)), 0.08 * r), depth=0)


def _draw_front_hair(pen: Pen, outfit: Outfit, r: float, y: float) -> None:
    """The hair above the brow, and the locks at the sides of the face."""
    style = outfit.hair_style
    if style == "bald":
        return
    cap: list[Shape] = [Ellipse((0, y - 0.05 * r), (r, 1.05 * r), 0, 200, 340)]
    if style in ("fringe", "bob"):
        cap = [Ellipse((0, y - 0.05 * r), (1.02 * r, 1.07 * r), 0, 192, 348)]
    if style in ("long", "bob"):
        length = 1.25 if style == "long" else 0.8
        cap += [Line(((side * 0.93 * r, y - 0.4 * r), (side * 1.02 * r, y + length * r)), 0.34 * r) for side in (-1, 1)]
    if style == "spiky":
        tips = [(x * r, y - (0.6 if step % 2 else 1.28) * r) for step, x in enumerate(np.linspace(-1.02, 1.02, 11))]
        cap.append(Polygon(((-0.98 * r, y - 0.3 * r), *tips, (0.98 * r, y - 0.3 * r))))
    if style in ("short", "ponytail", "bun"):
        cap += [Line(((side * 0.93 * r, y - 0.4 * r), (side * 0.95 * r, y + 0.02 * r)), 0.2 * r) for side in (-1, 1)]
    pen.paint(Part.HAIR, outfit.hair, *cap)


def _draw_sunglasses(pen: Pen, lens: Cloth, r: float, y: float) -> None:
    eyes = y + 0.08 * r
    lenses = [Ellipse((side * 0.43 * r, eyes), (0.4 * r, 0.31 * r)) for side in (-1, 1)]
    pen.paint(
        Part.SUNGLASSES,
        lens,
        *lenses,
        Line(((-0.94 * r, eyes - 0.1 * r), (0.94 * r, eyes - 0.1 * r)), 0.16 * r),
        depth=0.2,
    )
    for side in (-1, 1):
        glint = Line(
            ((side * 0.43 * r - 0.16 * r, eyes + 0.08 * r), (side * 0.43 * r + 0.02 * r, eyes - 0.14 * r)),
            0.09 * r,
        )
        pen.paint(None, Cloth((205, 225, 240)), glint, depth=0)


def _draw_hat(pen: Pen, hat: Cloth, style: str, r: float, y: float, front: bool) -> None:
    """A dome, and the feature of each style: a rim and bobble, a peak, a wide brim, or a tall crown."""
    rim = y - 0.42 * r
    band = Cloth(hat.accent)
    dome = Ellipse((0, rim), (1.1 * r, 0.95 * r), 0, 180, 360)
    if style == "beanie":
        pen.paint(Part.HAT, WHITE, Ellipse((0, rim - 0.98 * r), (0.3 * r, 0.3 * r)))
        pen.paint(Part.HAT, hat, dome)
        pen.paint(Part.HAT, band, Line(((-0.98 * r, rim), (0.98 * r, rim)), 0.34 * r))
    elif style == "cap":
        pen.paint(Part.HAT, hat, dome)
        if front:
            pen.paint(Part.HAT, band, Ellipse((0, rim + 0.02 * r), (1.0 * r, 0.24 * r)))
        pen.paint(Part.HAT, band, Ellipse((0, rim - 0.95 * r), (0.14 * r, 0.1 * r)))
    elif style == "brim":
        pen.paint(Part.HAT, hat, Ellipse((0, rim), (0.92 * r, 0.98 * r), 0, 180, 360))
        pen.paint(Part.HAT, band, Line(((-0.84 * r, rim - 0.22 * r), (0.84 * r, rim - 0.22 * r)), 0.24 * r))
        pen.paint(Part.HAT, hat, Ellipse((0, rim), (1.65 * r, 0.26 * r)))
    else:
        crown = Polygon(((-0.8 * r, rim), (-0.9 * r, rim - 1.15 * r), (0.9 * r, rim - 1.15 * r), (0.8 * r, rim)))
        pen.paint(Part.HAT, hat, crown)
        pen.paint(Part.HAT, band, Line(((-0.74 * r, rim - 0.24 * r), (0.74 * r, rim - 0.24 * r)), 0.26 * r))
        pen.paint(Part.HAT, hat, Line(((-1.25 * r, rim), (1.25 * r, rim)), 0.24 * r))
