"""Batches as arrays: memory is used again, but never while anyone holds it."""

import numpy as np
import pytest

from segtrain.data import Sample
from segtrain.data.loading.batch_loader import BatchLoader
from segtrain.data.loading.crops import Crops, spread

SIZE = (4, 6)
SAMPLES = [Sample(f"{number:02d}", None, None) for number in range(10)]


def grey(sample, reduction=1):
    """An image of one gray, the sample's number."""
    number = int(sample.name)
    return np.full((*SIZE, 3), number, np.uint8), np.full(SIZE, number, np.uint8)


def unchanged(image, labels, rng, another=None):
    return image, labels


def loader(augment=unchanged, **options):
    arguments = {"crop_size": SIZE, "batch_size": 2, "seed": 0, "shuffle": False, **options}
    return BatchLoader(Crops(SAMPLES, grey, augment, **arguments))


def test_batches_that_are_held_keep_what_they_show():
    loads = loader()
    held = [loads.batch(step) for step in range(5)]
    for step, (images, labels) in enumerate(held):
        assert labels[:, 0, 0].tolist() == [2 * step, 2 * step + 1] == images[:, 3, 5, 2].tolist()
    first = held[0][0][1]  # a part of a batch holds the whole of it
    del held, images, labels
    for step in range(5):
        loads.batch(step)
    assert (first == 1).all()


def test_the_memory_of_a_batch_that_nobody_holds_is_used_again():
    loads = loader()
    # NumPy itself would hand out freed memory again: what counts is that the loader owns no more than it needs.
    for step in range(50):
        images, labels = loads.batch(step)
        assert images.ctypes.data % 64 == 0 == labels.ctypes.data % 64
    assert len(loads._memories) == 2


def test_names_are_those_of_the_samples_loaded():
    shuffled = loader(shuffle=True)
    for step in range(10):
        assert [int(name) for name in shuffled.names(step)] == shuffled.batch(step)[1][:, 0, 0].tolist()


def test_an_augmentation_of_another_size_is_told_not_spread_over_the_crop():
    with pytest.raises(ValueError, match=r"augmentation gave \(1, 1, 3\), expected \(4, 6, 3\)"):
        loader(lambda image, labels, rng, another=None: (image[:1, :1], labels[:1, :1])).batch(0)


def test_another_sample_is_drawn_by_the_generator_it_is_asked_with():
    def swap(image, labels, rng, another=None):
        return another(rng)

    one, two = loader(swap), loader(swap, seed=1)
    drawn = [one.batch(step)[1][:, 0, 0].tolist() for step in range(5)]
    assert drawn == [one.batch(step)[1][:, 0, 0].tolist() for step in range(5)]
    assert drawn != [two.batch(step)[1][:, 0, 0].tolist() for step in range(5)]


def test_a_photograph_may_be_read_as_small_as_its_augmentation_allows():
    asked = []

    class Halves:
        def reduction(self, rng):
            return 2 if rng.random() < 0.5 else 1

        def __call__(self, image, labels, rng, another=None):
            # The first draw of the very generator that the reduction was drawn from.
            assert asked[-1] == (2 if rng.random() < 0.5 else 1)
            return image, labels

    def read(sample, reduction):
        asked.append(reduction)
        return grey(sample)

    loads = BatchLoader(Crops(SAMPLES, read, Halves(), crop_size=SIZE, batch_size=1, seed=0), workers=1)
    for step in range(20):
        loads.batch(step)
    assert set(asked) == {1, 2}


def test_some_samples_are_spread_over_all_of_them():
    everything = list("abcdefg")
    assert spread(everything, 3) == ["a", "d", "g"]
    assert spread(everything, 1) == ["a"]
    assert spread(everything, 0) == []
    assert spread(everything, 7) == spread(everything, 99) == spread(everything, None) == everything
