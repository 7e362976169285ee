"""Jobs: `submit` brings a plan to its provider, `life` is all that comes after, `desk` what both need."""

from anytune.jobs.desk import Clock, Desk, SystemClock
from anytune.jobs.life import YOUNG, Update, cancel, export, fetch_events, follow, model, refresh, resume
from anytune.jobs.submit import CREATE_ROUNDS, LIST_LAG, carry_on, earlier, submit

__all__ = [
    "CREATE_ROUNDS",
    "LIST_LAG",
    "YOUNG",
    "Clock",
    "Desk",
    "SystemClock",
    "Update",
    "cancel",
    "carry_on",
    "earlier",
    "export",
    "fetch_events",
    "follow",
    "model",
    "refresh",
    "resume",
    "submit",
]
