"""What the user wrote: the job file, `anytune.yaml`, `--set`, and keys from the environment."""

from anytune.config.job import job_schema, load_job, nearest
from anytune.config.settings import PROJECT_FILE, ProfileSettings, Settings, key_source, load_settings

__all__ = [
    "PROJECT_FILE",
    "ProfileSettings",
    "Settings",
    "job_schema",
    "key_source",
    "load_job",
    "load_settings",
    "nearest",
]
