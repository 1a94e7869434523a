"""An app as it is to be against Marathon's own document of it. Pure.

Marathon fills in defaults, so what is desired must be found in what is observed, not the other way round; but whatever
an app of ours may have or not, and what maps names to values, is compared as a whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from masters import names
from masters.app import Document
from masters.names import Variable
from masters.records import Difference, ObservedMaster, Policy

KEPT = (Variable.RESTORE, Variable.TENANT_TOKEN, Variable.ADMIN_PASSWORD)
"""Variables that are no difference where an app has them in clear: of ``restore``, or drawn by ``apply``."""
SECRET = "(secret)"  # noqa: S105 what is shown in its place
_MAYBE = {"container": ("docker",), "external": ("size",)}
"""Keys that an app of ours has or has not, below the top."""
_MAYBE_TOP = ("cmd", "user", "dependencies", "args")
_CLOSED = ("secrets", "options")
"""Mappings in which nothing may be that is not desired."""
_APART = ("id", "instances", "env", "labels", "constraints", "portDefinitions")
_MOST_SHOWN = 200  # characters of a value


def differences(desired: Document, master: ObservedMaster) -> tuple[Difference, ...]:
    """None where the app is as it is to be, but for instances, state, learned grace and the order of constraints."""
    observed = master.document
    policy = policy_in(desired)
    hidden = {*policy.hidden, *master.policy.hidden}
    found = [
        *_top(observed, desired),
        *_constraints(observed.get("constraints") or (), desired["constraints"]),
        *_ports(observed, desired),
        *_env(observed.get("env") or {}, desired["env"], hidden),
        *_labels(observed.get("labels") or {}, desired["labels"]),
        *_policies(master.policy, policy),
    ]
    return tuple(sorted(found, key=lambda one: one.path))


def policy_in(document: Mapping[str, Any]) -> Policy:
    """Of an app of ours."""
    return msgspec.json.decode(document["labels"][names.LABEL_POLICY], type=Policy)


def _top(observed: Mapping[str, Any], desired: Document) -> Iterator[Difference]:
    for key, value in desired.items():
        if key not in _APART:
            yield from _below(key, observed.get(key), value)
    for key in _MAYBE_TOP:
        if key not in desired and observed.get(key):
            yield Difference(key, shown(observed[key]), None)


def _below(path: str, before: Any, after: Any) -> Iterator[Difference]:
    """What of ``after`` is not so in ``before``."""
    key = path.rpartition(".")[2]
    if key == "gracePeriodSeconds":
        return  # learned; it goes along when the master starts anew anyway
    if key == "destPath" and before is None:
        return  # Marathon took it and does not tell it: AppConversion.artifactWrites, of 1.5 at least, leaves it out
    if isinstance(after, Mapping) and isinstance(before, Mapping):
        for name, value in after.items():
            yield from _below(f"{path}.{name}", before.get(name), value)
        owned = before.keys() if key in _CLOSED else _MAYBE.get(key, ())
        for name in owned:
            if name not in after and before.get(name) is not None:
                yield Difference(f"{path}.{name}", shown(before[name]), None)
    elif _is_list(after) and _is_list(before) and len(after) == len(before):
        for place, value in enumerate(after):
            yield from _below(f"{path}[{place}]", before[place], value)
    elif before != after and (before or after):  # Marathon may leave out what is empty
        yield Difference(path, shown(before), shown(after))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _constraints(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> Iterator[Difference]:
    """Sets, to Marathon."""
    was, now = ({tuple(one) for one in each} for each in (before, after))
    if was != now:
        yield Difference("constraints", *(sorted(":".join(one) for one in each) for each in (was, now)))


def _ports(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """Numbers count where they are those of the host; otherwise 0 has become a service port, which says nothing."""
    was, now = (
        [
            (one.get("name"), one.get("protocol", "tcp"), one.get("port", 0) if each.get("requirePorts") else 0)
            for one in each.get("portDefinitions") or ()
        ]
        for each in (before, after)
    )
    if was != now:
        yield Difference(
            "portDefinitions", *([f"{name}:{port or 'any'}" for name, _, port in each] for each in (was, now))
        )


def _env(before: Mapping[str, Any], after: Mapping[str, Any], hidden: Collection[str]) -> Iterator[Difference]:
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was == now or (name in KEPT and isinstance(was, str) and not isinstance(now, Mapping)):
            continue
        told = [SECRET if value is not None and name in hidden else _variable(name, value) for value in (was, now)]
        if told == [SECRET, SECRET]:
            told[1] = "(another secret)"
        yield Difference(f"env.{name}", *told)


def _variable(name: str, value: Any) -> Any:
    """A reference to a secret is as good as one; packed files are told apart by a checksum."""
    if isinstance(value, Mapping):
        return SECRET
    if name == Variable.CONFIGURATION and isinstance(value, str):
        return f"({len(value)} bytes, {zlib.crc32(value.encode()):08x})"
    return shown(value)


def _labels(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted((before.keys() | after.keys()) - {names.LABEL_STATE, names.LABEL_POLICY}):
        if before.get(name) != after.get(name):
            yield Difference(f"labels.{name}", shown(before.get(name)), shown(after.get(name)))


def _policies(before: Policy, after: Policy) -> Iterator[Difference]:
    for name in Policy.__struct_fields__:
        was, now = getattr(before, name), getattr(after, name)
        if was != now:
            yield Difference(f"policy.{name}", was, now)


def shown(value: Any) -> Any:
    """As people read it: whole numbers as such, long text cut."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) > _MOST_SHOWN:
        return f"{value[:_MOST_SHOWN]}... ({len(value)} characters, {zlib.crc32(value.encode()):08x})"
    return value
