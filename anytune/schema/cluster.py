"""Machines of the user's own: how many processes train on one; a cluster, and where it keeps what jobs leave."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from anytune.schema.base import Value
from anytune.schema.money import Usd

Processes = Annotated[int, Field(ge=1, le=64)] | Literal["auto"]  # auto: one on each GPU
Shard = bool | Literal["auto"]  # auto: where the base does not fit otherwise
URL = re.compile(r"[a-z][a-z0-9+.-]*://.+")


def _is_place(folder: str) -> str:
    if not folder.startswith("/") and URL.fullmatch(folder) is None:
        raise ValueError("it should be a whole path (/mnt/shared/anytune) or an address (s3://bucket/anytune)")
    return folder.rstrip("/")


class Cluster(Value):
    """Say how jobs run on a cluster.

    `folder` is where data, checkpoints and models lie: a folder that this machine and all of the cluster's have under
    the same path, or an address that fsspec opens on both. `python` is the interpreter there that has the packages of
    anytune[local], `gpus` how many a job gets, all of one machine, and `usd_per_hour` what these cost.
    """

    folder: Annotated[str, AfterValidator(_is_place)]
    python: Annotated[str, Field(min_length=1)] = "python3"
    gpus: Annotated[int, Field(ge=0, le=64)] = 1
    usd_per_hour: Usd | None = None
