"""Jobs: `submit` brings a plan to its provider, `reserve` minds the budgets, `life` follows, `permit` is the gate."""

from anytune.clock import Clock, SystemClock
from anytune.jobs.adopt import abandon, adopt, settle
from anytune.jobs.alarm import cancelling, so_far
from anytune.jobs.ask import Patient, Screened
from anytune.jobs.desk import BAD_ENDS, Desk, user
from anytune.jobs.elsewhere import OUTAGE, is_own, submit_or_leave, was_own
from anytune.jobs.inquiry import Notice
from anytune.jobs.lane import Beside
from anytune.jobs.lease import Lease
from anytune.jobs.life import (
    YOUNG,
    Update,
    cancel,
    checkpoints,
    export,
    fetch_events,
    follow,
    model,
    model_at,
    pause,
    refresh,
)
from anytune.jobs.permit import permit, permit_telling
from anytune.jobs.rate import Bucket
from anytune.jobs.resume import once_more, resume
from anytune.jobs.submit import CREATE_ROUNDS, LIST_LAG, carry_on, earlier, submit
from anytune.jobs.sweep import Look, Sweep
from anytune.jobs.turns import RATE
from anytune.jobs.watched import Watched
from anytune.jobs.worker import Worker

__all__ = [
    "BAD_ENDS",
    "CREATE_ROUNDS",
    "LIST_LAG",
    "OUTAGE",
    "RATE",
    "YOUNG",
    "Beside",
    "Bucket",
    "Clock",
    "Desk",
    "Lease",
    "Look",
    "Notice",
    "Patient",
    "Screened",
    "Sweep",
    "SystemClock",
    "Update",
    "Watched",
    "Worker",
    "abandon",
    "adopt",
    "cancel",
    "cancelling",
    "carry_on",
    "checkpoints",
    "earlier",
    "export",
    "fetch_events",
    "follow",
    "is_own",
    "model",
    "model_at",
    "once_more",
    "pause",
    "permit",
    "permit_telling",
    "refresh",
    "resume",
    "settle",
    "so_far",
    "submit",
    "submit_or_leave",
    "user",
    "was_own",
]
