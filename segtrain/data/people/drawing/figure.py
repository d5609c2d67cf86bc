"""Draw one figure, from the feet to the shoulders (the head is in head.py; units and sides as in body.py)."""

import numpy as np

from segtrain.data.people.drawing.body import SIDES, Body, Pose
from segtrain.data.people.drawing.canvas import Cloth, Ellipse, Line, Pen, Point, Polygon, Shape
from segtrain.data.people.drawing.head import draw_back_hair, draw_head, draw_scarf
from segtrain.data.people.drawing.outfit import Outfit, Part


def draw_figure(pen: Pen, rng: np.random.Generator, body: Body, pose: Pose, outfit: Outfit) -> None:
    """Paint a figure, back to front."""
    front = pose.facing == "front"
    if front:
        draw_back_hair(pen, outfit, body.head, body.head_y)
    for side in SIDES:
        _draw_leg(pen, body, pose, outfit, side)
    _draw_clothes(pen, body, outfit, front)
    if outfit.coat is not None:
        _draw_coat(pen, body, outfit.coat, outfit.coat_length, front)
    for side in SIDES:
        _draw_arm(pen, body, pose, outfit, side)
    if outfit.scarf is not None:
        draw_scarf(pen, rng, outfit.scarf, body.shoulders, body.shoulder_y, front)
    draw_head(pen, rng, outfit, body.head, body.head_y, front)


def _step(start: Point, side: int, angle: float, length: float) -> Point:
    """Where a limb of this length ends."""
    turn = np.radians(angle)
    return start[0] + side * length * float(np.sin(turn)), start[1] + length * float(np.cos(turn))


def _between(start: Point, end: Point, fraction: float) -> Point:
    return start[0] + fraction * (end[0] - start[0]), start[1] + fraction * (end[1] - start[1])


def _across(start: Point, end: Point, fraction: float, half: float) -> tuple[Point, Point]:
    """A stroke across a limb, `half` to each side of the point at `fraction` of it."""
    x, y = _between(start, end, fraction)
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    dx, dy = half * (end[1] - start[1]) / length, half * (start[0] - end[0]) / length
    return (x - dx, y - dy), (x + dx, y + dy)


def _cut(points: tuple[Point, Point, Point], fraction: float) -> tuple[Point, ...]:
    """The first `fraction` of a limb of two equal segments."""
    start, joint, end = points
    if fraction <= 0.5:
        return start, _between(start, joint, 2 * fraction)
    return start, joint, _between(joint, end, 2 * fraction - 1)


def _draw_leg(pen: Pen, body: Body, pose: Pose, outfit: Outfit, side: int) -> None:
    """Bare leg, then sock, shoe and the leg of the pants."""
    thigh, shank = pose.legs[side]
    segment = (body.legs - 3.5) / 2
    hip = (side * 0.52 * body.hips, -body.legs)
    knee = _step(hip, side, thigh, segment)
    ankle = _step(knee, side, shank, segment)
    width = body.leg_width
    pen.paint(pose.own(side, Part.LEFT_LEG, Part.RIGHT_LEG), outfit.skin, Line((hip, knee, ankle), width))
    if outfit.socks is not None:
        pen.paint(Part.SOCKS, outfit.socks, Line((_between(ankle, knee, outfit.sock_height), ankle), width + 1.2))
    shoe: list[Shape] = [
        Ellipse((ankle[0] + side * 2.6, ankle[1] + 0.6), (7.4, 4.4), side * 8),
        Line((ankle, (ankle[0], ankle[1] - 1)), width),
    ]
    if outfit.boots:
        shoe.append(Line((_between(ankle, knee, 0.32), ankle), width + 1.8))
    pants = Line(_cut((hip, knee, ankle), min(outfit.pants_length, 0.94)), width + 2.2)
    wears_pants = outfit.dress_length is None and outfit.skirt_length is None
    if wears_pants and outfit.boots:
        pen.paint(Part.PANTS, outfit.bottom, pants)
    pen.paint(pose.own(side, Part.LEFT_SHOE, Part.RIGHT_SHOE), outfit.shoes, *shoe)
    sole = Line(((ankle[0] - side * 3, ankle[1] + 4.2), (ankle[0] + side * 8.6, ankle[1] + 4.2)), 1.4)
    pen.paint(pose.own(side, Part.LEFT_SHOE, Part.RIGHT_SHOE), Cloth((235, 232, 225)), sole)
    if wears_pants and not outfit.boots:
        pen.paint(Part.PANTS, outfit.bottom, pants)


def _draw_clothes(pen: Pen, body: Body, outfit: Outfit, front: bool) -> None:
    """The torso's skin and neck, then pants' seat, skirt, top or dress, then the neckline cut out of it."""
    top, waist, hips = body.shoulder_y, -body.legs - 0.38 * body.torso, -body.legs + 2.5
    neck = Line(((0, top + 1), (0, body.head_y)), 0.56 * body.head)
    pen.paint(Part.TORSO_SKIN, outfit.skin, _torso(body, top, hips, 0), neck)
    seat = Polygon(
        (
            (-body.waist - 0.4, waist + 3),
            (body.waist + 0.4, waist + 3),
            (body.hips + 0.6, hips + 2),
            (-body.hips - 0.6, hips + 2),
        )
    )
    if outfit.dress_length is not None:
        pen.paint(
            Part.DRESS,
            outfit.top,
            _torso(body, top, hips, 0.6),
            _flare(body, waist, outfit.dress_length, 1.55),
        )
        belt = Line(((-body.waist - 0.5, waist), (body.waist + 0.5, waist)), 2)
        pen.paint(Part.DRESS, Cloth(outfit.top.accent), belt)
    elif outfit.skirt_length is not None:
        pen.paint(Part.SKIRT, outfit.bottom, _flare(body, waist + 4, outfit.skirt_length, 1.35))
    else:
        pen.paint(Part.PANTS, outfit.bottom, seat)
    if outfit.dress_length is None:
        hem = waist - 1 if outfit.cropped else waist + 6
        pen.paint(Part.UPPER_CLOTHES, outfit.top, _torso(body, top, hem, 0.8))
    width = 0.62 * body.shoulders
    cut: Shape
    if outfit.neckline == "vee" and front:
        cut = Polygon(((-width, top - 2.4), (width, top - 2.4), (0, top + 10)))
    elif outfit.neckline == "wide" and front:
        cut = Ellipse((0, top - 1), (1.25 * width, 8.5))
    else:
        cut = Ellipse((0, top - 1.5), (0.95 * width, 5.5 if front and outfit.neckline == "round" else 3))
    pen.paint(Part.TORSO_SKIN, outfit.skin, cut, neck, depth=0.2)


def _torso(body: Body, top: float, bottom: float, loose: float) -> Polygon:
    """From the shoulders over the waist down to `bottom`."""
    waist_y, hips_y = -body.legs - 0.38 * body.torso, -body.legs + 2.5
    shoulders, waist, hips = body.shoulders + loose, body.waist + loose, body.hips + loose
    if bottom <= waist_y:
        right = [(waist, bottom)]
    else:
        fraction = (bottom - waist_y) / (hips_y - waist_y)
        right = [(waist, waist_y), (waist + fraction * (hips - waist), bottom)]
    right = [(0.45 * shoulders, top - 1.8), (0.85 * shoulders, top - 0.6), (shoulders, top + 3), *right]
    return Polygon(tuple(right + [(-x, y) for x, y in reversed(right)]))


def _flare(body: Body, top: float, length: float, spread: float) -> Polygon:
    """A skirt from `top` down over this fraction of the legs, `spread` times the hips wide at a wavy hem."""
    bottom = -body.legs * (1 - length)
    edge = spread * body.hips
    hem = [(edge * x, bottom + (1.3 if step % 2 else 0)) for step, x in enumerate(np.linspace(1, -1, 9))]
    return Polygon(
        (
            (-body.waist - 0.6, top),
            (body.waist + 0.6, top),
            (body.hips + 1.5, -body.legs),
            *hem,
            (-body.hips - 1.5, -body.legs),
        )
    )


def _draw_coat(pen: Pen, body: Body, coat: Cloth, length: float, front: bool) -> None:
    """Two open panels with lapels in front, one full panel behind."""
    top, bottom = body.shoulder_y, -body.legs * (1 - length)
    waist_y = -body.legs - 0.38 * body.torso
    outer = [
        (0.42 * body.shoulders, top - 2.4),
        (body.shoulders + 1.4, top + 0.6),
        (body.waist + 3, waist_y),
        (body.hips + 4.2, bottom),
    ]
    if not front:
        pen.paint(Part.COAT, coat, Polygon(tuple(outer + [(-x, y) for x, y in reversed(outer)])))
        pen.paint(None, Cloth((28, 24, 22)), Line(((0, waist_y), (0, bottom)), 0.7), depth=0)
        return
    for side in SIDES:
        panel = [*outer, (4.6, bottom), (3.2, waist_y)]
        pen.paint(Part.COAT, coat, Polygon(tuple((side * x, y) for x, y in panel)))
        lapel = ((0.4 * body.shoulders, top - 2.2), (0.72 * body.shoulders, top + 5), (3.2, waist_y - 2))
        dark = Cloth(tuple(int(0.62 * value) for value in coat.color))  # type: ignore[arg-type]
        pen.paint(Part.COAT, dark, Polygon(tuple((side * x, y) for x, y in lapel)), depth=0.2)
        for y in (waist_y + 2, waist_y + 8):
            pen.paint(None, Cloth((232, 200, 120)), Ellipse((side * 5.4, y), (0.9, 0.9)), depth=0)


def _draw_arm(pen: Pen, body: Body, pose: Pose, outfit: Outfit, side: int) -> None:
    """Bare arm and hand, then glove, then sleeve."""
    upper, lower = pose.arms[side]
    shoulder = (side * (body.shoulders - 0.3 * body.arm_width), body.shoulder_y + 0.36 * body.arm_width)
    elbow = _step(shoulder, side, upper, body.arm)
    wrist = _step(elbow, side, lower, body.arm)
    hand = _step(wrist, side, lower, 2.6)
    thumb = _step(wrist, side, lower - 62, 5)
    part = pose.own(side, Part.LEFT_ARM, Part.RIGHT_ARM)
    pen.paint(
        part,
        outfit.skin,
        Line((shoulder, elbow, wrist), body.arm_width),
        Ellipse(hand, (4.6, 4.6)),
        Line((wrist, thumb), 2.8),
    )
    covered, cloth, garment = outfit.sleeves, outfit.top, Part.UPPER_CLOTHES
    if outfit.dress_length is not None:
        garment = Part.DRESS
    if outfit.coat is not None:
        covered, cloth, garment = 1.0, outfit.coat, Part.COAT
    if covered:
        pen.paint(garment, cloth, Line(_cut((shoulder, elbow, wrist), min(covered, 0.88)), body.arm_width + 1.8))
    if outfit.gloves is not None:
        pen.paint(
            Part.GLOVE,
            outfit.gloves,
            Ellipse(hand, (5.9, 5.9)),
            Line((wrist, thumb), 4.2),
            Line((_between(wrist, elbow, 0.2), wrist), body.arm_width + 1.2),
        )
        cuff = _across(wrist, elbow, 0.24, body.arm_width / 2 + 1.2)
        pen.paint(Part.GLOVE, Cloth((240, 238, 230)), Line(cuff, 2.6), depth=0.2)
