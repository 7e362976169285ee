"""Check files of examples: every fault in one run, before a byte leaves."""

from anytune.data.check.files import FEWEST_EXAMPLES, MOST_BYTES, check

__all__ = ["FEWEST_EXAMPLES", "MOST_BYTES", "check"]
