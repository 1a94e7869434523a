"""How sizes and neighbours are told to people; what the API answers is a test of its own."""

from __future__ import annotations

from typing import Any

import pytest

from framework.api.sizes import BesideOut, NeighboursOut, NoisyJobOut, NoisyOut, SizeList, SizeOut
from framework.cli.client import ApiClient
from tests.unit.cli.conftest import Butlery

SIZE: dict[str, Any] = {
    "tenant": "red",
    "job": "shop/nightly",
    "template": "maven",
    "builds": 120,
    "ooms": 0,
    "asked_mem_mib": 4096,
    "asked_cpu_millis": 2000,
    "mem_mib": 1216,
    "cpu_millis": 450,
    "coverage": 0.95,
    "confidence": 0.9788,
    "missing": 0,
    "reason": "95.0% of builds stay within 1000 MiB",
    "saves_mem_gib_h": 5.6,
    "saves_cpu_h": 3.1,
}


class Answers:
    """What the API answers, and what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Any]] = []

    def get(self, _: ApiClient, path: str, params: Any = None) -> Any:
        self.asked.append((path, params))
        return self.answer.model_dump()


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> Answers:
    found = Answers(answer)
    monkeypatch.setattr(ApiClient, "get", lambda *given: found.get(*given))
    return found


def test_sizes_are_a_table(as_red: Butlery, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown: dict[str, Any] = {
        "mem_mib": None,
        "cpu_millis": None,
        "missing": 19,
        "saves_mem_gib_h": None,
        "saves_cpu_h": None,
    }
    jobs = [SizeOut(**SIZE), SizeOut(**SIZE | unknown | {"job": "x" * 40_000, "template": ""})]
    found = answering(monkeypatch, SizeList(jobs=jobs, more=True, applied=False))
    ended = as_red("builds", "sizes", "--since", "30d")
    assert ended.code == 0
    heading, first, second = ended.out.splitlines()
    assert heading.split()[:4] == ["TENANT", "JOB", "TEMPLATE", "BUILDS"]
    assert "4096 MiB" in first and "1216 MiB" in first and "0.45" in first
    assert first.endswith("5.6 GiB h, 3.1 CPU h  97.9%")
    assert "19 builds more" in second and len(second) < 300
    assert "telemetry.sizing.apply" in ended.err and "--limit" in ended.err
    assert found.asked[0][0] == "/v1/builds/sizes" and found.asked[0][1]["since"] == "30d"


def test_one_jobs_size_comes_with_its_reason(as_red: Butlery, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, SizeList(jobs=[SizeOut(**SIZE)], more=False, applied=True))
    ended = as_red("builds", "sizes", "--job", "shop/nightly")
    assert ended.out.endswith("red shop/nightly maven: 95.0% of builds stay within 1000 MiB\n")
    assert as_red("builds", "sizes", "--json").json["jobs"][0]["mem_mib"] == 1216
    assert as_red("builds", "sizes", "--json", "--csv").code == 2


def test_neighbours_are_told_with_what_is_usual(as_red: Butlery, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = BesideOut(
        build="",
        tenant="",
        job="",
        together_ms=90_000,
        asked_cpu_millis=100,
        used_cpu_millis=4000,
        above_cpu_millis=3900,
    )
    told: dict[str, Any] = {
        "build": "b1",
        "host": "h1",
        "neighbours": [hidden],
        "more": 3,
        "run_ms": 120_000,
        "usual_builds": 40,
    }
    answering(monkeypatch, NeighboursOut(**told, usual_ms=60_000.0, slower=2.0))
    ended = as_red("builds", "neighbours", "b1")
    assert ended.code == 0
    first, _, line = ended.out.splitlines()
    assert first == "it ran 2m00s on host h1; usual are 1m00s, the median of 40 others: 2.00 times as long"
    assert "of another tenant" in line and "3.9" in line and "1m30s" in line
    assert "3 more" in ended.err
    answering(monkeypatch, NeighboursOut(**told | {"usual_builds": 2}, usual_ms=None, slower=None))
    assert "2 other builds of its job are too few" in as_red("builds", "neighbours", "b1").out


def test_noisy_jobs_are_ranked(as_red: Butlery, monkeypatch: pytest.MonkeyPatch) -> None:
    job = NoisyJobOut(
        tenant="blue",
        job="hog",
        slower=1.42,
        least=1.31,
        most=1.55,
        beside=30,
        without=90,
        jobs=4,
        above_cpu_millis=3000,
    )
    answering(monkeypatch, NoisyOut(jobs=[job], builds=120, too_few=7, since_ms=1_760_000_000_000, cut_short=True))
    ended = as_red("builds", "noisy")
    assert ended.out.splitlines()[1].split() == ["blue", "hog", "+42%", "+31%", "+55%", "30", "90", "4", "3"]
    assert "120 builds since" in ended.err and "7 more jobs" in ended.err and "the newest were" in ended.err
