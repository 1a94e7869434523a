"""What a repository asks for by a file of its own: another label, or its agent changed within its template's bounds.

What it asks for is put into the label, so that the catalogue judges it as it does a label of Jenkins.
"""

from __future__ import annotations

from pydantic import Field

from framework.catalog.model import MAX_ENTRIES, OVERRIDES, Cpus, DiskMib, EnvName, EnvValue, MemMib, TimeoutS
from framework.core.labels import quoted
from framework.documents import DocumentModel, check, parse_document
from framework.setting_types import Image, Text

FILE = ".butlery.yaml"
"""At the root of the repository, beside its Jenkinsfile."""
MAX_BYTES = 64 << 10


class RepositoryFile(DocumentModel):
    """What the builds of a repository ask for, as far as their template lets a job change it."""

    label: Text | None = Field(default=None, description="Label of the template, in place of the webhook's.")
    image: Image | None = Field(default=None, description="Docker image; one of the template's ``overrides.images``.")
    cpus: Cpus | None = Field(default=None, description="CPUs, at most the template's ``overrides.cpus_max``.")
    mem_mib: MemMib | None = Field(default=None, description="Memory, at most ``overrides.mem_mib_max``.")
    disk_mib: DiskMib | None = Field(default=None, description="Disk, at most ``overrides.disk_mib_max``.")
    timeout_s: TimeoutS | None = Field(default=None, description="Longest run, at most ``overrides.timeout_s_max``.")
    env: dict[EnvName, EnvValue] = Field(
        default_factory=dict, max_length=MAX_ENTRIES, description="Environment of the build; the job's goes before it."
    )

    def label_beside(self, label: str | None) -> str | None:
        """The label with all that is to be changed; ``label`` where the file names none."""
        asked = {name: getattr(self, name) for name in OVERRIDES}
        atoms = [quoted(f"{name}={_text(value)}") for name, value in asked.items() if value is not None]
        chosen = self.label or label
        if not atoms:
            return chosen
        return " && ".join([f"({chosen})"] * (chosen is not None) + atoms)


def read(text: str, source: str = FILE) -> RepositoryFile:
    """Raises InputError with every fault and its line."""
    return check(parse_document(text, source), RepositoryFile, (), {})


def _text(value: float | str) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
