"""Rules of a record's shape: which format it is in, and its top-level keys."""

from __future__ import annotations

from anytune.data.check.rules.base import Rule
from anytune.data.check.suggest import key_meant

RECORD_RULES = (
    Rule(
        "wrong-method",
        "EEE",
        "this record is {value}",
        why="A provider refuses preference pairs under sft and chats under dpo.",
        fix="set method to fit the data, or convert to the other format",
    ),
    Rule(
        "prompt-completion",
        "EWE",
        "this record is a prompt with a completion",
        why="OpenAI took it only for models that are gone; Together still does; a chat works everywhere.",
        fix="convert to chat format: the prompt becomes a user message, the completion an assistant message",
    ),
    Rule(
        "text-record",
        "EWE",
        "this record is plain text",
        why="Only Together trains on plain text, and then on all of it.",
        fix="convert to chat format",
    ),
    Rule(
        "trl-preference",
        "EEE",
        "this record has chosen and rejected, as TRL writes preference pairs",
        why="Hosted providers want input, preferred_output and non_preferred_output.",
        fix="convert to chat format: input.messages, preferred_output, non_preferred_output",
    ),
    Rule(
        "sharegpt",
        "EEE",
        "this record has conversations, as ShareGPT writes chats",
        why="Providers want messages with role and content.",
        fix="convert to chat format: conversations, from, value become messages, role, content",
    ),
    Rule(
        "alpaca",
        "EEE",
        "this record has an instruction, as Alpaca writes examples",
        why="Providers want messages with role and content.",
        fix="convert to chat format: instruction and input become a user message, output the answer",
    ),
    Rule(
        "record-key-unknown",
        "EEW",
        "unknown key {value}",
        why='OpenAI answers "contains an extra" and refuses the file; Together wants known keys only.',
        fix="remove the key",
        hint=key_meant,
    ),
    Rule(
        "sample-weight",
        "E-W",
        "a weight of the whole record",
        why="Only Together knows it; OpenAI refuses the file, a local run leaves it out of account.",
        fix="put weight (0 or 1) on the assistant messages, or remove it",
    ),
    Rule(
        "sample-weight-invalid",
        "-E-",
        "the weight of a record is a number from 0 up, not {value}",
        why="Together multiplies the loss by it.",
        fix="write a number from 0 up",
    ),
    Rule(
        "input-missing",
        "EEE",
        "the key input is missing",
        why="A preference record has the conversation so far in input.",
        fix='add "input": {"messages": [...]}',
        method="dpo",
    ),
    Rule(
        "input-invalid",
        "EEE",
        "input is {value}, not an object with messages",
        why="The conversation so far stands in input.messages.",
        fix='write "input": {"messages": [...]}',
        method="dpo",
    ),
    Rule(
        "input-ends-with-assistant",
        "EEE",
        "the input ends with an assistant message",
        why="The two outputs are what the assistant says next.",
        fix="move that message into the outputs, or end the input with the user's message",
        method="dpo",
    ),
    Rule(
        "output-missing",
        "EEE",
        "the key {value} is missing",
        why="A preference is between two outputs.",
        fix="add it: a list with one assistant message",
        method="dpo",
    ),
    Rule(
        "output-invalid",
        "EEE",
        "an output is a list with exactly one message, not {value}",
        why="Exactly one assistant message is compared on each side.",
        fix='write [{"role": "assistant", "content": "..."}]',
        method="dpo",
    ),
    Rule(
        "output-not-assistant",
        "EEE",
        "an output is from the assistant, not from {value}",
        why="What is compared is what the model says.",
        fix='write "role": "assistant"',
        method="dpo",
    ),
    Rule(
        "outputs-equal",
        "WWW",
        "both outputs are the same",
        why="A pair without a difference teaches nothing.",
        fix="remove the record, or mend one of the outputs",
        method="dpo",
    ),
)
