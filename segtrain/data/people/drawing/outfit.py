"""Clothes of a figure, and CIHP's class of each garment. Each garment favors certain hues and patterns."""

import colorsys
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from segtrain.data.people.drawing.canvas import Cloth, Color


class Part(IntEnum):
    """The 20 class ids of CIHP. Left and right are the person's own, not the viewer's."""

    BACKGROUND = 0
    HAT = 1
    HAIR = 2
    GLOVE = 3
    SUNGLASSES = 4
    UPPER_CLOTHES = 5
    DRESS = 6
    COAT = 7
    SOCKS = 8
    PANTS = 9
    TORSO_SKIN = 10
    SCARF = 11
    SKIRT = 12
    FACE = 13
    LEFT_ARM = 14
    RIGHT_ARM = 15
    LEFT_LEG = 16
    RIGHT_LEG = 17
    LEFT_SHOE = 18
    RIGHT_SHOE = 19


SKINS = ((255, 219, 190), (241, 194, 160), (224, 172, 125), (198, 134, 88), (150, 96, 62), (105, 66, 44))
HAIRS = (
    (35, 26, 24),
    (70, 44, 28),
    (112, 70, 38),
    (176, 118, 58),
    (226, 186, 104),
    (168, 66, 34),
    (170, 168, 165),
)
HAIR_STYLES = ("short", "fringe", "long", "bob", "afro", "bun", "ponytail", "spiky", "bald")


@dataclass(frozen=True)
class Outfit:
    """Choices for one figure; None means not worn."""

    skin: Cloth
    hair: Cloth
    hair_style: str
    top: Cloth
    sleeves: float  # 0 none, 0.45 short, 1 long: the covered fraction of the arm
    neckline: str  # round, vee, wide or closed
    cropped: bool
    dress_length: float | None  # fraction of the leg that a dress covers; None: no dress but a top
    bottom: Cloth
    skirt_length: float | None  # fraction of the leg that a skirt covers; None: pants or a dress
    pants_length: float
    coat: Cloth | None
    coat_length: float
    scarf: Cloth | None
    hat: Cloth | None
    hat_style: str
    sunglasses: Cloth | None
    gloves: Cloth | None
    socks: Cloth | None
    sock_height: float
    shoes: Cloth
    boots: bool


def random_color(
    rng: np.random.Generator,
    hues: tuple[float, float],
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> Color:
    """Draw a color with hue (in turns), saturation and value from these ranges; RGB 0-255."""
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(*hues) % 1, rng.uniform(*saturation), rng.uniform(*value))
    return round(red * 255), round(green * 255), round(blue * 255)


def random_outfit(rng: np.random.Generator) -> Outfit:
    """Draw what a figure wears. Small things (gloves, socks, scarf, sunglasses) are frequent on purpose."""

    def worn(fraction: float, cloth: Cloth) -> Cloth | None:
        return cloth if rng.random() < fraction else None

    kind = rng.choice(["dress", "skirt", "pants", "shorts"], p=[0.29, 0.27, 0.29, 0.15])
    top = _dress(rng) if kind == "dress" else _top(rng)
    skin = Cloth(_vary(rng, SKINS[rng.integers(len(SKINS))]))
    return Outfit(
        skin=skin,
        hair=Cloth(_vary(rng, HAIRS[rng.integers(len(HAIRS))])),
        hair_style=str(rng.choice(HAIR_STYLES, p=[0.15, 0.14, 0.2, 0.14, 0.08, 0.09, 0.09, 0.07, 0.04])),
        top=top,
        sleeves=float(rng.choice([0.0, 0.45, 1.0], p=[0.3, 0.42, 0.28])),
        neckline=str(rng.choice(["round", "vee", "wide", "closed"], p=[0.25, 0.35, 0.25, 0.15])),
        cropped=kind != "dress" and bool(rng.random() < 0.22),
        dress_length=rng.uniform(0.3, 0.58) if kind == "dress" else None,
        bottom=_skirt(rng) if kind == "skirt" else _pants(rng),
        skirt_length=rng.uniform(0.28, 0.5) if kind == "skirt" else None,
        pants_length=rng.uniform(0.3, 0.45) if kind == "shorts" else rng.uniform(0.86, 1.0),
        coat=worn(0.28, _coat(rng)),
        coat_length=rng.uniform(0.22, 0.5),
        scarf=worn(0.34, _scarf(rng)),
        hat=worn(0.4, _hat(rng)),
        hat_style=str(rng.choice(["beanie", "cap", "brim", "top"], p=[0.35, 0.25, 0.25, 0.15])),
        sunglasses=worn(0.48, Cloth(random_color(rng, (0, 1), (0, 0.5), (0.05, 0.16)))),
        gloves=worn(0.36, _gloves(rng)),
        socks=worn(0.6, _socks(rng)),
        sock_height=rng.uniform(0.45, 0.75),
        shoes=Cloth(random_color(rng, (0, 1), (0.1, 0.9), (0.15, 0.9))),
        boots=bool(rng.random() < 0.2),
    )


def _vary(rng: np.random.Generator, color: Color) -> Color:
    red, green, blue = np.clip(np.array(color) * rng.uniform(0.9, 1.06) + rng.normal(0, 4, 3), 0, 255)
    return int(red), int(green), int(blue)


def _patterned(
    rng: np.random.Generator,
    color: Color,
    patterns: dict[str, float],
    period: tuple[float, float],
    accent: Color | None = None,
) -> Cloth:
    """A cloth whose pattern is drawn by weight; the accent is white-ish, dark or another hue."""
    accents = ((245, 240, 230), (40, 40, 52), random_color(rng, (0, 1), (0.4, 0.9), (0.5, 1)))
    chosen = accents[rng.integers(3)] if accent is None else accent
    return Cloth(color, chosen, str(rng.choice(list(patterns), p=list(patterns.values()))), rng.uniform(*period))


def _top(rng: np.random.Generator) -> Cloth:
    return _patterned(
        rng,
        random_color(rng, (0, 1), (0.25, 0.9), (0.55, 1)),
        {"plain": 0.5, "stripes": 0.3, "checks": 0.12, "diagonal": 0.08},
        (4, 8),
    )


def _dress(rng: np.random.Generator) -> Cloth:
    return _patterned(
        rng,
        random_color(rng, (0.74, 1.04), (0.45, 0.95), (0.55, 1)),
        {"plain": 0.45, "dots": 0.55},
        (5, 8),
        accent=(250, 244, 236),
    )


def _coat(rng: np.random.Generator) -> Cloth:
    return _patterned(
        rng,
        random_color(rng, (0.05, 0.17), (0.25, 0.6), (0.22, 0.58)),
        {"plain": 0.7, "checks": 0.3},
        (5, 8),
        accent=random_color(rng, (0.05, 0.14), (0.2, 0.5), (0.2, 0.6)),
    )


def _pants(rng: np.random.Generator) -> Cloth:
    if rng.random() < 0.6:
        color = random_color(rng, (0.57, 0.66), (0.3, 0.75), (0.22, 0.62))
    else:
        color = random_color(rng, (0.08, 0.14), (0.0, 0.4), (0.15, 0.75))
    return _patterned(
        rng,
        color,
        {"plain": 0.88, "pleats": 0.12},
        (3, 5),
        accent=random_color(rng, (0.6, 0.7), (0, 0.3), (0.2, 0.5)),
    )


def _skirt(rng: np.random.Generator) -> Cloth:
    return _patterned(
        rng,
        random_color(rng, (0.1, 0.52), (0.4, 0.9), (0.4, 0.95)),
        {"pleats": 0.5, "checks": 0.3, "plain": 0.2},
        (4, 6),
    )


def _scarf(rng: np.random.Generator) -> Cloth:
    return _patterned(
        rng, random_color(rng, (-0.06, 0.2), (0.7, 1), (0.75, 1)), {"diagonal": 0.75, "plain": 0.25}, (5, 7)
    )


def _hat(rng: np.random.Generator) -> Cloth:
    return _patterned(
        rng,
        random_color(rng, (0, 1), (0.35, 0.95), (0.3, 0.95)),
        {"plain": 0.65, "stripes": 0.2, "dots": 0.15},
        (4, 6),
    )


def _gloves(rng: np.random.Generator) -> Cloth:
    return Cloth(random_color(rng, (0.3, 0.9), (0.55, 1), (0.45, 0.95)))


def _socks(rng: np.random.Generator) -> Cloth:
    accent = random_color(rng, (0, 1), (0.6, 1), (0.4, 0.9))
    return _patterned(rng, (242, 240, 235), {"stripes": 0.75, "plain": 0.25}, (3.2, 4.5), accent=accent)
