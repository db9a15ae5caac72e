"""The configs of the lab and the bounds of their fields, found and not listed."""

from facog_lab.config import Config


def all_configs(of=Config):
    """Every config of the lab, found and not listed."""
    for kind in of.__subclasses__():
        if kind.__module__.startswith("facog_lab."):
            yield kind
        yield from all_configs(kind)


def bounds(field):
    return {
        key: getattr(rule, key)
        for rule in field.metadata
        for key in ("ge", "gt", "le", "lt")
        if getattr(rule, key, None) is not None
    }
