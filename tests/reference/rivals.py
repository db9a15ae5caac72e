"""The rivals' losses as literal loops, in float64: slow, and easy to see to be right."""

import math

from reference.contrastive import dot


def cross_entropy(logits, labels, weights=None, normalise=True):
    """Mean over samples of -w log softmax; over weights, as PyTorch does, if `normalise`."""
    total = norm = 0.0
    for row, label in zip(logits, labels, strict=True):
        weight = 1.0 if weights is None else weights[label]
        total -= weight * math.log(math.exp(row[label]) / sum(math.exp(x) for x in row))
        norm += weight if normalise else 1.0
    return total / norm


def focal(logits, labels, gamma, weights):
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        p = math.exp(row[label]) / sum(math.exp(x) for x in row)
        total -= weights[label] * (1 - p) ** gamma * math.log(p)
    return total / len(labels)


def ldam(logits, labels, margins, scale, weights):
    shifted = [
        [x - (scale * margins[j] if j == label else 0.0) for j, x in enumerate(row)]
        for row, label in zip(logits, labels, strict=True)
    ]
    return cross_entropy(shifted, labels, weights)


def balanced_softmax(logits, labels, counts):
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        sizes = [n * math.exp(x) for n, x in zip(counts, row, strict=True)]
        total -= math.log(sizes[label] / sum(sizes))
    return total / len(labels)


def lade(logits, labels, counts, alpha, lambda_):
    classes, samples = len(counts), len(labels)
    second = 0.0
    for c in range(classes):
        prior = counts[c] / sum(counts)
        own = [row[c] for row, label in zip(logits, labels, strict=True) if label == c]
        mean = sum(own) / len(own) if own else 0.0
        ratio = (1 / classes) / prior
        r = math.log(sum(math.exp(row[c]) * ratio for row in logits) / samples)
        second += prior * (r - mean + lambda_ * r**2)
    return balanced_softmax(logits, labels, counts) + alpha * second


def balanced_contrastive(z, labels, prototypes, tau):
    """Zhu et al. 2022, Eq. 6-8: classes weigh the same, and all are there."""
    members = {c: [(None, p)] for c, p in enumerate(prototypes)}
    for i, label in enumerate(labels):
        members[label].append((i, z[i]))
    total = 0.0
    for i, label in enumerate(labels):
        norm = 0.0
        for of_class in members.values():
            others = [x for j, x in of_class if j != i]
            norm += sum(math.exp(dot(z[i], x) / tau) for x in others) / len(others)
        positives = [x for j, x in members[label] if j != i]
        logs = [math.log(math.exp(dot(z[i], x) / tau) / norm) for x in positives]
        total -= sum(logs) / len(positives)
    return total / len(labels)


def targeted_contrastive(z, labels, targets, tau):
    """KCL with every positive, and TSC with targets (Li et al. 2022, Eq. 4)."""
    total = 0.0
    for i in range(len(z)):
        others = [(z[j], labels[j]) for j in range(len(z)) if j != i]
        others += [(t, c) for c, t in enumerate(targets)]
        norm = sum(math.exp(dot(z[i], x) / tau) for x, _ in others)
        positives = [x for x, label in others if label == labels[i]]
        logs = [math.log(math.exp(dot(z[i], x) / tau) / norm) for x in positives]
        total -= sum(logs) / len(positives)
    return total / len(z)
