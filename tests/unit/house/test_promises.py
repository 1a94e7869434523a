"""What README and docs name is there: commands, make targets, files, result classes, pinned packages."""

import configparser
import itertools
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from agents.spec import ISOLATIONS, RESULT_CLASSES
from framework.cli.program import run
from framework.core.templates import Operator

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.rst", ROOT / "CONTRIBUTING.rst", *sorted((ROOT / "docs").glob("*.rst"))]
TEXT = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
LITERAL = re.compile(r"``([^`]+)``")


def test_readme_opens_with_the_two_commands() -> None:
    commands = re.findall(r"^   \$ (make \w+)", TEXT["README.rst"], re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"]
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for text in TEXT.values() for name in re.findall(r"(?:``|\$ )make ([a-z][a-z0-9-]*)", text)}
    assert named <= targets
    assert {"venv", "check", "test", "demo", "docs", "test-cgroup2", "bench", "clean"} <= targets


def test_files_that_are_named_exist() -> None:
    folders = ("framework", "agents", "masters", "benchmarks", "tests", "docs", ".ci")
    for page, text in TEXT.items():
        for name in LITERAL.findall(text):
            if re.fullmatch(rf"(?:{'|'.join(map(re.escape, folders))})/[\w./-]+", name) and "_build" not in name:
                assert (ROOT / name).exists(), f"{page} names {name}"


def test_rooms_of_the_map_exist() -> None:
    rooms = TEXT["docs/architecture.rst"].partition("::\n\n")[2].partition("\n\n")[0]
    names = re.findall(r"^ {3,5}([a-z]+(?:/|\.py))", rooms, re.MULTILINE)
    assert len(names) > 12
    for name in names:
        assert (ROOT / name).exists() or (ROOT / "framework" / name).exists(), name


def test_every_result_class_operator_and_isolation_is_described() -> None:
    results, _, places = TEXT["docs/jobs.rst"].partition("Where a build goes\n")
    assert re.findall(r"^   \* - ``(\w+)``", results, re.MULTILINE) == list(RESULT_CLASSES)
    operators = re.findall(r"^   \* - (``.*``)$", places, re.MULTILINE)
    assert sorted(re.findall(r"``(\w+)``", " ".join(operators))) == sorted(Operator)
    described = re.findall(r"^   \* - ``(\w+)``", TEXT["docs/isolation.rst"], re.MULTILINE)
    assert ["auto", *described] == list(ISOLATIONS)


def test_every_invariant_of_the_map_has_a_test() -> None:
    stated = re.findall(
        r"^(\d)\. (.*(?:\n .*)*)", TEXT["docs/architecture.rst"].partition("Invariants\n")[2], re.MULTILINE
    )
    named = ("test_invariants.py", "test_agent_invariants.py")
    tests = "".join((ROOT / "tests/property" / each).read_text() for each in named)
    tested = set(re.findall(r"^def test_invariant_(\d)_", tests, re.MULTILINE))
    assert {number for number, text in stated if "to be stated" not in text} == tested
    assert len(tested) >= 6


def test_every_requirement_is_pinned_to_a_version_it_allows() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    required = [Requirement(line) for text in texts for line in text.split("\n") if line.strip()]
    pinned = [line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]
    pins = {canonicalize_name(name): Version(version) for name, version in pinned}
    assert len(required) > 25
    for requirement in required:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_command_groups_of_other_packages_are_there() -> None:
    ours = [point for point in entry_points(group="butlery.commands") if point.value.startswith("benchmarks.")]
    assert {point.name for point in ours} == {"bench", "demo"}
    for point in ours:
        assert point.load() is not None


def named_commands() -> list[str]:
    """Every ``butlery ...`` of README and docs, up to its first argument."""
    lines = [line for text in TEXT.values() for line in re.findall(r"^ +\$ (butlery .*)$", text, re.MULTILINE)]
    literals = [
        literal for text in TEXT.values() for literal in LITERAL.findall(text) if literal.startswith("butlery ")
    ]
    found = {line.partition("#")[0].strip() for line in [*lines, *literals]}
    return sorted(" ".join(word for word in line.split() if word != "...") for line in found)


@pytest.mark.parametrize("line", named_commands())
def test_commands_that_are_named_exist(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = line.split()[1:]
    names = list(itertools.takewhile(lambda word: re.fullmatch(r"[a-z]+", word), words))
    assert run([*names, "--help"]) == 0, line
    told = capsys.readouterr().out
    assert "(broken)" not in told
    for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", line):
        assert re.search(rf"(?<!\S){option}\b", told), f"{line}: no {option}"
