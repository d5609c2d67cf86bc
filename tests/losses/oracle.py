"""Each loss by its formula, in float64 and pixel by pixel or class by class: slow, plain, and of no tensor library.

`pixels` are what `counted` gives: the class of each pixel that is not void, and its K logits.
"""

import math

import numpy as np


def counted(labels, logits, void):
    """Pixels that are not void: (N,) class ids and (N, K) probabilities and their logarithms."""
    kept = labels != void
    scores = logits[kept].astype(np.float64)
    shifted = scores - scores.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return labels[kept].astype(int), logs


def cross_entropy(labels, logits, void, weights=None, smoothing=0.0):
    classes, logs = counted(labels, logits, void)
    num_classes = logs.shape[-1]
    total = divisor = 0.0
    for label, row in zip(classes, logs, strict=True):
        wanted = [(1 - smoothing) * (k == label) + smoothing / num_classes for k in range(num_classes)]
        weight = weights[label] if weights else 1
        total += weight * -sum(want * log for want, log in zip(wanted, row, strict=True))
        divisor += weight
    return total / divisor if divisor else 0.0


def ohem(labels, logits, void, threshold, top_k_fraction, weights=None):
    classes, logs = counted(labels, logits, void)
    probabilities = [math.exp(row[label]) for label, row in zip(classes, logs, strict=True)]
    kept = math.ceil(np.float32(top_k_fraction) * np.float32(len(classes)))
    last = sorted(probabilities)[kept - 1] if kept else -1
    total = divisor = 0.0
    for label, probability, row in zip(classes, probabilities, logs, strict=True):
        if probability < threshold or probability <= last:
            weight = weights[label] if weights else 1
            total -= weight * row[label]
            divisor += weight
    return total / divisor if divisor else 0.0


def focal(labels, logits, void, gamma, weights=None):
    classes, logs = counted(labels, logits, void)
    total = divisor = 0.0
    for label, row in zip(classes, logs, strict=True):
        weight = weights[label] if weights else 1
        total -= weight * (1 - math.exp(row[label])) ** gamma * row[label]
        divisor += weight
    return total / divisor if divisor else 0.0


def boundary(labels, logits, void, width, factor, weights=None):
    total = divisor = 0.0
    for index, y, x in np.argwhere(labels != void):
        window = labels[index, max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
        label = labels[index, y, x]
        weight = (weights[label] if weights else 1) * (factor if {*window[window != void]} - {label} else 1)
        _, logs = counted(labels[index, y, x, None], logits[index, y, x, None], void)
        total -= weight * logs[0, label]
        divisor += weight
    return total / divisor if divisor else 0.0


def dice(labels, logits, void, weights=None, smooth=0.0, power=1, absent=False):
    classes, logs = counted(labels, logits, void)
    losses = {}
    for k in range(logits.shape[-1]):
        true, said = classes == k, np.exp(logs[:, k])
        if absent or true.any():
            both = (said * true).sum()
            losses[k] = 1 - (2 * both + smooth) / ((said**power).sum() + true.sum() + smooth)
    return mean(losses, weights)


def tversky(labels, logits, void, alpha, beta, gamma=1.0, weights=None):
    classes, logs = counted(labels, logits, void)
    losses = {}
    for k in range(logits.shape[-1]):
        true, said = classes == k, np.exp(logs[:, k])
        if true.any():
            hits, false, missed = (said * true).sum(), (said * ~true).sum(), ((1 - said) * true).sum()
            losses[k] = (1 - hits / (hits + alpha * false + beta * missed)) ** gamma
    return mean(losses, weights)


def lovasz(labels, logits, void, weights=None):
    """The Lovasz extension by its definition: what the index loses with each further pixel among the wrong ones."""
    classes, logs = counted(labels, logits, void)
    losses = {}
    for k in range(logits.shape[-1]):
        true = {int(p) for p in np.flatnonzero(classes == k)}
        if true:
            errors = np.abs(np.exp(logs[:, k]) - (classes == k))
            wrong, total, before = set(), 0.0, 0.0
            for p in np.argsort(-errors, kind="stable"):
                wrong.add(int(p))
                # Wrong pixels of the class are missed, wrong others are said to be it: IoU = right / union.
                now = 1 - len(true - wrong) / len(true | wrong)
                total += errors[p] * (now - before)
                before = now
            losses[k] = total
    return mean(losses, weights)


def mean(losses, weights):
    divisor = sum(weights[k] if weights else 1 for k in losses)
    return sum((weights[k] if weights else 1) * loss for k, loss in losses.items()) / divisor if divisor else 0.0
