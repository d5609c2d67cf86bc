"""Damaged bytes in the middle of a JPEG."""

import numpy as np
import pytest

from pictures import RGB, png, saved, smooth
from segtrain.data.images.damage import jpeg_damage
from segtrain.data.images.files import read_image


@pytest.mark.parametrize("progressive", [False, True])
def test_zeros_in_the_middle_of_a_jpeg_are_told_on_no_stderr(tmp_path, capfd, progressive):
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    data = saved(noise, "JPEG", progressive=progressive)
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert jpeg_damage(path) == ""
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(4096) + data[middle + 4096 :])
    assert jpeg_damage(path).startswith("Corrupt JPEG data: ")
    assert capfd.readouterr().err == ""
    # This is why one has to ask: the file is still a JPEG, of other colors.
    assert read_image(path).shape == (160, 160, 3)


def test_other_pictures_are_not_looked_into(tmp_path):
    (tmp_path / "a.jpg").write_bytes(png(smooth(), 8, RGB))
    assert jpeg_damage(tmp_path / "a.jpg") == ""
