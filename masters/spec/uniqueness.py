"""What two tenants may not share: addresses, ports, homes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from framework.errors import Fault
from masters.spec.model import TenantSpec

if TYPE_CHECKING:
    from masters.spec.files import ReadTenant


def repeated(tenants: Sequence[ReadTenant], domain: str) -> list[Fault]:
    """A fault for each that has what an earlier one has; both places are named."""
    faults: list[Fault] = []
    first: dict[tuple[str, ...], tuple[ReadTenant, str]] = {}
    for tenant in tenants:
        for key, words, value in _owned(tenant.spec, domain):
            other = first.setdefault((words, *value), (tenant, key))
            if other[0] is not tenant and other[0].spec.name != tenant.spec.name:
                faults.append(_fault(tenant, key, f"{words} {value[-1]} is", other))
    return faults + list(_nested(tenants))


def _owned(spec: TenantSpec, domain: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Key, what it is, and the value that nobody else may have."""
    if (host := spec.host_name(domain)) is not None:
        yield "address.host", "the host name", (host,)
    if spec.address.path is not None:
        yield "address.path", "the path", (spec.address.path,)
    if spec.ports.http:
        yield "ports.http", "the port", (str(spec.ports.http),)
    if spec.host_path is not None:
        yield "volume.host_path", "the directory", (str(PurePosixPath(spec.host_path)),)
    if spec.volume.docker is not None:
        yield "volume.docker", "the volume", (spec.volume.docker.driver, str(spec.volume_name))
    if spec.volume.external is not None:
        yield "volume.external", "the volume", (spec.volume.external.driver, str(spec.volume_name))


def _nested(tenants: Sequence[ReadTenant]) -> Iterator[Fault]:
    """A home within another's: the one's backups and clean-ups would meet the other."""
    homes = {PurePosixPath(tenant.spec.host_path): tenant for tenant in tenants if tenant.spec.host_path is not None}
    for path, tenant in homes.items():
        around = next((homes[parent] for parent in path.parents if parent in homes), None)
        if around is not None:
            yield _fault(tenant, "volume.host_path", f"{path} is within", (around, "volume.host_path"))


def _fault(tenant: ReadTenant, key: str, found: str, other: tuple[ReadTenant, str]) -> Fault:
    return Fault(tenant.where(key), f"{found} that of {other[0].spec.name} too, at {other[0].where(other[1])}")
