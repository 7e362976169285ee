"""The table of menders: which code is mended how, in this order."""

from __future__ import annotations

from anytune.data.check.rules import RULES, SECTIONS
from anytune.data.fix.content import CONTENT_MENDERS
from anytune.data.fix.function import FUNCTION_MENDERS
from anytune.data.fix.line import CHARACTER_MENDERS
from anytune.data.fix.mender import Mender
from anytune.data.fix.order import ORDER_MENDERS
from anytune.data.fix.shape import SHAPE_MENDERS
from anytune.data.fix.sharegpt import SHAREGPT_MENDERS
from anytune.data.fix.speaker import SPEAKER_MENDERS
from anytune.data.fix.tool import TOOL_MENDERS

MENDERS: tuple[Mender, ...] = (
    *CHARACTER_MENDERS,
    *SHAREGPT_MENDERS,
    *SHAPE_MENDERS,
    *SPEAKER_MENDERS,
    *FUNCTION_MENDERS,
    *TOOL_MENDERS,
    *CONTENT_MENDERS,
    *ORDER_MENDERS,
)
REMOVE = "remove the record"
# Formats of whole records: a file of them is converted, not mended.
FOREIGN = frozenset({"wrong-method", "prompt-completion", "text-record", "trl-preference", "sharegpt", "alpaca"})
# Faults of the file; nobody needs to agree to mending them, or nothing mends them.
FILE_CODES = frozenset(
    {
        "file-missing",
        "not-a-file",
        "file-unreadable",
        "extension-not-jsonl",
        "file-empty",
        "file-blank",
        "byte-order-mark",
        "utf-16",
        "compressed",
        "parquet",
        "csv",
        "not-text",
        "carriage-return-ends",
        "json-array",
        "pretty-printed",
        "file-too-large",
        "file-large",
        "too-few-examples",
        "too-many-examples",
        "key-sets-differ",
        "sample-weight-on-some",
        "blank-line",
        "lone-carriage-return",
    }
)
_OF_THE_SET = {rule.code for rule in SECTIONS["Set"]} - {"example-too-long"}
ASKED: frozenset[str] = frozenset(RULES) - FILE_CODES - _OF_THE_SET  # what a user may agree to
