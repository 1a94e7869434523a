"""How Elasticsearch keeps records: the version of the mapping, the names of its indices, their template.

``dynamic`` is false: a field that this mapping does not know, of a later Butlery, is kept and told but not searched.
Were it ``strict``, a rolling upgrade would lose records. Within a version fields are only added; what changes the type
or the meaning of one takes another version, whose indices are new ones beside the old.
"""

from __future__ import annotations

import re
from types import NoneType, UnionType
from typing import Any, NamedTuple, get_args, get_type_hints

from framework.telemetry.asking import MOST_BUILDS
from framework.telemetry.records import BuildRecord, ChangeRecord, Kind, Record, SampleRecord

MAPPING_VERSION = 1
MAX_PAGE = MOST_BUILDS + 1
"""Records that one search asks for: those of the longest page, and one that tells whether there are more."""
TEMPLATE_PRIORITY = 500
"""Over those that Elasticsearch brings itself (100 to 200)."""
_LONGEST_NAME = 8191
"""Characters of a name that is searched for. Lucene takes 32,766 bytes, of which a character has up to 4; a longer one

is kept all the same.
"""
STRUCTS: dict[Kind, type[Record]] = {
    Kind.BUILDS: BuildRecord,
    Kind.CHANGES: ChangeRecord,
    Kind.SAMPLES: SampleRecord,
}

_NAME = {"type": "keyword", "ignore_above": _LONGEST_NAME}
_SHOWN = {"type": "keyword", "index": False, "doc_values": False}  # of any length
_OF_TYPE: dict[type, dict[str, Any]] = {str: _NAME, int: {"type": "long"}, float: {"type": "double"}}
_OF_FIELD: dict[str, dict[str, Any]] = {
    "title": _SHOWN,
    "build_url": _SHOWN,
    "message": {"type": "text", "norms": False, "index_options": "docs"},  # searched for words, never sorted by
    "reasons": {"type": "object", "dynamic": True},
}


class IndexName(NamedTuple):
    """``PREFIX-KIND-vVERSION-NUMBER``; the number has six digits and counts from 1."""

    name: str
    version: int
    number: int


def alias(prefix: str, kind: Kind) -> str:
    """What all indices of a kind are read by, and the newest is rolled over by."""
    return f"{prefix}-{kind.value}"


def pattern(prefix: str, kind: Kind, version: int | None = MAPPING_VERSION) -> str:
    """Of the names of a kind's indices; None: of every version."""
    return f"{alias(prefix, kind)}-v{'*' if version is None else version}-*"


def index_name(prefix: str, kind: Kind, number: int) -> str:
    return f"{alias(prefix, kind)}-v{MAPPING_VERSION}-{number:06}"


def parsed(prefix: str, kind: Kind, name: str) -> IndexName | None:
    """None for the name of an index that is none of ours."""
    found = re.fullmatch(rf"{re.escape(alias(prefix, kind))}-v(\d{{1,9}})-(\d{{6,}})", name)
    return None if found is None else IndexName(name, int(found[1]), int(found[2]))


def properties(kind: Kind) -> dict[str, Any]:
    """Each field of the kind's records, and how it is kept."""
    return {name: _field(name, hint) for name, hint in get_type_hints(STRUCTS[kind]).items()}


def _field(name: str, hint: Any) -> dict[str, Any]:
    if name in _OF_FIELD:
        return _OF_FIELD[name]
    if name.endswith("at_ms"):
        return {"type": "date", "format": "epoch_millis"}
    if isinstance(hint, UnionType):
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    return _OF_TYPE[hint]


def mappings(kind: Kind) -> dict[str, Any]:
    counted = {"path_match": "reasons.*", "mapping": {"type": "long"}}
    return {
        "dynamic": False,
        "_meta": {"butlery_mapping": MAPPING_VERSION},
        "properties": properties(kind),
        **({"dynamic_templates": [{"reasons": counted}]} if kind is Kind.SAMPLES else {}),
    }


def template(prefix: str, kind: Kind, replicas: int) -> dict[str, Any]:
    """The index template of this version; indices that rollover makes are of it too."""
    return {
        "index_patterns": [pattern(prefix, kind)],
        "priority": TEMPLATE_PRIORITY,
        "version": MAPPING_VERSION,
        # Else a write to an index that somebody deleted would make it anew, without the alias that it is read by.
        "allow_auto_create": False,
        "_meta": {"butlery_mapping": MAPPING_VERSION},
        "template": {
            "settings": {
                "number_of_shards": 1,
                "number_of_replicas": replicas,
                "max_result_window": MAX_PAGE,
                "mapping.coerce": False,  # text is no number
                # As lists are ordered: a page is read from where it begins, and no further than it goes.
                "sort.field": ["at_ms", "id"],
                "sort.order": ["desc", "desc"],
            },
            "mappings": mappings(kind),
        },
    }
