"""Suggest known names for a misspelled one."""

import difflib
from collections.abc import Iterable

NEAR = 0.7  # minimum ratio of difflib: epohcs ~ epochs 0.83, resnet5 ~ resnet50 0.93, optimiser ~ optimizer 0.89


def did_you_mean(word: str, known: Iterable[str], most: int = 3) -> str:
    """Return a suggestion to append to a message, such as `; did you mean epochs?`; empty without a similar name.

    Dotted names are also compared by their last part and by its initials: `lr` matches `schedule.learning_rate`.
    """
    scores = {name: _nearness(word, name) for name in known}
    near = sorted((name for name, score in scores.items() if score >= NEAR), key=lambda name: -scores[name])
    return f"; did you mean {' or '.join(near[:most])}?" if near else ""


def _nearness(word: str, name: str) -> float:
    last_of_word, last = word.rpartition(".")[2], name.rpartition(".")[2]
    initials = "".join(part[:1] for part in last.split("_"))
    if len(word) > 1 and word == initials:
        return 1.0
    nearness = difflib.SequenceMatcher(None, last_of_word.lower(), last.lower()).ratio() * 0.99
    if word.count(".") == name.count("."):  # otherwise bakbone would match backbone.low
        nearness = max(nearness, difflib.SequenceMatcher(None, word.lower(), name.lower()).ratio())
    return nearness
