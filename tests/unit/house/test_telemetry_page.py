"""docs/telemetry.rst names what there is: the words of records, the settings' keys, the text of a message."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest

from framework.core.stories import Stage
from framework.core.tasks import FailureClass
from framework.documents import check, parse_document
from framework.settings import Settings
from framework.telemetry.alerting import Digest, message
from framework.telemetry.prices import price_sheet
from framework.telemetry.reasons import REASONS
from framework.telemetry.spans import STEPS
from tests.unit.telemetry.past import NOW_MS, past_build

PAGE = (Path(__file__).parents[3] / "docs/telemetry.rst").read_text()
YAML = [
    textwrap.dedent(block) for block in re.findall(r"^\.\. code-block:: yaml\n\n((?:   .*\n|\n)+)", PAGE, re.MULTILINE)
]


def section(title: str) -> str:
    """From its title until the next one."""
    found = re.search(rf"^{title}\n[-~]+\n(.*?)(?=^[^\n]+\n[-~]{{3,}}\n|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("A build", FailureClass),
        ("A change", [stage for stage in Stage if stage is not Stage.READY]),  # spares have no records
        ("A sample", REASONS),
        ("Traces", STEPS),
    ],
)
def test_all_words_of_records_are_told(title: str, words: Iterable[str]) -> None:
    told = section(title)
    assert [word for word in words if f"``{word}``" not in told] == []


@pytest.mark.parametrize("text", YAML)
def test_examples_of_settings_and_prices_are_sound(text: str) -> None:
    document = parse_document(text, "example.yaml")
    if "prices" in document.data:
        price_sheet(document)
    else:
        check(document, Settings)


def test_the_message_of_a_channel_is_the_one_that_is_sent() -> None:
    newest = past_build(
        0, id="b5c0f2a1", job="nightly", result_class="image", host="host-7",
        message="registry.example/maven:3.10 is not there",
    )  # fmt: skip
    others = (
        [("nightly", "payments", "image")] * 6 + [("web", "shop", "image")] * 2 + [("unit-tests", "shop", "oom")] * 3
    )
    builds = [
        past_build(number, job=job, tenant=tenant, result_class=name)
        for number, (job, tenant, name) in enumerate(others, 70)
    ]
    said = message(Digest().more([newest, *builds], NOW_MS), NOW_MS)["text"].splitlines()
    [example] = re.findall(r"^   \*Butlery\*.*\n(?:   .*\n)+", section("Alerts"), re.MULTILINE)
    told = textwrap.dedent(example).splitlines()
    assert told[-1] == "..."
    assert told[:-1] == said[: len(told) - 1]
