from __future__ import annotations

import ast
import json
import subprocess
import zipfile
from pathlib import Path

import pytest

import agents
from agents.pack import NAME, build_pyz, command

SOURCES = sorted(Path(agents.__file__).parent.rglob("*.py"))


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pyz(tmp_path_factory.mktemp("pack"))


def test_the_same_sources_make_the_same_bytes(pyz: Path, tmp_path: Path) -> None:
    again = build_pyz(tmp_path / "other.pyz")
    assert again == tmp_path / "other.pyz"
    assert again.read_bytes() == pyz.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["other.pyz"]


def test_it_is_one_program_of_the_executor_only(pyz: Path) -> None:
    assert pyz.name == NAME
    assert pyz.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert pyz.stat().st_mode & 0o777 == 0o755
    names = zipfile.ZipFile(pyz).namelist()
    assert "agents/executor/main.py" in names
    assert "agents/executor/main.pyc" in names
    assert not [name for name in names if "pack" in name]


@pytest.mark.parametrize("arguments", [["--help"], ["--run"], []])
def test_without_mesos_it_says_how_it_is_used(pyz: Path, arguments: list[str]) -> None:
    done = subprocess.run([str(pyz), *arguments], capture_output=True, text=True, env={"PATH": "/usr/bin"}, timeout=30)
    assert done.returncode == 2
    assert "usage: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', json.dumps({"version": 2})])
def test_a_spec_that_is_none(pyz: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.json").write_text(text)
    done = subprocess.run([str(pyz), "--run", str(tmp_path / "spec.json")], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith("butlery-executor: BuildSpec: ")
    assert "Traceback" not in done.stderr


def test_the_command_line_takes_any_path(tmp_path: Path) -> None:
    path = build_pyz(tmp_path / "it's here $HOME.pyz")
    done = subprocess.run(["/bin/sh", "-c", command(str(path))], capture_output=True, text=True, env={}, timeout=30)
    assert done.returncode == 2
    assert "environment is not that of a Mesos agent" in done.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_syntax_is_that_of_python_3_8(source: Path) -> None:
    ast.parse(source.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_only_the_standard_library_is_imported(source: Path) -> None:
    import sys

    for node in ast.walk(ast.parse(source.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        assert [n for n in names if n.split(".")[0] not in {*sys.stdlib_module_names, "agents"}] == []
