"""Paint shapes into an image and into its labels at once, so that both agree in every pixel.

H height, W width, h and w the sides of one shape's bounding box. Painting happens OVERSAMPLE times finer than
the result: the image is averaged down (smooth edges), the labels take each block's middle pixel (exact ids).
"""

from dataclasses import dataclass

import cv2
import numpy as np

OVERSAMPLE = 3

Color = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A thick line with round ends through `points`."""

    points: tuple[Point, ...]
    width: float


@dataclass(frozen=True)
class Polygon:
    """A filled polygon."""

    points: tuple[Point, ...]


@dataclass(frozen=True)
class Ellipse:
    """A filled ellipse, or the chord of it from `start` to `end` degrees (clockwise from the right)."""

    center: Point
    axes: Point
    angle: float = 0.0
    start: float = 0.0
    end: float = 360.0


Shape = Line | Polygon | Ellipse


@dataclass(frozen=True)
class Cloth:
    """A two-colored surface: plain, stripes, pleats, diagonal, checks or dots, every `period` units."""

    color: Color
    accent: Color = (0, 0, 0)
    pattern: str = "plain"
    period: float = 6.0

    def texture(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Color the grid of coordinates x (1, w) and y (h, 1), in the figure's units: (h, w, 3) uint8."""
        p = self.period
        index: np.ndarray
        if self.pattern == "plain":
            index = np.zeros((len(y), x.shape[1]), np.uint8)
        elif self.pattern == "stripes":
            index = np.broadcast_to(2 * (y % p < 0.42 * p), (len(y), x.shape[1]))
        elif self.pattern == "pleats":
            index = np.broadcast_to(2 * (x % p < 0.3 * p), (len(y), x.shape[1]))
        elif self.pattern == "diagonal":
            index = 2 * ((x + y) % p < 0.42 * p)
        elif self.pattern == "checks":
            index = (x % p < 0.45 * p).astype(np.uint8) + (y % p < 0.45 * p)
        elif self.pattern == "dots":
            shifted = x + 0.5 * p * (y // p % 2)
            index = 2 * ((shifted % p - 0.5 * p) ** 2 + (y % p - 0.5 * p) ** 2 < (0.27 * p) ** 2)
        else:
            raise ValueError(f"pattern={self.pattern!r} is not a pattern of Cloth")
        color, accent = np.array(self.color), np.array(self.accent)
        return np.array([color, (color + accent) // 2, accent], np.uint8)[index]


class Canvas:
    """An image and its labels, OVERSAMPLE times finer than what `finish` returns."""

    def __init__(self, backdrop: np.ndarray):
        """Start from `backdrop`, (H, W, 3) uint8 RGB; all labels are 0."""
        height, width = backdrop.shape[:2]
        self.size = (height, width)
        self.image = cv2.resize(backdrop, (width * OVERSAMPLE, height * OVERSAMPLE), interpolation=cv2.INTER_LINEAR)
        self.labels = np.zeros(self.image.shape[:2], np.uint8)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the image (H, W, 3) and the labels (H, W), both uint8."""
        height, width = self.size
        image = cv2.resize(self.image, (width, height), interpolation=cv2.INTER_AREA)
        middle = OVERSAMPLE // 2
        return image, self.labels[middle::OVERSAMPLE, middle::OVERSAMPLE].copy()


class Pen:
    """Paints shapes given in a figure's own units (x to the viewer's right, y down) onto a canvas."""

    def __init__(self, canvas: Canvas, origin: Point, unit: float, *, tilt: float = 0.0, light: float = 0.0):
        """Set the position of the figure.

        Args:
            canvas: What is painted on.
            origin: Where the figure's (0, 0) lies, in pixels of the finished image.
            unit: Pixels of the finished image per unit of the figure.
            tilt: Clockwise lean of the figure, in degrees.
            light: From -1 (light from the viewer's left) to 1 (from the right).
        """
        self.canvas = canvas
        self.scale = unit * OVERSAMPLE
        self.origin = np.array(origin) * OVERSAMPLE
        self.tilt = tilt
        self.light = light
        cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
        self.turn = np.array([[cos, sin], [-sin, cos]])

    def paint(self, part: int | None, cloth: Cloth, *shapes: Shape, depth: float = 0.45) -> None:
        """Fill the union of `shapes` with `cloth`, and with the class `part` in the labels.

        Args:
            part: Class id, or None to leave the labels as they are (eyes, buttons, shadows).
            cloth: Colors and pattern.
            shapes: In the figure's units.
            depth: How much the edges darken, 0 to 1.
        """
        outlines = [self._outline(shape) for shape in shapes]
        points = np.concatenate([outline for outline, _ in outlines])
        margin = max(width for _, width in outlines) / 2 + 2
        height, width = self.canvas.labels.shape
        left, top = np.maximum(np.floor(points.min(0) - margin), 0).astype(int)
        right, bottom = np.minimum(np.ceil(points.max(0) + margin) + 1, (width, height)).astype(int)
        if right <= left or bottom <= top:
            return
        mask = np.zeros((bottom - top, right - left), np.uint8)
        for outline, thickness in outlines:
            pixels = np.round(outline - (left, top)).astype(np.int32)
            if thickness:
                cv2.polylines(mask, [pixels], False, 255, thickness, cv2.LINE_8)
            else:
                cv2.fillPoly(mask, [pixels], 255, cv2.LINE_8)
        x = (np.arange(left, right)[None, :] - self.origin[0]) / self.scale
        y = (np.arange(top, bottom)[:, None] - self.origin[1]) / self.scale
        paint = cloth.texture(x, y)
        if depth:
            paint = cv2.multiply(paint, self._shade(mask, depth), dtype=cv2.CV_8U)
        cv2.copyTo(paint, mask, self.canvas.image[top:bottom, left:right])
        if part is not None:
            self.canvas.labels[top:bottom, left:right][mask > 0] = part

    def _outline(self, shape: Shape) -> tuple[np.ndarray, int]:
        """The points of a shape in fine pixels, and the thickness of its line (0: filled)."""
        if isinstance(shape, Ellipse):
            degrees = np.radians(np.linspace(shape.start, shape.end, 40))
            ring = np.stack([np.cos(degrees) * shape.axes[0], np.sin(degrees) * shape.axes[1]], 1)
            cos, sin = np.cos(np.radians(shape.angle)), np.sin(np.radians(shape.angle))
            points = ring @ np.array([[cos, sin], [-sin, cos]]) + shape.center
        else:
            points = np.array(shape.points, float)
        thickness = max(1, round(shape.width * self.scale)) if isinstance(shape, Line) else 0
        return points @ self.turn * self.scale + self.origin, thickness

    def _shade(self, mask: np.ndarray, depth: float) -> np.ndarray:
        """Brightness (h, w, 3) of a shape: darker towards its edges, most on the side away from the light."""
        side = max(3, round(2.6 * self.scale)) | 1
        # The anchor shifts the window, so that the blur reaches over the far edge before the lit one.
        anchor = int(np.clip(round(side * (0.5 + 0.45 * self.light)), 0, side - 1))
        inside = cv2.blur(mask, (side, side), anchor=(anchor, side // 2), borderType=cv2.BORDER_CONSTANT)
        brightness = (1 - depth) + inside.astype(np.float32) * (depth / 255)
        return cv2.merge([brightness, brightness, brightness])
