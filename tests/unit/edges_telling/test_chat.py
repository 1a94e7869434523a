"""Channels that are told of builds which ended badly, by a real HTTP server in Slack's place."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from framework.documents import check, parse_document
from framework.edges import chat
from framework.edges.chat import RETRY_S, AlertsConsumer
from framework.edges.posting import LATE_S
from framework.errors import UnavailableError
from framework.settings import Settings
from framework.telemetry_ports import BusyError, OperatorError
from framework.telemetry_settings import read_telemetry_secrets
from tests.fakes.clockwork import ManualClock
from tests.fakes.post_receiver import PostReceiver, Reply, post_receiver
from tests.unit.edges_telling.batches import batch_of
from tests.unit.telemetry.past import NOW_MS, past_build

PATH = "/services/T0/B0/secret0123456789"
OOM = past_build(0, result_class="oom", message="Memory limit of 512 MiB")


@pytest.fixture
def receiver() -> Iterator[PostReceiver]:
    with post_receiver() as started:
        yield started


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS / 1000)


def channel(folder: Path, url: str, clock: ManualClock, **given: object) -> AlertsConsumer:
    """As of a settings file."""
    (folder / "url").write_text(f"{url}{PATH}\n")
    (folder / "url").chmod(0o600)
    alert = {"name": "team", "url_file": str(folder / "url"), **given}
    document = parse_document(yaml.safe_dump({"telemetry": {"alerts": [alert]}}), "butlery.yaml")
    telemetry = check(document, Settings).telemetry
    assert not read_telemetry_secrets(document, telemetry, {})
    return AlertsConsumer(telemetry.alerts[0], clock, timeout_s=0.5)


@pytest.fixture
def consumer(tmp_path: Path, receiver: PostReceiver, clock: ManualClock) -> Iterator[AlertsConsumer]:
    made = channel(tmp_path, receiver.url, clock)
    yield made
    made.close()


def texts(receiver: PostReceiver) -> list[str]:
    return [str(json.loads(one.body)["text"]) for one in receiver.posted]


def test_a_build_that_ended_badly_is_told(receiver: PostReceiver, consumer: AlertsConsumer) -> None:
    assert consumer.name == "alerts-team"
    assert consumer.take([batch_of(past_build(1), OOM, past_build(2, result_class="failed"))]) == []
    [posted] = receiver.posted
    assert posted.path == PATH
    assert posted.headers["content-type"] == "application/json"
    [text] = texts(receiver)
    assert text.startswith("*Butlery*: 1 build ended badly")
    assert "Memory limit of 512 MiB" in text


def test_a_build_that_comes_twice_is_told_once(
    receiver: PostReceiver, consumer: AlertsConsumer, clock: ManualClock
) -> None:
    consumer.take([batch_of(OOM, OOM)])
    clock.advance(120)
    consumer.take([batch_of(OOM, past_build(1, result_class="oom"))])
    assert [text.splitlines()[0] for text in texts(receiver)] == [
        "*Butlery*: 1 build ended badly in the last 1 min",
        "*Butlery*: 1 build ended badly in the last 3 min",
    ]


def test_builds_of_long_ago_that_may_have_been_told_are_not_told_again(
    receiver: PostReceiver, consumer: AlertsConsumer, clock: ManualClock
) -> None:
    clock.advance(LATE_S + 60)
    batch = batch_of(OOM, past_build(1, result_class="oom", at_ms=NOW_MS + 120_000))
    consumer.take([msgspec.structs.replace(batch, again=True)])
    assert [text.splitlines()[0] for text in texts(receiver)] == ["*Butlery*: 1 build ended badly in the last 59 min"]


def test_what_is_remembered_is_bounded(
    receiver: PostReceiver, consumer: AlertsConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "KNOWN", 3)
    consumer.take([batch_of(*(past_build(number, result_class="oom") for number in range(5)))])
    assert len(consumer._known) == 3


def test_classes_and_tenants_that_were_not_asked_for_are_not_told(
    tmp_path: Path, receiver: PostReceiver, clock: ManualClock
) -> None:
    consumer = channel(tmp_path, receiver.url, clock, classes=["failed"], tenants=["shop"])
    consumer.take([batch_of(OOM, past_build(1, result_class="failed"))])
    assert receiver.posted == []
    consumer.take([batch_of(past_build(2, result_class="failed", tenant="shop"))])
    assert len(receiver.posted) == 1
    consumer.close()


def test_what_comes_soon_after_a_message_is_told_in_the_next(
    receiver: PostReceiver, consumer: AlertsConsumer, clock: ManualClock
) -> None:
    consumer.take([batch_of(OOM)])
    for number in range(1, 6):
        clock.advance(5)
        consumer.take([batch_of(past_build(number, result_class="oom"))])
    consumer.tend(clock.now())
    assert len(receiver.posted) == 1
    clock.advance(35)
    consumer.tend(clock.now())
    consumer.tend(clock.now())
    assert [text.splitlines()[0] for text in texts(receiver)] == [
        "*Butlery*: 1 build ended badly in the last 1 min",
        "*Butlery*: 5 builds ended badly in the last 2 min",
    ]


def test_a_channel_that_refuses_for_now_is_told_later_and_of_each_build_once(
    receiver: PostReceiver, consumer: AlertsConsumer
) -> None:
    receiver.replies = [Reply(429, headers=(("Retry-After", "30"),)), Reply(500), Reply()]
    with pytest.raises(BusyError) as caught:
        consumer.take([batch_of(OOM)])
    assert caught.value.retry_after_s == 30
    with pytest.raises(BusyError):
        consumer.take([batch_of(OOM)])
    assert consumer.take([batch_of(OOM)]) == []
    assert texts(receiver)[-1].startswith("*Butlery*: 1 build ended badly")


@pytest.mark.parametrize(("status", "words"), [(404, b"no_service"), (403, b"action_prohibited"), (400, b"x" * 500)])
def test_what_somebody_must_mend_is_said_without_the_address(
    receiver: PostReceiver, consumer: AlertsConsumer, status: int, words: bytes
) -> None:
    receiver.replies = [Reply(status, words), Reply()]
    with pytest.raises(OperatorError) as caught:
        consumer.take([batch_of(OOM)])
    assert f"team answers {status}" in str(caught.value)
    assert ("no_service" in str(caught.value)) == (status == 404)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("reply", [Reply(cut=True), Reply(slow=True)])
def test_no_answer_is_an_error_without_the_address(
    receiver: PostReceiver, consumer: AlertsConsumer, reply: Reply
) -> None:
    receiver.replies = [reply, Reply()]
    with pytest.raises(UnavailableError) as caught:
        consumer.take([batch_of(OOM)])
    assert "alerts' channel team" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_dead_channel_holds_the_spool_an_hour_and_hears_how_many_it_missed(
    receiver: PostReceiver, consumer: AlertsConsumer, clock: ManualClock
) -> None:
    receiver.replies = [Reply(503)]
    late = [past_build(number, result_class="oom", ended_at_ms=NOW_MS - 3_700_000) for number in range(1, 21)]
    assert consumer.take([batch_of(*late[:10])]) == []
    assert consumer.take([batch_of(*late[10:])]) == []
    assert len(receiver.posted) == 1  # it is not tried at each of them
    clock.advance(RETRY_S)
    with pytest.raises(BusyError):
        consumer.take([batch_of(OOM)])
    receiver.replies = [Reply()]
    consumer.take([batch_of(OOM)])
    text = texts(receiver)[-1]
    assert text.startswith("*Butlery*: 21 builds ended badly in the last 64 min")
    assert text.partition("*The newest*\n")[2].count("\n") == 0


def test_a_dead_channel_does_not_keep_builds_from_being_counted(
    receiver: PostReceiver, consumer: AlertsConsumer, clock: ManualClock
) -> None:
    consumer.take([batch_of(OOM)])
    consumer.take([batch_of(past_build(1, result_class="oom"))])
    receiver.replies = [Reply(429, headers=(("Retry-After", "100"),))]
    clock.advance(60)
    with pytest.raises(BusyError):
        consumer.tend(clock.now())
    clock.advance(RETRY_S + 99)  # longer than whoever sees to it waits before going on
    consumer.tend(clock.now())
    consumer.take([batch_of(past_build(2, result_class="oom"))])
    receiver.replies = [Reply()]
    clock.advance(1)
    consumer.tend(clock.now())
    assert texts(receiver)[-1].startswith("*Butlery*: 2 builds")


def test_what_is_still_to_be_told_is_told_at_the_end(
    tmp_path: Path, receiver: PostReceiver, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = channel(tmp_path, receiver.url, clock)
    consumer.take([batch_of(OOM)])
    consumer.take([batch_of(past_build(1, result_class="oom"))])
    consumer.close()
    assert len(receiver.posted) == 2
    consumer = channel(tmp_path, receiver.url, clock)
    consumer.take([batch_of(OOM)])
    consumer.take([batch_of(past_build(1, result_class="oom"))])
    receiver.replies = [Reply(503)]
    with caplog.at_level(logging.WARNING):
        consumer.close()
    assert [record.message for record in caplog.records] == ["builds that ended badly were not told"]
