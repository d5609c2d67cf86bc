"""Frames of videos and cameras, and videos of predictions, through OpenCV."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from segtrain.errors import DataError, ResourceError
from segtrain.shell import command
from segtrain.terminal import printable

# FFmpeg prints on stderr what segtrain reports in one line.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_CODEC = "mp4v"  # MPEG-4 in .mp4: opencv-python-headless brings no H.264 encoder


class Frames:
    """Frames of a video or camera, in order; a context manager.

    Args:
        source: A file, or the number of a camera.

    Attributes:
        count: Number of frames that the file declares; None where it is unknown.
        rate: Frames per second.

    Raises:
        DataError: It cannot be opened or decoded.
    """

    def __init__(self, source: Path | int) -> None:
        self.source = source
        self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            if isinstance(source, int):
                raise DataError(
                    f"source={source}: no camera of that number, expected one of /dev/video*. Fix: ls /dev/video*"
                )
            raise DataError(
                f"cannot decode the video {printable(source)}: damaged, truncated or of an unknown codec, expected one "
                f"that OpenCV reads. Fix: {command('ffmpeg', '-i', source, source.with_suffix('.fixed.mp4'))}"
            )
        declared = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = declared if declared > 0 and not isinstance(source, int) else None
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else 25.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield (H, W, 3) uint8 RGB.

        Raises:
            DataError: The file ends before the last of its frames.
        """
        number = 0
        while True:
            is_read, frame = self._capture.read()
            if not is_read:
                break
            number += 1
            yield np.ascontiguousarray(frame[..., ::-1])
        if self.count is not None and number < self.count:
            raise DataError(
                f"video {printable(self.source)}: ends at frame {number} of {self.count}, a truncated or damaged file. "
                f"The frames before are done. Fix: copy the file again"
            )


class VideoWriter:
    """Write RGB frames to a video under a temporary name, which `close` renames.

    Args:
        path: An .mp4 file.
        rate: Frames per second.
        size: Height and width of a frame.

    Raises:
        ResourceError: The file cannot be written.
    """

    def __init__(self, path: Path, rate: float, size: tuple[int, int]) -> None:
        self._path = path
        self._unfinished = path.with_name(f".{path.stem}.part{path.suffix}")
        self._padding = (size[0] % 2, size[1] % 2)  # the codec halves its colors, and would cut an odd row off
        even = (size[1] + self._padding[1], size[0] + self._padding[0])
        self._writer = cv2.VideoWriter(str(self._unfinished), cv2.VideoWriter.fourcc(*_CODEC), rate, even)
        if not self._writer.isOpened():
            raise ResourceError(
                f"cannot write {printable(path)}: OpenCV cannot encode {size[1]}x{size[0]} frames there. Fix: check "
                f"the permissions of {printable(path.parent)}, or leave overlay out of save"
            )

    def add(self, frame: np.ndarray) -> None:
        """Append a frame, (H, W, 3) uint8 RGB."""
        bottom, right = self._padding
        padded = cv2.copyMakeBorder(frame[..., ::-1], 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        self._writer.write(padded)

    def close(self) -> None:
        """Complete the file."""
        self._writer.release()
        self._unfinished.replace(self._path)
