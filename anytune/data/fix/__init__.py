"""Mend files of examples: what is safe at once, what changes meaning only when agreed, into a new file."""

from __future__ import annotations

from anytune.data.fix.files import fix, foresee
from anytune.data.fix.fixed import Change, Fixed
from anytune.data.fix.table import ASKED

__all__ = ["ASKED", "Change", "Fixed", "fix", "foresee"]
