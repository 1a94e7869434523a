"""YAML as people write it, well and badly: every fault at once, each with its line."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from framework.documents import MAX_BYTES, DocumentModel, check, dotted, parse_document, read_document
from framework.errors import Fault, InputError


class Shape(DocumentModel):
    cpus: float = Field(default=1, gt=0)
    mem_mib: int = Field(ge=16, le=1 << 20)


class Cluster(DocumentModel):
    name: str = "x"
    hosts: int | list[Shape] = 1
    labels: dict[str, Shape] = Field(default_factory=dict)
    maybe: Shape | None = None


def faults_of(text: str, source: str = "f.yaml") -> list[Fault]:
    with pytest.raises(InputError) as caught:
        check(parse_document(text, source), Cluster)
    return caught.value.faults


def test_values_and_lines() -> None:
    document = parse_document("name: a\nhosts:\n  - {cpus: 1.5, mem_mib: 64}\n  - mem_mib: 32\n", "f.yaml")
    assert document.data == {"name": "a", "hosts": [{"cpus": 1.5, "mem_mib": 64}, {"mem_mib": 32}]}
    assert document.lines["hosts", 1, "mem_mib"] == 4
    assert document.where(("hosts", 1, "mem_mib")) == "f.yaml:4 hosts[1].mem_mib"
    assert check(document, Cluster).hosts == [Shape(cpus=1.5, mem_mib=64), Shape(mem_mib=32)]


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "---\n", "\ufeff# with a byte order mark\n"])
def test_an_empty_file_is_an_empty_mapping(text: str, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(text)
    assert check(read_document(file), Cluster) == Cluster()


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: [1\nb: 2", "f.yaml:2", "is not YAML"),
        ("a:\n\tb: 1", "f.yaml:2", "not tabs"),
        ("a: 1\n--- \nb: 2", "f.yaml:2", "single document"),
        ("a: {b: /x/{y}}", "f.yaml:1", "in quotes"),
        ("a: 'x", "f.yaml:1", "is not YAML"),
        ("a: 1\nb: \x00", "f.yaml:2", "control character"),
        ("a: *nowhere", "f.yaml:1", "undefined alias"),
        ("a: 1\nb:\n  c: 1\na: 2", "f.yaml:4 a", "stands twice; first on line 1"),
        ("b:\n  c: 1\n  c: 2", "f.yaml:3 b.c", "stands twice"),
        ("a: !!python/object/apply:os.system [x]", "f.yaml:1 a", "tag:yaml.org,2002:python"),
        ("a: !secret x", "f.yaml:1 a", "!secret"),
        ("? [a, b]\n: 1", "f.yaml:1", "plain text"),
        ("a: &a [*a]", "f.yaml:1 a[0]", "contains it"),
        ("a: " + "9" * 5000, "f.yaml:1 a", "number"),
        ('a: "\\ud800x"', "f.yaml:1 a", "half a character"),
        ("a: !!bool maybe", "f.yaml:1 a", "tag:yaml.org,2002:bool"),
        ("a: !!int ''", "f.yaml:1 a", "tag:yaml.org,2002:int"),
        ("a: !!map x", "f.yaml:1 a", "tag:yaml.org,2002:map"),
    ],
)
def test_what_is_not_taken_is_named_with_its_line(text: str, where: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_document(text, "f.yaml")
    (fault,) = caught.value.faults
    assert fault.where.startswith(where)
    assert words in fault.message


def test_nested_aliases_do_not_grow_without_bound() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    with pytest.raises(InputError, match="more than 100000 values"):
        parse_document(bomb, "f.yaml")


@pytest.mark.parametrize("depth", [40, 5000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(InputError, match="nested deeper"):
        parse_document("[" * depth + "]" * depth, "f.yaml")


def test_words_that_yaml_would_turn_into_something_else_stay_as_written() -> None:
    data = parse_document("no: 2024-01-01\n1: 1:30:00\nport: 22:22", "").data
    assert data == {"no": "2024-01-01", "1": "1:30:00", "port": "22:22"}


def test_every_fault_at_once_in_the_order_of_the_file() -> None:
    text = "nmae: 1\nhosts:\n  - {cpus: 0, mem_mib: 64}\n  - cpus: .nan\nlabels:\n  x: {mem_mib: '64', cpu: 1}\n"
    assert [(fault.where, fault.message) for fault in faults_of(text)] == [
        ("f.yaml:1 nmae", "unknown key; the nearest known one is `name`"),
        ("f.yaml:3 hosts[0].cpus", "must be more than 0, not 0"),
        ("f.yaml:4 hosts[1].cpus", "must be a finite number, not nan"),
        ("f.yaml:4 hosts[1].mem_mib", "is missing"),
        ("f.yaml:6 labels.x.mem_mib", "must be a whole number, not '64': take the quotes away"),
        ("f.yaml:6 labels.x.cpu", "unknown key; the nearest known one is `cpus`"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: 3", "must be text, not 3: put it in quotes"),
        ("name: no", "must be text, not False: put it in quotes"),
        ("labels: 3", "must be a mapping of keys to values, not 3"),
        ("maybe: {memory: 3, mem_mib: 16}", "unknown key; the nearest known one is `mem_mib`"),
        ("mem_mib: 3", "unknown key here; the nearest known one is `maybe.mem_mib`"),
        ("[a, b]", "must be a mapping of keys to values"),
        ("text", "must be a mapping of keys to values, not 'text'"),
        ("maybe: {mem_mib: 0x" + "f" * 6000 + "}", "must be"),
    ],
)
def test_messages_name_the_fix(text: str, message: str) -> None:
    assert faults_of(text)[0].message.startswith(message)


def test_a_fault_far_from_every_key_lists_them() -> None:
    assert faults_of("zzzzzz: 1")[0].message.endswith("of hosts, labels, maybe, name")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin, large = tmp_path / "latin.yaml", tmp_path / "large.yaml"
    latin.write_bytes(b"a: 1\nb: \xe9\n")
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    for path, where, words in [
        (latin, f"{latin}:2", "UTF-8"),
        (large, str(large), "larger than 1024 KiB"),
        (tmp_path / "none.yaml", str(tmp_path / "none.yaml"), "No such file"),
        (tmp_path, str(tmp_path), "directory"),
        (Path("a\0b"), "'a\\x00b'", "no file name"),
    ]:
        with pytest.raises(InputError) as caught:
            read_document(path)
        (fault,) = caught.value.faults
        assert fault.where == where
        assert words in fault.message


def test_the_cause_that_is_kept_shows_no_values() -> None:
    with pytest.raises(InputError) as caught:
        check(parse_document("labels: hunter2", "f.yaml"), Cluster)
    assert "hunter2" not in str(caught.value.__cause__)


@given(st.text())
def test_no_text_makes_anything_but_faults(text: str) -> None:
    try:
        check(parse_document(text, "f.yaml"), Cluster)
    except InputError as error:
        assert error.faults


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("abc", min_size=1), plain))
def test_what_is_read_is_what_yaml_itself_reads(data: dict[str, object]) -> None:
    text = yaml.safe_dump(data, allow_unicode=True)
    assert parse_document(text, "").data == yaml.safe_load(text)


def test_a_character_that_json_escapes_in_two_halves_is_one(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('{\n\t"\\ud83d\\ude00": "\\ud83d\\ude00"\n}')
    assert read_document(tmp_path / "f.json").data == {"\U0001f600": "\U0001f600"}


def test_dotted() -> None:
    assert dotted(()) == ""
    assert dotted(("hosts", 2, "mem_mib")) == "hosts[2].mem_mib"
    assert dotted((0, "a")) == "[0].a"


@pytest.mark.parametrize("opening", ["[", "- ", "{a: ", "? "])
def test_no_nesting_is_deeper_than_the_stack_of_a_thread(opening: str) -> None:
    for times in (1900, 5000):
        with pytest.raises(InputError):
            parse_document(opening * times, "f.yaml")
