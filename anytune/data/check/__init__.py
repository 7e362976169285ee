"""Check files of examples: every fault in one run, before a byte leaves."""

from anytune.data.check.amount import FEWEST_EXAMPLES, MOST_BYTES
from anytune.data.check.asker import Asker
from anytune.data.check.files import BUILT_IN, check, check_each
from anytune.data.check.further import Wish
from anytune.data.check.rules import COLUMNS

__all__ = ["BUILT_IN", "COLUMNS", "FEWEST_EXAMPLES", "MOST_BYTES", "Asker", "Wish", "check", "check_each"]
