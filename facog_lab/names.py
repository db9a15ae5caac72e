"""What people read for a name: a column of a history, a setting, a method, a data set."""

from __future__ import annotations

import html

from facog_lab import registry

LABELS = {
    "loss": "total",
    "ce": "cross-entropy",
    "sc": "contrastive (L_sc)",
    "lr": "learning rate",
    "train_top1": "top-1",
    "train_acsa": "ACSA",
    "acsa": "ACSA",
    "gm": "GM",
    "top1": "top-1",
    "tail20": "rarest 20%",
    "tail20_gm": "GM, rarest 20%",
    "loss_d": "D, adversarial",
    "loss_g": "G, total",
    "loss_adv": "G, adversarial (L_adv)",
    "loss_asc": "G, contrastive (L_asc)",
    "loss_cls": "classifier, cross-entropy",
    "score_real": "D of real features",
    "score_generated": "D of generated features",
    "entropy": "entropy of w",
    "max_weight": "largest weight",
    "lambda_adv": "λ_adv",
    "lambda_asc": "λ_asc",
    "n_s": "n_s",
    "temperature": "τ",
    "lr_generator": "Generator learning rate",
    "lr_discriminator": "Discriminator learning rate",
    "lr_classifier": "Classifier learning rate",
    "label_selection": "Label selection",
    "oversampler": "Oversampler",
    "logit_prior": "Logit prior",
    "trains": "Update",
    "phase1": "Phase 1 alone",
    "real_images": "Real images",
    "images": "images a class",
    "head": "head",
    "m2m_ldam": "M2m-LDAM",
    "ldam_safa": "LDAM + SAFA",
    "ride_cmo": "RIDE + CMO",
    "oltr": "OLTR",
    "ride": "RIDE",
    "loss_fool": "G, against the classifier",
    "loss_recycle": "SAFA, recycling",
    "loss_contrast": "SAFA, contrast",
    "loss_seek": "SAFA, mode seeking",
    "loss_keep": "SAFA, class kept",
    "added": "added to the mix, share of length",
}

# Values that do not say by themselves what they do, by the setting.
VALUES = {
    "images": {
        "10": "at least 10", "20": "at least 20", "50": "at least 50", "100": "at least 100",
        "all": "all", "10 more": "10 more", "unseen": "as many, but unseen by the backbone",
    },
    "profile": {
        "exponential": "exponential", "gamo": "GAMO: 4,000 to 40", "as_found": "all images",
    },
    "label_selection": {
        "gamo": "fill up: N_max - N_c", "inverse": "rare ones more: 1/N_c",
        "uniform": "all classes alike", "as_found": "as in training: N_c",
    },
    "logit_prior": {"none": "none", "seen": "log of each class's share in training"},
    "trains": {
        "all": "D, G and classifier", "d_and_g": "D and G",
        "d": "only D", "g": "only G", "classifier": "only the classifier",
    },
}  # fmt: skip


# What a changed setting is called in a list of methods, where its name and value are too long.
CHANGES = {
    "logit_prior=seen": "with prior",
    "label_selection=as_found": "classes as in training",
    "label_selection=inverse": "rare classes more",
    "label_selection=uniform": "classes evenly",
    "references=fixed": "fixed references",
    "classifier_batches=literal": "generated batches alone",
    "reweighting=drw": "re-weighted",
    "augmentation=standard": "without AutoAugment",
}


def label(name: str) -> str:
    """The readable name of a column, a setting, a method or a data set; others as they are."""
    if name in LABELS:
        return LABELS[name]
    kinds = (registry.oversamplers, registry.heads, registry.networks, registry.datasets)
    return next((kind[name].label for kind in kinds if name in kind), as_text(name))


def value_label(setting: str, value: object) -> str:
    """The readable name of a setting's value; others as they are."""
    if setting in ("oversampler", "head"):
        return label(str(value))
    return VALUES.get(setting, {}).get(str(value)) or as_text(value)


def as_text(name: object, width: int = 40) -> str:
    """A name escaped for plotly, so that it is not read as HTML, formula or template."""
    shown = " ".join(str(name).split())
    shown = shown if len(shown) <= width else shown[: width - 1] + "…"
    return html.escape(shown, quote=False).replace("$", "&#36;").replace("%", "&#37;")
