"""``butlery templates``."""

from __future__ import annotations

from pathlib import Path

import yaml

from framework.catalog.files import read_catalog
from tests.unit.cli.conftest import Butlery, Serving


def test_templates_are_listed_and_shown_as_the_yaml_they_could_be_written_as(as_red: Butlery, tmp_path: Path) -> None:
    listed = as_red("templates", "list")
    assert listed.code == 0
    heading, row = listed.out.splitlines()
    assert heading.split()[:3] == ["TEMPLATE", "VERSION", "LABELS"]
    assert row.split()[0] == "small" and row.split()[2:5] == ["small", "0.5", "256"]
    shown = as_red("templates", "show", "small").out
    assert yaml.safe_load(shown)["templates"]["small"]["mem_mib"] == 256
    (tmp_path / "t.yaml").write_text(shown)
    assert read_catalog(None, tmp_path / "t.yaml").versions["small"] == row.split()[1]
    assert as_red("templates", "show", "large").code == 2


def test_it_is_told_which_template_serves_a_label(as_red: Butlery) -> None:
    found = as_red("templates", "match", "small || large")
    assert (found.code, found.out.split()[0]) == (0, "small")
    found = as_red("templates", "match", "smal")
    assert (found.code, found.out) == (1, "no template is for `smal`; the nearest are small; known are small\n")
    assert as_red("templates", "match", "a b", "--json").out.count("is no label expression") == 1
    assert as_red("templates", "match", "small", "--tenant", "blue").code == 2


def test_a_reload_says_what_is_wrong(as_admin: Butlery, serving: Serving) -> None:
    ended = as_admin("templates", "reload")
    assert (ended.code, ended.out) == (0, "1 templates\n")
    serving.templates.notices.append("templates: t.yaml:3 templates.a.cpus: must be at least 0.01")
    try:
        ended = as_admin("templates", "reload")
        assert (ended.code, ended.out) == (1, "1 templates, as they were\n")
        assert "t.yaml:3 templates.a.cpus" in ended.err
        assert "t.yaml:3" in as_admin("templates", "list").err
    finally:
        serving.templates.notices.clear()


def test_files_are_validated_with_those_they_inherit_from(alone: Butlery, tmp_path: Path) -> None:
    config, beside = tmp_path / "butlery.yaml", tmp_path / "java.yaml"
    config.write_text("templates: {base: {cpus: 2}}\nlocal: {hosts: 3}\n")
    beside.write_text("templates:\n  java: {inherit_from: base}\n")
    ended = alone("templates", "validate", str(beside), "--config", str(config))
    assert (ended.code, ended.out) == (0, f"{beside}: 2 templates, no faults\n")
    ended = alone("templates", "validate", str(beside))
    assert (ended.code, ended.out) == (2, "")
    assert f"{beside}:2 templates.java.inherit_from: there is no template base" in ended.err
    ended = alone("templates", "validate", str(tmp_path / "none"), "--json")
    assert ended.code == 2 and "cannot be read" in ended.out
