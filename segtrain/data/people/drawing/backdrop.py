"""Draw the background: a wall or a landscape, and objects in the colors of the clothes."""

import cv2
import numpy as np

from segtrain.data.people.drawing.canvas import Canvas, Cloth, Ellipse, Line, Pen, Polygon
from segtrain.data.people.drawing.outfit import random_color


def draw_backdrop(rng: np.random.Generator, size: tuple[int, int]) -> Canvas:
    """Start a canvas of this height and width with a scene on it; its labels are all background."""
    scene = rng.choice(["meadow", "room", "bricks", "blobs", "street"], p=[0.25, 0.25, 0.2, 0.1, 0.2])
    canvas = Canvas(_gradient(rng, size, sky=scene in ("meadow", "street")))
    height, width = size
    pen = Pen(canvas, (0, 0), height / 100)
    right = 100 * width / height
    floor = rng.uniform(62, 82)
    if scene == "meadow":
        _meadow(pen, rng, right, floor)
    elif scene == "street":
        _street(pen, rng, right, floor)
    elif scene == "blobs":
        for _ in range(rng.integers(8, 18)):
            blob = Ellipse(
                (rng.uniform(0, right), rng.uniform(0, 100)),
                (rng.uniform(5, 22), rng.uniform(5, 22)),
                rng.uniform(0, 90),
            )
            pen.paint(None, Cloth(random_color(rng, (0, 1), (0.1, 0.6), (0.4, 0.95))), blob, depth=0.2)
    else:
        _room(pen, rng, right, floor, bricks=scene == "bricks")
    return canvas


def _gradient(rng: np.random.Generator, size: tuple[int, int], sky: bool) -> np.ndarray:
    """A smooth change between two colors with coarse mottling, (H, W, 3) uint8."""
    height, width = size
    hues = (0.5, 0.62) if sky else (0.0, 1.0)
    first, second = (np.array(random_color(rng, hues, (0.08, 0.45), (0.84 if sky else 0.65, 1))) for _ in range(2))
    fraction = np.linspace(0, 1, height)[:, None, None] * np.ones((1, width, 1))
    mottle = cv2.resize(rng.normal(0, rng.uniform(1, 7), (9, 9)), (width, height), interpolation=cv2.INTER_CUBIC)[
        ..., None
    ]
    return np.clip(first + fraction * (second - first) + mottle, 0, 255).astype(np.uint8)


def _meadow(pen: Pen, rng: np.random.Generator, right: float, floor: float) -> None:
    for _ in range(rng.integers(1, 4)):
        x, y = rng.uniform(0, right), rng.uniform(4, 26)
        puffs = [
            Ellipse((x + dx, y + rng.uniform(-2, 2)), (rng.uniform(6, 10), rng.uniform(3, 5))) for dx in (-7, 0, 7)
        ]
        pen.paint(None, Cloth((248, 250, 252)), *puffs, depth=0.12)
    hill = Ellipse((rng.uniform(0, right), floor + 12), (rng.uniform(50, 90), rng.uniform(20, 34)))
    pen.paint(None, Cloth(random_color(rng, (0.25, 0.42), (0.25, 0.5), (0.45, 0.7))), hill, depth=0.2)
    for _ in range(rng.integers(0, 4)):
        x, tall = rng.uniform(0, right), rng.uniform(30, 52)
        pen.paint(None, Cloth((104, 74, 50)), Line(((x, floor + 2), (x, floor - 0.5 * tall)), 4.5))
        leaves = [
            Ellipse((x + dx, floor - tall * fraction), (12, 11)) for dx, fraction in ((-6, 0.62), (6, 0.62), (0, 0.85))
        ]
        pen.paint(None, Cloth(random_color(rng, (0.22, 0.42), (0.4, 0.8), (0.3, 0.65))), *leaves)
    grass = random_color(rng, (0.2, 0.38), (0.35, 0.75), (0.45, 0.8))
    light = random_color(rng, (0.16, 0.3), (0.4, 0.7), (0.6, 0.9))
    pen.paint(
        None,
        Cloth(grass, light, str(rng.choice(["plain", "stripes", "dots"])), rng.uniform(4, 9)),
        _box(0, floor, right, 101),
        depth=0,
    )


def _street(pen: Pen, rng: np.random.Generator, right: float, floor: float) -> None:
    x = -5.0
    while x < right:
        wide, top = rng.uniform(18, 40), rng.uniform(2, 40)
        pen.paint(
            None,
            Cloth(random_color(rng, (0, 1), (0.05, 0.5), (0.45, 0.9))),
            _box(x, top, x + wide, floor + 1),
            depth=0.2,
        )
        pane = Cloth(random_color(rng, (0.1, 0.6), (0.1, 0.5), (0.3, 1)))
        windows = [
            _box(left, y, left + 4.5, y + 6)
            for left in np.arange(x + 4, x + wide - 6, 8)
            for y in np.arange(top + 5, floor - 8, 12)
        ]
        if windows:
            pen.paint(None, pane, *windows, depth=0.3)
        x += wide
    pen.paint(None, Cloth(random_color(rng, (0, 1), (0, 0.12), (0.4, 0.75))), _box(0, floor, right, 101), depth=0)
    kerb = Line(((0, floor + 3), (right, floor + 3)), 1.5)
    pen.paint(None, Cloth((225, 222, 215)), kerb, depth=0)


def _room(pen: Pen, rng: np.random.Generator, right: float, floor: float, bricks: bool) -> None:
    """A papered or bricked wall over a floor, with furniture."""
    if bricks:
        brick, mortar = (
            Cloth(random_color(rng, (0.0, 0.09), (0.3, 0.65), (0.45, 0.85))),
            random_color(rng, (0, 0.1), (0, 0.2), (0.6, 0.9)),
        )
        pen.paint(None, Cloth(mortar), _box(0, 0, right, floor), depth=0)
        tall, wide = rng.uniform(5, 8), rng.uniform(11, 17)
        rows = [(row, y) for row, y in enumerate(np.arange(0, floor, tall))]
        boxes = [
            _box(x, y + 0.5, x + wide - 0.9, y + tall - 0.4)
            for row, y in rows
            for x in np.arange(-wide / 2 * (row % 2), right, wide)
        ]
        pen.paint(None, brick, *boxes, depth=0.2)
    else:
        color, accent = (random_color(rng, (0, 1), (0.05, 0.4), (0.6, 0.98)) for _ in range(2))
        pattern = str(rng.choice(["plain", "pleats", "dots", "checks", "diagonal"]))
        pen.paint(None, Cloth(color, accent, pattern, rng.uniform(5, 14)), _box(0, 0, right, floor), depth=0)
    wood = random_color(rng, (0.05, 0.11), (0.2, 0.6), (0.35, 0.8))
    plank = tuple(int(0.88 * value) for value in wood)
    pen.paint(None, Cloth(wood, plank, "stripes", rng.uniform(4, 9)), _box(0, floor, right, 101), depth=0)  # type: ignore[arg-type]
    pen.paint(None, Cloth((240, 236, 228)), _box(0, floor - 2.5, right, floor), depth=0)
    for _ in range(rng.integers(1, 5)):
        x, cloth = (
            rng.uniform(0, right),
            Cloth(
                random_color(rng, (0, 1), (0.2, 0.9), (0.2, 0.95)),
                (240, 235, 225),
                str(rng.choice(["plain", "stripes", "checks", "dots"])),
                rng.uniform(3, 8),
            ),
        )
        _thing(pen, rng, x, floor, cloth)


def _thing(pen: Pen, rng: np.random.Generator, x: float, floor: float, cloth: Cloth) -> None:
    """One piece of furniture at x."""
    thing = rng.choice(["painting", "lamp", "cabinet", "sofa", "ball"])
    if thing == "painting":
        y, w, h = rng.uniform(5, 30), rng.uniform(8, 16), rng.uniform(8, 16)
        pen.paint(None, Cloth((70, 52, 40)), _box(x - w / 2 - 1.2, y - 1.2, x + w / 2 + 1.2, y + h + 1.2))
        pen.paint(None, cloth, _box(x - w / 2, y, x + w / 2, y + h), depth=0.1)
    elif thing == "lamp":
        pen.paint(
            None,
            Cloth((60, 56, 54)),
            Line(((x, floor + 6), (x, 30)), 1.6),
            Ellipse((x, floor + 7), (6, 1.8)),
        )
        pen.paint(None, cloth, Polygon(((x - 4.5, 22), (x + 4.5, 22), (x + 8.5, 36), (x - 8.5, 36))))
    elif thing == "cabinet":
        w, top = rng.uniform(10, 18), rng.uniform(35, 58)
        pen.paint(None, cloth, _box(x - w, top, x + w, floor + 8))
        pen.paint(
            None,
            Cloth((235, 225, 200)),
            *(Ellipse((x, y), (1.2, 1.2)) for y in np.arange(top + 6, floor + 4, 10)),
        )
    elif thing == "sofa":
        pen.paint(
            None,
            cloth,
            _box(x - 22, floor - 16, x + 22, floor + 4),
            Ellipse((x - 22, floor), (6, 9)),
            Ellipse((x + 22, floor), (6, 9)),
        )
    else:
        pen.paint(None, cloth, Ellipse((x, floor + rng.uniform(4, 14)), (rng.uniform(5, 9),) * 2))


def _box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return Polygon(((left, top), (right, top), (right, bottom), (left, bottom)))
