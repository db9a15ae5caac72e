"""Makes the oversampler that a config of phase 2 names."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import nn

from facog_lab import models
from facog_lab.dictionary import FeatureDictionary
from facog_lab.generator import ConvexNull, FACoG, Oversampler, References
from facog_lab.rivals.cgan import CGAN, GAMO, SAFA
from facog_lab.rivals.facog_attention import BorrowingGenerator, FACoGAttention, TailCalib
from facog_lab.rivals.smote import DOS, SMOTE
from facog_lab.rng import rng_for, seeded
from facog_lab.settings import MAX_N_S

if TYPE_CHECKING:
    from facog_lab.phase2 import Phase2Config


def make_oversampler(
    config: Phase2Config,
    dictionary: FeatureDictionary,
    projector: nn.Module,
    classifier: nn.Module,
) -> Oversampler:
    """The oversampler that a config names, new, on the dictionary's device.

    Args:
        config: which one, and FACoG's settings; the seed of initial weights.
        dictionary: what it is fitted to.
        projector: f_proj of phase 1, of which FACoG takes a copy.
        classifier: f_cls, the very module that phase 2 trains: GAMO's and SAFA's generators learn
            from what it says at present. It is only looked at.
    """
    name, classes, width = config.oversampler, dictionary.num_classes, dictionary.feature_dim
    if name in ("smote", "borderline_smote"):
        return SMOTE(dictionary, borderline=name == "borderline_smote")
    if name == "dos":
        return DOS(dictionary)
    if name == "tailcalib":
        return TailCalib(dictionary)
    device = dictionary.features.device
    with seeded(config.seed, "phase2", "weights"):
        if name == "cgan":
            return CGAN(dictionary, models.Discriminator(classes, width))
        if name == "gamo_without_d":
            return GAMO(dictionary, None, classifier)
        if name == "gamo":
            return GAMO(dictionary, models.Discriminator(classes, width), classifier)
        if name == "safa":
            return SAFA(dictionary, classifier)
    references = References(
        dictionary,
        config.references == "fixed",
        rng_for(device, config.seed, "references"),
    )
    if name not in ("facog", "facog_attention"):
        return ConvexNull(references, name)
    generator: nn.Module
    with seeded(config.seed, "phase2", "weights"):
        if name == "facog_attention":
            generator = BorrowingGenerator(classes, width)
        elif config.generator == "attention":
            generator = models.AttentionGenerator(classes, width)
        else:
            generator = models.Generator(
                classes, MAX_N_S, config.generator_hidden, config.generator_batch_norm
            )
        discriminator = models.Discriminator(classes, width)
    return (FACoGAttention if name == "facog_attention" else FACoG)(
        references,
        copy.deepcopy(projector).to(device),
        generator.to(device),
        discriminator.to(device),
        batch_size=config.batch_size,
        optimizer=config.optimizer,
        candidates=config.asc_candidates,
    )
