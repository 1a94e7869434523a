"""Every limit of an app's schema, broken once: refused, with the path of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from framework.local.marathon.definition.faults import InvalidJsonError, InvalidObjectError
from framework.local.marathon.definition.read import EMPTY, Defaults, new_app
from tests.contract.marathon_api import kinds
from tests.contract.marathon_api.breaking import Broken, broken
from tests.contract.marathon_api.notation import Schema

VERSION = "2026-11-21T12:00:00.000Z"
CSI = "/container/volumes(0)/external/"
"""Below it the limits of CSI's options, which are refused as a whole."""
ALTERNATIVES = ("/container/volumes(0)", "/check/exec/command")
"""Of several forms one; which was meant is not told, so a fault may be at the whole or at another form's field."""


def _sleeper(_kind: Schema) -> Any:
    return {"id": "/a", "cmd": "sleep 1"}


def _all() -> list[Broken]:
    return [one for one in broken(kinds.APP, _sleeper) if not one.path.startswith(CSI)]


def test_there_are_hundreds() -> None:
    assert len(_all()) > 300
    assert {one.limit for one in _all()} == {
        "enum",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
        "required",
        "type",
        "uniqueItems",
    }


@pytest.mark.parametrize("one", _all(), ids=str)
def test_a_broken_limit_is_refused_with_its_path(one: Broken) -> None:
    with pytest.raises((InvalidJsonError, InvalidObjectError)) as refused:
        new_app(one.document, defaults=Defaults(), version=VERSION, root=EMPTY)
    assert isinstance(refused.value, InvalidJsonError | InvalidObjectError)
    details = refused.value.details or []
    told = [detail.path for detail in details]
    near = [place for place in ALTERNATIVES if one.path.startswith(place)]
    assert one.path in told or any(path.startswith(place) for place in near for path in told), (one, details)
    assert all(detail.errors for detail in details)
