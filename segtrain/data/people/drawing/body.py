"""The proportions and the pose of a figure.

Units: a figure stands with its feet at (0, 0), about 100 units tall; x grows to the viewer's right,
y downwards, so all of it has y < 0. A `side` is -1 at the viewer's left and 1 at the viewer's right.
"""

from dataclasses import dataclass

import numpy as np

from segtrain.data.people.drawing.outfit import Part

SIDES = (-1, 1)


@dataclass(frozen=True)
class Body:
    """Proportions, in units."""

    legs: float
    torso: float
    neck: float
    head: float  # half the head's height
    shoulders: float  # half widths
    waist: float
    hips: float
    arm: float  # length of the upper arm, and of the forearm
    arm_width: float
    leg_width: float

    @property
    def height(self) -> float:
        """From the soles to the crown."""
        return self.legs + self.torso + self.neck + 2 * self.head

    @property
    def shoulder_y(self) -> float:
        """Height of the shoulders (negative)."""
        return -self.legs - self.torso

    @property
    def head_y(self) -> float:
        """Height of the head's middle (negative)."""
        return self.shoulder_y - self.neck - 0.92 * self.head


@dataclass(frozen=True)
class Pose:
    """Angles in degrees from straight down, positive away from the body; one pair (upper, lower) per side."""

    facing: str  # "front" or "back"
    arms: dict[int, tuple[float, float]]
    legs: dict[int, tuple[float, float]]

    def own(self, side: int, left: Part, right: Part) -> Part:
        """The person's own left or right part at a side: facing us, the left arm is at our right."""
        return left if (side > 0) == (self.facing == "front") else right


def random_body(rng: np.random.Generator) -> Body:
    """Draw a body: big head, thick limbs."""
    build = rng.uniform(0.88, 1.18)
    return Body(
        legs=rng.uniform(33, 43),
        torso=rng.uniform(23, 29),
        neck=rng.uniform(2.5, 4.5),
        head=rng.uniform(12.5, 15.5),
        shoulders=build * rng.uniform(11, 13.5),
        waist=build * rng.uniform(8, 10.5),
        hips=build * rng.uniform(9.5, 11.5),
        arm=rng.uniform(12.5, 15),
        arm_width=build * rng.uniform(6.2, 7.6),
        leg_width=build * rng.uniform(8.4, 10),
    )


def random_pose(rng: np.random.Generator, facing: str) -> Pose:
    """Draw a pose: arms hang, rest on the hip, swing, wave, rise or point; legs stand, straddle or walk."""
    arms = {side: _random_arm(rng) for side in SIDES}
    if rng.random() < 0.3:
        arms[1] = arms[-1]
    stance = rng.choice(["stand", "straddle", "walk"], p=[0.5, 0.25, 0.25])
    if stance == "walk":
        ahead = int(rng.choice(SIDES))
        thigh = rng.uniform(14, 38)
        legs = {ahead: (thigh, thigh - rng.uniform(10, 50)), -ahead: (rng.uniform(4, 12), rng.uniform(0, 14))}
    else:
        low, high = (3, 9) if stance == "stand" else (10, 20)
        legs = {side: (angle := rng.uniform(low, high), angle * rng.uniform(0.3, 1)) for side in SIDES}
    return Pose(facing, arms, legs)


def _random_arm(rng: np.random.Generator) -> tuple[float, float]:
    gesture = rng.choice(["hang", "hip", "swing", "wave", "raise", "point"], p=[0.3, 0.2, 0.15, 0.12, 0.13, 0.1])
    if gesture == "hang":
        upper = rng.uniform(12, 32)
        return upper, upper - rng.uniform(0, 30)
    if gesture == "hip":
        return rng.uniform(48, 62), rng.uniform(-55, -35)
    if gesture == "swing":
        upper = rng.uniform(28, 55)
        return upper, upper + rng.uniform(-10, 40)
    if gesture == "wave":
        return rng.uniform(70, 100), rng.uniform(140, 185)
    if gesture == "raise":
        upper = rng.uniform(122, 146)
        return upper, upper + rng.uniform(-15, 30)
    upper = rng.uniform(75, 105)
    return upper, upper + rng.uniform(-12, 12)
