"""Jobs that are given by a Jenkinsfile, and what a repository's own file asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from pydantic import ValidationError

from framework.api.models import JENKINSFILE_VARIABLES, JobIn
from framework.catalog.repository import RepositoryFile
from framework.ports import Submission
from framework.serverless_settings import ServerlessSettings

FOLDER = ".butlery"
"""Of the workspace, for what came with the job."""
JENKINSFILE = f"{FOLDER}/Jenkinsfile"
PARAMETERS = f"{FOLDER}/parameters"
"""``NAME=VALUE`` each, a line each."""


def unfolded(raw: Mapping[str, Any], settings: ServerlessSettings) -> dict[str, Any]:
    """A job as it was sent, with what its ``overrides`` ask for in its own fields; where they are faulty as it was."""
    job = dict(raw)
    if job.get("label") is None and runs_jenkinsfile(job) and settings.label is not None:
        job["label"] = settings.label
    try:
        asked = RepositoryFile.model_validate({} if job.get("overrides") is None else job["overrides"])
    except ValidationError:
        return job
    label, env = job.get("label"), job.get("env", {})
    if isinstance(label, str | None) and isinstance(env, dict):
        job.pop("overrides", None)
        job |= {"env": {**asked.env, **env}} if asked.env else {}
        label = asked.label_beside(label)
        job |= {"label": label} if label is not None else {}
    return job


def runs_jenkinsfile(raw: Mapping[str, Any]) -> bool:
    return raw.get("jenkinsfile") is not None or raw.get("jenkinsfile_path") is not None


def with_jenkinsfile(submission: Submission, job: JobIn, settings: ServerlessSettings) -> Submission:
    """The job as the runtime takes it, where it is given by a Jenkinsfile; else as it was."""
    if job.jenkinsfile is None and job.jenkinsfile_path is None:
        return submission
    spec, image = submission.spec, submission.template.image or settings.image
    parameters = "".join(f"{name}={value}\n" for name, value in job.parameters.items())
    files = {PARAMETERS: parameters} | ({JENKINSFILE: job.jenkinsfile} if job.jenkinsfile is not None else {})
    paths = dict(zip(JENKINSFILE_VARIABLES, (job.jenkinsfile_path or JENKINSFILE, PARAMETERS), strict=True))
    return msgspec.structs.replace(
        submission,
        template=msgspec.structs.replace(submission.template, image=image),
        spec=replace(spec, command=settings.command, image=image, env=spec.env | paths, files={**spec.files, **files}),
    )
