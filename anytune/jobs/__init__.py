"""Jobs: `submit` brings a plan to its provider, `life` follows, `resume` goes on, `permit` is the gate, `ask` chats."""

from anytune.jobs.adopt import abandon, adopt, settle
from anytune.jobs.ask import Patient, Screened
from anytune.jobs.desk import BAD_ENDS, Clock, Desk, SystemClock
from anytune.jobs.elsewhere import OUTAGE, is_own, submit_or_leave, was_own
from anytune.jobs.errand import Beside
from anytune.jobs.inquiry import Notice
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
from anytune.jobs.permit import permit
from anytune.jobs.resume import resume
from anytune.jobs.submit import CREATE_ROUNDS, LIST_LAG, carry_on, earlier, submit
from anytune.jobs.sweep import Look, Sweep
from anytune.jobs.watched import Watched

__all__ = [
    "BAD_ENDS",
    "CREATE_ROUNDS",
    "LIST_LAG",
    "OUTAGE",
    "YOUNG",
    "Beside",
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
    "abandon",
    "adopt",
    "cancel",
    "carry_on",
    "checkpoints",
    "earlier",
    "export",
    "fetch_events",
    "follow",
    "is_own",
    "model",
    "model_at",
    "pause",
    "permit",
    "refresh",
    "resume",
    "settle",
    "submit",
    "submit_or_leave",
    "was_own",
]
