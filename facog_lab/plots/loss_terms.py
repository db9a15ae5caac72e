"""Three views of each loss term: its formula, its line of code, and what it is worth at present."""

from __future__ import annotations

import ast
import copy
import functools
import html
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from latex2mathml.converter import convert as to_mathml
from torch import Tensor, nn

from facog_lab import losses
from facog_lab.generator import FACoG
from facog_lab.phase1 import Network, Objective, Phase1
from facog_lab.phase2 import Phase2
from facog_lab.rng import rng_for

FORMULAS = {
    "L_ce": r"\mathcal L_{ce} = -\frac1{|I|}\sum_{i\in I} \log p_{y_i}(f_i)",
    "L_sc": r"\mathcal L_{sc} = \frac1{|I|}\sum_{i\in I}\frac{-1}{|P(i)|}\sum_{j\in P(i)}"
    r"\log\frac{\exp(z_i\cdot z_j/\tau)}{\sum_{k\ne i}\exp(z_i\cdot z_k/\tau)}",
    "L_D": r"\mathcal L_{D} = \mathbb E\,(1-D(f))^2 + \mathbb E\,D(\tilde f)^2",
    "L_adv": r"\mathcal L_{adv} = \mathbb E\,(1-D(\tilde f))^2",
    "L_asc": r"\mathcal L_{asc} = \frac1{|I|}\sum_{i\in I}\frac{-1}{|F(i)|}\sum_{j\in F(i)}"
    r"\log\frac{\exp(\tilde z_i\cdot z_j/\tau)}{\sum_{k\ne i}\exp(\tilde z_i\cdot z_k/\tau)}",
    "L_cls": r"\mathcal L_{cls} = -\frac1{|I|}\sum_{i\in I} \log p_{y_i}(f_i)",
}


@dataclass(frozen=True)
class Term:
    """A term of a loss.

    Attributes:
        name: a key of FORMULAS.
        where: the function whose last line computes it.
        weight: λ, its factor in the loss.
        value: of the term, without λ.
        gradient: Euclidean norm of its gradient, without λ, over the parameters of `of`.
        of: what learns from it: "backbone", "D", "G" or "classifier".
    """

    name: str
    where: Callable[..., Any]
    weight: float
    value: float
    gradient: float
    of: str


class Triptych:
    """The terms of a loss as a table; a notebook shows it.

    Args:
        terms: of `phase1_terms` or `phase2_terms`.
    """

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = terms

    def _repr_html_(self) -> str:
        heads = ("formula", "line of code", "λ", "value", "‖gradient‖")
        head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in heads)
        rows = "".join(f"<tr>{''.join(map(_cell, self._cells(term)))}</tr>" for term in self.terms)
        body = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
        return f'<table style="line-height:1.3">{body}</table>'

    def _cells(self, term: Term) -> tuple[str, ...]:
        place, line = source_line(term.where)
        return (
            _formula(term.name),
            f"<code>{html.escape(line)}</code><br><small>{html.escape(place)}</small>",
            f"{term.weight:g}",
            f"{term.value:.4g}",
            f"{term.gradient:.3g}<br><small>of {term.of}</small>",
        )

    def __repr__(self) -> str:
        return "\n".join(
            f"{t.name} = {t.value:.4g} (λ {t.weight:g}, gradient of {t.of} {t.gradient:.3g})"
            for t in self.terms
        )


def phase1_terms(loop: Phase1) -> Triptych:
    """The terms of L_ph1 (Eq. 2) on the first batch of the present epoch, at the present weights.

    Of a rival's objective, those that are the paper's too. The loop is left as it is: batch norm
    learns nothing from being looked at.
    """
    looked_at = copy.copy(loop)
    looked_at.model = copy.deepcopy(loop.model).train()
    looked_at.objective = copy.deepcopy(loop.objective)
    looked_at.network = Network(looked_at.model, looked_at.objective, loop.world)
    epoch = min(loop.step, loop.total_steps - 1) // loop.steps_per_epoch
    index = loop.order[0]
    _, terms, _ = looked_at.loss(looked_at.views(index, epoch), loop.labels[index], epoch)
    backbone, objective = looked_at.model.backbone, loop.objective
    lambda_ce, lambda_sc = objective.lambdas(epoch)
    shown, kind = [], type(objective)
    if getattr(kind, "loss_name", "ce") == "ce" and not kind.detach_features:
        where = Objective.classification
        shown.append(_term("L_ce", where, lambda_ce, terms[0], backbone, "backbone"))
    if kind.contrastive and kind.contrast is Objective.contrast:
        shown.append(_term("L_sc", losses._contrast, lambda_sc, terms[1], backbone, "backbone"))
    return Triptych(shown)


def phase2_terms(loop: Phase2) -> Triptych:
    """The terms of phase 2 (Eq. 3 to 5) on the draws of the next step, at the present weights."""
    controls, seed = loop.controls, loop.config.seed
    terms = []
    if isinstance(loop.oversampler, FACoG):
        made = loop.oversampler
        rng = rng_for(loop.device, seed, "oversampler", loop.step)
        of_d, _ = made.discriminator_loss(controls, rng)
        adv, asc = made.generator_losses(controls, rng, training=False)
        where = losses.discriminator_adversarial
        terms += [
            _term("L_D", where, 1.0, of_d, made.discriminator, "D"),
            _term(
                "L_adv", losses.generator_adversarial, controls.lambda_adv, adv, made.generator, "G"
            ),
            _term("L_asc", losses._contrast, controls.lambda_asc, asc, made.generator, "G"),
        ]
    rng = rng_for(loop.device, seed, "classifier", loop.step)
    cls, _ = loop.classifier_loss(controls, rng)
    terms.append(_term("L_cls", Phase2.classifier_loss, 1.0, cls, loop.classifier, "classifier"))
    return Triptych(terms)


@functools.cache
def source_line(function: Callable[..., Any]) -> tuple[str, str]:
    """Where the last line of a function is, as ``facog_lab/losses.py:157``, and what it says."""
    lines, first = inspect.getsourcelines(function)
    source = textwrap.dedent("".join(lines))
    (body,) = ast.parse(source).body
    last = body.body[-1]  # type: ignore[attr-defined]
    path = Path(inspect.getsourcefile(function) or "")
    place = f"{path.parent.name}/{path.name}:{first + last.lineno - 1}"
    return place, ast.unparse(last).removeprefix("return ")


def _term(
    name: str, where: Callable[..., Any], weight: float, loss: Tensor, of: nn.Module, text: str
) -> Term:
    parameters = [p for p in of.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    norm = torch.cat([g.flatten() for g in gradients if g is not None]).norm()
    return Term(name, where, weight, loss.item(), norm.item(), text)


@functools.cache
def _formula(name: str) -> str:
    return to_mathml(rf"\displaystyle {FORMULAS[name]}")


def _cell(content: str) -> str:
    return f'<td style="text-align:left;vertical-align:middle">{content}</td>'
