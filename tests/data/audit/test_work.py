"""Work in threads: in order, complete, and ended by the first error."""

import pytest

from data.audit.faults import ids_of, save, street
from segtrain.data.audit.work import headers, in_threads, refuse_unfit
from segtrain.errors import DataError


def test_results_come_in_order_and_complete(tmp_path):
    samples = street(tmp_path)[1].samples("train") * 50
    assert list(in_threads(lambda sample: sample.name, samples, 3)) == [sample.name for sample in samples]


def test_an_error_reaches_the_caller(tmp_path):
    def fails(sample):
        raise DataError(sample.name)

    with pytest.raises(DataError, match="train_0"):
        list(in_threads(fails, street(tmp_path)[1].samples("train"), 2))


def test_all_headers_that_do_not_fit_are_told_at_once(tmp_path):
    root, dataset = street(tmp_path)
    for name in ("train_1", "train_3"):
        save(root / f"trainannot/{name}.png", ids_of(root / f"trainannot/{name}.png")[1:])
    problems = list(headers(dataset, dataset.samples("train"), 2))
    assert [bool(problem) for problem in problems] == [False, True, False, True]
    with pytest.raises(DataError) as caught:
        refuse_unfit(problems)
    first, *others = str(caught.value).splitlines()
    assert first == "2 of 4 pairs of image and labels do not fit:"
    assert "train_1.png: labels 47x64" in others[0] and "train_3.png: labels 47x64" in others[1]


def test_one_header_that_does_not_fit_is_told_in_one_line():
    with pytest.raises(DataError, match="^sizes differ$"):
        refuse_unfit(["", "sizes differ", ""])


def test_of_many_headers_that_do_not_fit_the_first_are_listed():
    with pytest.raises(DataError) as caught:
        refuse_unfit([f"pair {number}" for number in range(100)])
    lines = str(caught.value).splitlines()
    assert lines[1] == "  - pair 0" and lines[20] == "  - pair 19"
    assert lines[21] == "  - and 80 more. Fix: segtrain check with the same keys lists them all"


def test_headers_that_fit_are_not_refused():
    refuse_unfit(["", ""])
