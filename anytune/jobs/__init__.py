"""Jobs: `submit` brings a plan to its provider, `life` is all that comes after, `desk` what both need, `ask` chats."""

from anytune.jobs.ask import Patient
from anytune.jobs.desk import Clock, Desk, SystemClock
from anytune.jobs.life import YOUNG, Update, cancel, fetch_events, follow, model, refresh, resume
from anytune.jobs.submit import CREATE_ROUNDS, LIST_LAG, carry_on, earlier, submit

__all__ = [
    "CREATE_ROUNDS",
    "LIST_LAG",
    "YOUNG",
    "Clock",
    "Desk",
    "Patient",
    "SystemClock",
    "Update",
    "cancel",
    "carry_on",
    "earlier",
    "fetch_events",
    "follow",
    "model",
    "refresh",
    "resume",
    "submit",
]
