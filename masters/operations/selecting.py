"""Which masters a command is about."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from framework.errors import Fault, InputError
from masters.names import LABEL_FAILED, LABEL_POLICY, LABEL_STATE, LABEL_TENANT
from masters.ports import Marathon
from masters.records import ObservedMaster

_OURS = frozenset((LABEL_TENANT, LABEL_POLICY, LABEL_STATE, LABEL_FAILED))


def selected(
    marathon: Marathon, names: Collection[str], all_of_them: bool, labels: Sequence[str]
) -> list[ObservedMaster]:
    """By name. Raises InputError where nobody is named, or what is named is not there; UnavailableError."""
    ways = sum((bool(names), all_of_them, bool(labels)))
    if ways != 1:
        raise InputError([Fault("NAME", "name tenants, or give --all, or --label; one of the three")])
    masters = marathon.masters()
    if names:
        faults = [Fault("NAME", f"no master of {name!r} is there") for name in names if name not in masters]
        if faults:
            raise InputError(faults)
        return [masters[name] for name in sorted(set(names))]
    return [master for _, master in sorted(masters.items()) if all(_has(master.document, label) for label in labels)]


def one(marathon: Marathon, name: str) -> ObservedMaster:
    """Raises InputError where it has no master."""
    return selected(marathon, [name], False, ())[0]


def _has(document: Mapping[str, Mapping[str, str]], label: str) -> bool:
    name, given, value = label.partition("=")
    found = document.get("labels", {}).get(name)
    return name not in _OURS and found is not None and (not given or found == value)
