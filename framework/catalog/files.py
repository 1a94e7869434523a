"""The catalogue read from YAML: the ``templates`` section of the settings file, and the files of ``templates_path``.

Each file of ``templates_path``, which is one or a directory of ``*.yaml``, ``*.yml`` and ``*.json``, holds a mapping
``templates`` as the settings file does. All of them together are one catalogue: any may inherit from any.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from framework.catalog.inheritance import SECTION, merge
from framework.catalog.matching import Catalog, CatalogTemplate
from framework.catalog.model import TemplateSettings
from framework.documents import Document, check, read_document
from framework.errors import Fault, InputError
from framework.setting_types import Name
from framework.wording import complaint

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILES = 2000
_NAME: TypeAdapter[str] = TypeAdapter(Name)
MAX_TEMPLATES = 5000
"""In all: more than ten times what a company of 2000 teams has."""


def read_catalog(config: Path | None, templates_path: Path | None) -> Catalog:
    """``config`` is the settings file. Raises InputError with every fault of every file."""
    faults: list[Fault] = []
    documents: dict[str, Document] = {}
    for file in ([] if config is None else [config]) + template_files(templates_path, faults):
        try:
            document = read_document(file)
        except InputError as error:
            faults += error.faults
        else:
            _collect(document, documents, faults, whole=file is not config)
    if len(documents) > MAX_TEMPLATES:
        raise InputError([*faults, Fault(SECTION, f"there are more than {MAX_TEMPLATES} of them")])
    whole, found = merge(documents)
    faults += found
    templates = [one for name, document in whole.items() if (one := _template(name, document, faults)) is not None]
    faults += _defaults(templates, whole)
    if faults:
        raise InputError(_once(faults))
    return Catalog(templates)


def template_files(path: Path | None, faults: list[Fault]) -> list[Path]:
    """The files of ``templates_path``, by name; what is hidden is not looked at. Adds what cannot be read."""
    if path is None:
        return []
    try:
        if not path.is_dir():
            return [path]
        found = sorted(
            Path(entry.path)
            for entry in os.scandir(path)
            if entry.name.endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file()
        )
    except OSError as error:
        faults.append(Fault(str(path), f"cannot be read: {error.strerror or error}"))
        return []
    if len(found) > MAX_FILES:
        faults.append(Fault(str(path), f"holds more than {MAX_FILES} files; is it the right directory?"))
        return []
    return found


def _collect(document: Document, documents: dict[str, Document], faults: list[Fault], *, whole: bool) -> None:
    """Takes up the file's templates; ``whole``: the file may hold nothing else."""
    data = document.data
    if not isinstance(data, dict):
        faults.append(Fault(document.where(()), f"must be a mapping with the key {SECTION}"))
        return
    if whole:
        alone = f"unknown key: a file of templates holds {SECTION} alone"
        faults += [Fault(document.where((key,)), alone) for key in data if key != SECTION]
    templates = data.get(SECTION)
    if templates is None:
        return
    if not isinstance(templates, dict):
        faults.append(Fault(document.where((SECTION,)), "must be a mapping of names to templates"))
        return
    for name, template in templates.items():
        where = document.where((SECTION, name))
        try:
            _NAME.validate_python(name)
        except ValidationError as error:
            faults.append(Fault(where, f"a template's name {complaint(error.errors()[0])}"))
            continue
        if template is not None and not isinstance(template, dict):
            faults.append(Fault(where, "must be a mapping of keys to values"))
        elif name in documents:
            faults.append(Fault(where, f"stands twice; first at {documents[name].where((SECTION, name))}"))
        else:
            documents[name] = document


def _template(name: str, document: Document, faults: list[Fault]) -> CatalogTemplate | None:
    try:
        settings = check(document, TemplateSettings, (SECTION, name))
    except InputError as error:
        faults += error.faults
        return None
    return CatalogTemplate.of(name, settings)


def _defaults(templates: list[CatalogTemplate], documents: dict[str, Document]) -> list[Fault]:
    default = [one.name for one in templates if one.settings.default and not one.settings.abstract]
    return [
        Fault(documents[name].where((SECTION, name, "default")), f"is true for {default[0]} too; one alone serves all")
        for name in default[1:]
    ]


def _once(faults: list[Fault]) -> list[Fault]:
    """An ancestor's faults are found with all that inherit them."""
    found: dict[tuple[str, str], Fault] = {}
    for fault in faults:
        found.setdefault((fault.where.partition(f" {SECTION}.")[0], fault.message), fault)
    return list(found.values())
