"""Rules of what shows only when records are compared with one another."""

from __future__ import annotations

from anytune.data.check.rules.base import Rule

SET_RULES = (
    Rule(
        "duplicate-record",
        "W",
        "the same record stands on line {value}",
        why="Duplicates weigh double in training.",
        fix="remove one (anytune dedupe), unless the weight is meant",
    ),
    Rule(
        "duplicate-normalised",
        "W",
        "the same record but for case and white space stands on line {value}",
        why="Duplicates weigh double in training.",
        fix="remove one (anytune dedupe --kind normalised), unless both are meant",
    ),
    Rule(
        "answers-differ",
        "W",
        "the same prompt has another answer on line {value}",
        why="The model is taught both and learns neither for sure.",
        fix="keep the right answer, unless several are meant",
        methods=("sft",),
    ),
    Rule(
        "preferences-contradict",
        "W",
        "line {value} prefers the other of the same two answers",
        why="The two pairs cancel out.",
        fix="remove the wrong one",
        methods=("dpo",),
    ),
    Rule(
        "near-duplicate",
        "W",
        "nearly the same record stands on {value}",
        why="Near duplicates weigh double in training.",
        fix="remove one (anytune dedupe --kind near), unless both are meant",
    ),
    Rule(
        "leak",
        "E",
        "this very record stands on {value}",
        why="A model that has seen the held-out examples is measured by what it remembers.",
        fix="remove it from one of the two files",
    ),
    Rule(
        "leak-prompt",
        "W",
        "the same prompt stands on {value}",
        why="A held-out question that was trained on measures memory, not skill.",
        fix="remove it from one of the two files (anytune split keeps prompts apart)",
    ),
    Rule(
        "leak-turn",
        "W",
        "the same question, within a longer chat in one of the two files, stands on {value}",
        why="A held-out question that was answered somewhere in a chat that was trained on measures memory, not skill.",
        fix="remove it from one of the two files (anytune split --by first-turn keeps chats that begin alike together)",
    ),
    Rule(
        "leak-near",
        "W",
        "nearly the same prompt stands on {value}",
        why="A held-out question that was nearly trained on measures memory, not skill.",
        fix="remove it from one of the two files",
    ),
    Rule(
        "length-outlier",
        "W",
        "a record of {value}",
        why="It is far from all others in length; often something is pasted in, or cut off.",
        fix="look at it",
    ),
    Rule(
        "example-too-long",
        "E",
        "the record has {value} of text, more than any model reads",
        why="No model that can be tuned has room for it.",
        fix="split the example",
    ),
    Rule(
        "over-limit",
        "W",
        "the record has {value}",
        why="Hosted trainers cut off the end, the answer or part of it; ours does what training.over_length says.",
        fix="shorten or split the example, or raise the limit",
    ),
    Rule(
        "answer-cut-off",
        "WWWWWE",
        "the record has {value}",
        why="Nothing of the answer is left to train on.",
        fix="shorten or split the example, or raise the limit",
    ),
    Rule(
        "personal-data",
        "W",
        "{value}",
        why="What a model has seen it may say; where data goes, personal data and keys go with it.",
        fix="anytune check --redact COPY writes a copy with placeholders",
    ),
    Rule(
        "not-scanned",
        "W",
        "lines too long to be looked through for private data: {value}",
        why="What was not looked at may hold anything; a policy that blocks private data counts it as there.",
        fix="shorten the records, or train on this machine",
    ),
    Rule(
        "mojibake",
        "W",
        "{value} looks like UTF-8 that was read as another encoding",
        why="The model learns to write such letters.",
        fix="decode the source as UTF-8 and write the file anew",
    ),
)
