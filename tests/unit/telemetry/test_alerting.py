"""What a channel is told: gathered, in Slack's form and within its bounds."""

from __future__ import annotations

import json

from framework.telemetry.alerting import LATE_MS, NEWEST, Digest, message
from tests.unit.telemetry.past import NOW_MS, past_build


def test_builds_are_gathered_by_class_and_job_and_the_newest_told_with_why() -> None:
    digest = Digest().more(
        [
            past_build(1, result_class="oom", message="Memory limit of 512 MiB", host="h1"),
            past_build(2, result_class="oom", job="other"),
        ],
        NOW_MS,
    )
    digest = digest.more([past_build(0, result_class="image", job="web", tenant="shop", message="not there")], NOW_MS)
    told = message(digest, NOW_MS)
    text = told["text"]
    assert text.splitlines()[0] == "*Butlery*: 3 builds ended badly in the last 1 min"
    assert "*oom*: 2\n• `payments/nightly` of `payments`: 1\n• `other` of `payments`: 1" in text
    assert "*image*: 1\n• `web` of `shop`: 1" in text
    newest = text.partition("*The newest*\n")[2].splitlines()
    assert newest[0] == "• `web` of `shop` on `host-1`: image, not there (`b000000`)"
    assert newest[1] == "• `payments/nightly` of `payments` on `h1`: oom, Memory limit of 512 MiB (`b000001`)"
    assert "\n".join(block["text"]["text"] for block in told["blocks"]) == text
    assert {(block["type"], block["text"]["type"]) for block in told["blocks"]} == {("section", "mrkdwn")}


def test_what_was_gathered_stays_as_it_was() -> None:
    first = Digest().more([past_build(result_class="oom")], NOW_MS)
    first.more([past_build(1, result_class="oom")], NOW_MS)
    assert (first.builds, first.by_class["oom"], len(first.newest)) == (1, 1, 1)
    assert Digest() == Digest().more([], NOW_MS)


def test_words_of_others_mean_nothing_to_slack() -> None:
    build = past_build(result_class="oom", job="<!channel> `a` &\n*b*", message="see <http://x|y>\x1b[31m")
    text = message(Digest().more([build], NOW_MS), NOW_MS)["text"]
    assert "`&lt;!channel&gt; 'a' &amp; *b*` of" in text
    assert "see &lt;http://x|y&gt; [31m" in text
    assert "\x1b" not in text


def test_messages_are_bounded_whatever_is_in_them() -> None:
    digest = Digest()
    for number in range(3000):
        digest = digest.more(
            [past_build(number, result_class=("oom", "image", "disk")[number % 3], job=f"{number}{'j' * 30_000}",
                        message="<" * 5000)],
            NOW_MS,
        )  # fmt: skip
    told = message(digest, NOW_MS)
    assert digest.builds == 3000
    assert len(digest.newest) == NEWEST
    assert len(digest.by_job) == 500
    assert len(told["blocks"]) <= 50
    assert all(0 < len(block["text"]["text"]) <= 3000 for block in told["blocks"])
    assert len(told["text"]) <= 40_000
    assert "*oom*: 1000" in told["text"]
    assert "• of other jobs: " in json.dumps(told, ensure_ascii=False)


def test_builds_of_long_ago_are_counted_and_not_told_one_by_one() -> None:
    old = [past_build(number, result_class="oom", ended_at_ms=NOW_MS - LATE_MS - 1 - number) for number in range(40)]
    text = message(Digest().more(old, NOW_MS), NOW_MS)["text"]
    assert text.splitlines()[0] == "*Butlery*: 40 builds ended badly in the last 61 min"
    assert "*The newest*" not in text
    ancient = past_build(result_class="oom", ended_at_ms=NOW_MS - 4 * 86_400_000)
    assert "in the last 4 days" in message(Digest().more([ancient], NOW_MS), NOW_MS)["text"]
    today = past_build(result_class="oom", ended_at_ms=NOW_MS - 5 * 3_600_000)
    assert "in the last 5 h" in message(Digest().more([today], NOW_MS), NOW_MS)["text"]
