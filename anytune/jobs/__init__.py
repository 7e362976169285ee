"""Jobs: `submit` brings a plan to its provider, `life` follows, `resume` goes on, `permit` is the gate, `ask` chats."""

from anytune.jobs.adopt import abandon, adopt, settle
from anytune.jobs.ask import Patient, Screened
from anytune.jobs.desk import Clock, Desk, SystemClock
from anytune.jobs.elsewhere import OUTAGE, is_own, submit_or_leave, was_own
from anytune.jobs.life import YOUNG, Update, cancel, export, fetch_events, follow, model, refresh
from anytune.jobs.permit import permit
from anytune.jobs.resume import resume
from anytune.jobs.submit import CREATE_ROUNDS, LIST_LAG, carry_on, earlier, submit

__all__ = [
    "CREATE_ROUNDS",
    "LIST_LAG",
    "OUTAGE",
    "YOUNG",
    "Clock",
    "Desk",
    "Patient",
    "Screened",
    "SystemClock",
    "Update",
    "abandon",
    "adopt",
    "cancel",
    "carry_on",
    "earlier",
    "export",
    "fetch_events",
    "follow",
    "is_own",
    "model",
    "permit",
    "refresh",
    "resume",
    "settle",
    "submit",
    "submit_or_leave",
    "was_own",
]
