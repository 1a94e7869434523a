"""Tenants' secrets: resolved with every fault at once, kept for their owner alone, and never quoted."""

import stat
from pathlib import Path

import pytest

from framework.errors import InputError, StoreError
from masters.secret_store import SecretStore, digest, resolve
from masters.spec.files import ReadTenant, read_tenants

SMALL = "image: j\nvolume: {host_path: '/srv/{tenant}', shared: true}\n"


def tenants(folder: Path, **secrets: str) -> list[ReadTenant]:
    for name, text in secrets.items():
        (folder / f"{name}.yaml").write_text(f"{SMALL}secrets:\n  {text}\n")
    return read_tenants(folder, "localhost")


def private(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def test_from_files_variables_and_marathon(tmp_path: Path) -> None:
    private(tmp_path / "db.pw", "pässword\n".encode())
    read = tenants(
        tmp_path,
        a="DB: {file: db.pw}",
        b=f"DB: {{file: '{tmp_path}/db.pw'}}\n  X: {{env: GIVEN}}\n  M: {{marathon: /m}}",
    )
    assert resolve(read, {"GIVEN": "value"}) == {"a/env-DB": "pässword", "b/env-DB": "pässword", "b/env-X": "value"}


def test_every_fault_at_once_and_no_value_in_them(tmp_path: Path) -> None:
    private(tmp_path / "open.pw", b"hunter2", 0o644)
    private(tmp_path / "empty.pw", b"\n")
    private(tmp_path / "binary.pw", b"hunter2\xff")
    private(tmp_path / "large.pw", b"hunter2" * 5000)
    private(tmp_path / "nul.pw", b"hunter2\0")
    given = ("open.pw", "empty.pw", "binary.pw", "large.pw", "nul.pw", "none.pw", ".")
    text = "\n  ".join(f"S{index}: {{file: {name}}}" for index, name in enumerate(given))
    read = tenants(tmp_path, a=text + "\n  E0: {env: UNSET}\n  E1: {env: EMPTY}")
    with pytest.raises(InputError) as caught:
        resolve(read, {"EMPTY": ""})
    file = tmp_path / "a.yaml"
    assert [(fault.where, fault.message) for fault in caught.value.faults] == [
        (f"{file}:4 secrets.S0.file", "open.pw: everyone on this machine may read or change it; `chmod 600` it"),
        (f"{file}:5 secrets.S1.file", "empty.pw: empty"),
        (f"{file}:6 secrets.S2.file", "binary.pw: not UTF-8 text"),
        (f"{file}:7 secrets.S3.file", "large.pw: has more than 32 KiB"),
        (f"{file}:8 secrets.S4.file", "nul.pw: holds the character NUL, which no variable can"),
        (f"{file}:9 secrets.S5.file", "none.pw: cannot be read: No such file or directory"),
        (f"{file}:10 secrets.S6.file", ".: cannot be read: Is a directory"),
        (f"{file}:11 secrets.E0.env", "the variable UNSET: not set where this command runs"),
        (f"{file}:12 secrets.E1.env", "the variable EMPTY: empty"),
    ]


def test_the_store(tmp_path: Path) -> None:
    store = SecretStore(tmp_path / "marathon" / "secrets")
    assert store.digests() == {}
    assert store.read("pay/token") is None
    assert store.write("pay/token", "t-1234")
    assert not store.write("pay/token", "t-1234")
    assert store.write("pay/token", "t-5678")
    assert store.write("pay/env-DB", "x")
    assert store.write("web/admin-password", "long enough")
    file = tmp_path / "marathon" / "secrets" / "pay" / "token"
    assert file.read_text() == "t-5678"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert store.digests() == {
        "pay/token": digest("t-5678"),
        "pay/env-DB": digest("x"),
        "web/admin-password": digest("long enough"),
    }
    (file.parent / "of-an-operator").write_text("x")
    store.forget("pay")
    store.forget("web")
    store.forget("never-there")
    assert store.digests() == {}
    assert [path.name for path in file.parent.parent.rglob("*")] == ["pay", "of-an-operator"]


@pytest.mark.parametrize(
    "source", ["token", "../token", "pay/../token", "pay/other", "pay/env-", "/pay/token", "pay/token\0"]
)
def test_names_that_are_none_of_the_store(source: str, tmp_path: Path) -> None:
    store = SecretStore(tmp_path)
    with pytest.raises(StoreError, match="is no name"):
        store.read(source)
    with pytest.raises(StoreError, match="is no name"):
        store.write(source, "x")


def test_a_store_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SecretStore(tmp_path / "file")
    for attempt in (lambda: store.write("pay/token", "hunter2"), lambda: store.read("pay/token"), store.digests):
        with pytest.raises(StoreError, match="Not a directory") as caught:
            attempt()
        assert "hunter2" not in str(caught.value)
    (tmp_path / "pay").mkdir()
    (tmp_path / "pay" / "token").write_text("hunter2")
    (tmp_path / "pay" / "token").chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        SecretStore(tmp_path).read("pay/token")
