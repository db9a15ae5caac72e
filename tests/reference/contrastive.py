"""The contrastive losses as literal double loops, in float64: slow, and easy to see to be right."""

import math


def supervised_contrastive(z, labels, tau):
    """Eq. 1, as the mean over anchors."""
    total = 0.0
    for i in range(len(z)):
        positives = [j for j in range(len(z)) if j != i and labels[j] == labels[i]]
        others = [k for k in range(len(z)) if k != i]
        if not positives:
            continue
        norm = sum(math.exp(dot(z[i], z[k]) / tau) for k in others)
        logs = [math.log(math.exp(dot(z[i], z[j]) / tau) / norm) for j in positives]
        total -= sum(logs) / len(positives)
    return total / len(z)


def augmented_supervised_contrastive(generated, labels, real, real_labels, tau, candidates):
    """Eq. 4, as the mean over anchors, with the candidates that the option names."""
    total = 0.0
    for i in range(len(generated)):
        pool = []
        if candidates in ("both", "generated"):
            pool += [(generated[k], labels[k]) for k in range(len(generated)) if k != i]
        if candidates in ("both", "real"):
            pool += list(zip(real, real_labels, strict=True))
        positives = [z for z, label in pool if label == labels[i]]
        if not positives:
            continue
        norm = sum(math.exp(dot(generated[i], z) / tau) for z, _ in pool)
        logs = [math.log(math.exp(dot(generated[i], z) / tau) / norm) for z in positives]
        total -= sum(logs) / len(positives)
    return total / len(generated)


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
