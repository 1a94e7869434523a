"""The catalogue follows its files: a good change is taken, a bad one is told and changes nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from framework.catalog.files import read_catalog
from framework.core.events import CatalogSet, Event, TemplateLimits
from framework.errors import InputError
from framework.runtime import templates, watching
from framework.runtime.chance import SystemClock
from framework.runtime.templates import TemplateWatch

WAIT_S = 20


async def until(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


def cpus(watch: TemplateWatch) -> float:
    return watch.catalog.templates["java"].settings.cpus


async def test_what_changes_is_taken_up_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY_S", 0.02)
    config, beside = tmp_path / "butlery.yaml", tmp_path / "more"
    config.write_text("templates: {base: {cpus: 1, max_agents: 3}}\nlog: {level: info}\n")
    beside.mkdir()
    (beside / "java.yaml").write_text("templates: {java: {inherit_from: base}}\n")
    watch = TemplateWatch(config, beside, SystemClock())
    told: list[Event] = []
    unfollow = watch.follow(told.append)
    running = asyncio.create_task(watch.run())
    try:
        config.write_text("templates: {base: {cpus: 2, max_agents: 3}}\nlog: {level: debug}\n")
        await until(lambda: cpus(watch) == 2)
        first, second = told
        assert isinstance(first, CatalogSet) and isinstance(second, CatalogSet)
        assert first.limits == second.limits == dict.fromkeys(("base", "java"), TemplateLimits(3, None))
        assert first.versions != second.versions

        (beside / "more.yaml").write_text("templates: {gradle: {inherit_from: jav, cpus: 0}}\n")
        await until(lambda: bool(watch.notices))
        assert watch.notices == [
            f"templates: {beside}/more.yaml:1 templates.gradle.inherit_from: there is no template jav; "
            "the nearest is java",
            f"templates: {beside}/more.yaml:1 templates.gradle.cpus: must be at least 0.01, not 0",
        ]
        assert "gradle" not in watch.catalog.templates

        (beside / "more.yaml").unlink()
        unfollow()
        (beside / "java.yaml").write_text("templates: {java: {inherit_from: base, cpus: 4}}\n")
        await until(lambda: cpus(watch) == 4)
        assert watch.notices == []
        assert len(told) == 2
    finally:
        watch.stop()
        await asyncio.wait_for(running, WAIT_S)


async def test_it_is_read_at_once_where_somebody_asks(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("templates: {java: {cpus: 1}}\n")
    watch = TemplateWatch(None, file, SystemClock())
    file.write_text("templates: {java: {cpus: 2}}\n")
    assert await watch.reload() == []
    assert cpus(watch) == 2
    file.unlink()
    assert await watch.reload() == [f"templates: {file}: cannot be read: No such file or directory"]
    assert cpus(watch) == 2


async def test_a_disk_that_hangs_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("templates: {java: {}}\n")
    watch = TemplateWatch(None, file, SystemClock())
    read, may_read, asked = read_catalog, threading.Event(), []

    def hanging(*arguments: Path | None) -> object:
        asked.append(arguments)
        assert may_read.wait(WAIT_S)
        return read(*arguments)

    monkeypatch.setattr(templates, "read_catalog", hanging)
    monkeypatch.setattr(watching, "READ_TIMEOUT_S", 0.05)
    try:
        for _ in range(3):
            assert await watch.reload() == [f"templates: {file}: not read within 0.05 s"]
    finally:
        may_read.set()
    monkeypatch.setattr(watching, "READ_TIMEOUT_S", WAIT_S)
    assert await watch.reload() == []
    assert len(asked) == 1


def test_it_does_not_start_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("templates: {java: {cpu: 1}}\n")
    with pytest.raises(InputError, match="the nearest known one is `cpus`"):
        TemplateWatch(None, tmp_path, SystemClock())
