"""What a job may change of its agent by atoms ``NAME=VALUE`` of its label, and why not."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import re2

from framework.catalog.model import OVERRIDES, TemplateSettings

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
_LEAST = {"cpus": 0.01, "mem_mib": 16, "disk_mib": 0, "timeout_s": 1}


class Override(NamedTuple):
    """``atom`` as it stands in the label."""

    name: str
    value: str
    atom: str


def overrides_of(atoms: Sequence[str]) -> list[Override]:
    """Those of a label's atoms that are meant to change something."""
    parts = ((atom, atom.partition("=")) for atom in atoms)
    return [Override(name, value, atom) for atom, (name, sign, value) in parts if sign and name in OVERRIDES]


def choices(overrides: Sequence[Override]) -> list[tuple[Override, ...]]:
    """All ways to have some of them, the fewest first, in the order of the label; of five names there are 32."""
    return [way for size in range(len(overrides) + 1) for way in itertools.combinations(overrides, size)]


def repeated(overrides: Sequence[Override]) -> str | None:
    """A name that stands more than once, with different values; which was meant?"""
    names = [one.name for one in overrides]
    return next((name for name in names if names.count(name) > 1), None)


def taken(settings: TemplateSettings, override: Override) -> Any:
    """The value, within the template's bounds. Raises ValueError with the bound and what would help."""
    if override.name == "image":
        return _image(settings, override.value)
    most = getattr(settings.overrides, f"{override.name}_max")
    if most is None:
        raise ValueError(f"lets no job change {override.name} (overrides.{override.name}_max is not set)")
    whole = override.name in ("mem_mib", "disk_mib")
    if re.fullmatch(r"[0-9]{1,9}" if whole else r"[0-9]{1,9}(\.[0-9]{1,3})?", override.value) is None:
        raise ValueError(f"takes no {override.atom}: it must be a {'whole ' if whole else ''}number")
    value = int(override.value) if whole else float(override.value)
    least = _LEAST[override.name]
    if not least <= value <= most:
        raise ValueError(f"takes no {override.atom}: from {least:g} to {most:g} can be asked for")
    return value


def changed(settings: TemplateSettings, overrides: Sequence[Override]) -> TemplateSettings:
    """Raises ValueError as ``taken``."""
    if not overrides:
        return settings
    return settings.model_copy(update={one.name: taken(settings, one) for one in overrides})


def _image(settings: TemplateSettings, value: str) -> str:
    patterns = settings.overrides.images
    if not patterns:
        raise ValueError("lets no job change its image (overrides.images is empty)")
    if _IMAGE.fullmatch(value) is None:
        raise ValueError("takes no such image: it is no image's name")
    if not any(_pattern(one).fullmatch(value) for one in patterns):
        shown = ", ".join(patterns[:10]) + (", ..." if patterns[10:] else "")
        raise ValueError(f"takes no image={value}: it takes {shown}")
    return value


@lru_cache(maxsize=4096)
def _pattern(text: str) -> re2._Regexp[str]:
    """``*`` for any characters but ``/``, so that ``maven*`` is no registry's name; ``**`` for any."""
    parts = {"**": ".*", "*": "[^/]*"}
    return re2.compile("".join(parts.get(part) or re.escape(part) for part in re.split(r"(\*\*|\*)", text)))
