"""Look at examples as the trainer will: each token, whether it is trained, and what cutting at max_length costs.

Runs in a worker process, through the trainer's own encoder, but without torch: nothing is computed here.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Collection
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from anytune.data import sniff
from anytune.data.input import blank, opened
from anytune.errors import AnytuneError, RefusedError, UsageError
from anytune.local.encode import ChatEncoder, Encoder
from anytune.local.figures import Fault, Faults, Figures, Shown, over
from anytune.local.records import OTHERWISE, Limit, Read, decoded, filled, read
from anytune.local.template import MARK, Span
from anytune.local.training.pair import SIDES, PairEncoder, chat


@dataclass(frozen=True)
class Question:
    """Be what is asked: `lines` are shown, or the `first` examples; the figures are of `sample` examples at most.

    Records are read as `method` has them; if it is not said, each as what it looks like.
    """

    file: Path
    model: str
    limit: Limit
    method: str | None = None
    lines: tuple[int, ...] = ()
    first: int = 0
    sample: int | None = None


def preview(question: Question) -> dict[str, Any]:
    """Return the shown examples, the figures and the faults as one document."""
    encoder, path = open_encoder(question.model), question.file
    with opened(path) as file:
        what = sniff.kind(file.read(sniff.HEAD))
        if what != "lines":
            raise RefusedError(f"{path.name} is {what}, not JSON lines", fix=f"anytune check {path.name}")
        file.seek(0)
        examples = sum(1 for _ in filled(file))
        file.seek(0)
        return look(question, encoder, file, examples)


def look(question: Question, encoder: ChatEncoder, file: BinaryIO, examples: int) -> dict[str, Any]:
    """Encode what is counted or shown of an open file with so many examples."""
    if not examples:
        raise blank(question.file)
    shown, figures, faults = {}, Figures(), Faults()
    counted = chosen(examples, question.sample)
    for place, (line, raw) in enumerate(filled(file)):
        wanted = line in question.lines if question.lines else place < question.first
        if not wanted and place not in counted:
            continue
        seen, fault = encoded(encoder, raw, question, line=line)
        if fault is not None:
            faults.add(line, fault)
        if seen and place in counted:
            figures.add(seen, opens=all(row.ids[0] == encoder.bos for row in seen.whole.rows))
        if wanted:
            told = {"fault": fault and fault._asdict(), "over": seen and over(seen)}
            shown[line] = [one | told for one in drawn(encoder, raw, seen, line=line, method=question.method)]
    if missing := sorted(set(question.lines) - shown.keys()):
        raise UsageError(f"{question.file.name} has no example on line {missing[0]}")
    return {
        "template": template(encoder),
        "examples": [one for line in question.lines or shown for one in shown[line]],
        "file": {"examples": examples, "counted": len(counted), **figures.document()},
        "faults": faults.document(),
    }


def chosen(examples: int, sample: int | None) -> Collection[int]:
    """Return the places of the examples that are counted: all, or a random sample that is the same each time."""
    if sample is None or examples <= sample:
        return range(examples)
    return frozenset(random.Random(0).sample(range(examples), sample))


def is_pair(record: dict[str, Any], method: str | None) -> bool:
    """Tell whether a record is trained as a pair of answers."""
    return method == "dpo" or (method is None and any(side in record for side in SIDES))


def sides(record: dict[str, Any], method: str | None, *, where: str) -> list[tuple[str | None, dict[str, Any]]]:
    """Return the chats that a record is trained as, of a pair one for each answer, by the answer's name."""
    if is_pair(record, method):
        return [(side, chat(record, side, where=where)) for side in SIDES]
    return [(None, record)]


def encoded(
    encoder: ChatEncoder, raw: bytes | None, question: Question, *, line: int
) -> tuple[Read[Shown] | None, Fault | None]:
    """Encode a line as the trainer does; name the fault for which it would stop the trainer, or train nothing."""
    where = f"line {line}"
    try:
        record = decoded(raw, where)
        paired = is_pair(record, question.method)
        reader: Encoder[Shown] = PairEncoder(encoder) if paired else encoder
        seen = read(reader, record, question.limit, where=where, line=line)
    except UsageError as error:
        return None, Fault(error.message.removeprefix(where).lstrip(",: "), error.fix)
    length, policy = question.limit
    if not seen.whole.teaches:
        why = "both answers are the same, so nothing in it is trained"
        return seen, Fault(why, "mend one of them, or remove the pair")
    if seen.kept is None:
        return seen, Fault(f"it is longer than max_length {length}", OTHERWISE) if policy == "refuse" else None
    if seen.taught is not None:
        return seen, None
    what = "a whole answer, or all in which the two differ, lies" if paired else "the whole answer lies"
    why = f"{what} behind max_length {length}, so nothing in it is trained"
    return seen, Fault(why, "raise training.max_length, or shorten what stands before the answer")


def drawn(
    encoder: ChatEncoder, raw: bytes | None, seen: Read[Shown] | None, *, line: int, method: str | None
) -> list[dict[str, Any]]:
    """Return the tokens of each sequence with the text that each stands for; none if it cannot be rendered at all.

    What lost its beginning is shown without it, as the trainer has it; what lost its end, or is left out, whole.
    """
    found: list[dict[str, Any]] = []
    where = f"line {line}"
    try:
        changed = seen.changed if seen else None
        item = seen and (seen.kept if changed else seen.whole)
        for side, one in sides(changed or decoded(raw, where), method, where=where):
            rows = encoder.rendered(one, where=where)
            for number, text in enumerate(rows, start=1):
                ids, offsets = encoder.pieces(text, where=where)
                trained = item.rows[len(found)].trained if item else [False] * len(ids)
                ends = [mark for token, mark in zip(ids, trained, strict=True) if token in encoder.stop_ids]
                found.append(
                    {
                        "line": line,
                        "side": side,
                        "part": {"number": number, "of": len(rows)} if len(rows) > 1 else None,
                        "ids": ids,
                        "texts": texts(encoder, text.text, ids, offsets),
                        "trained": [bool(mark) and place > 0 for place, mark in enumerate(trained)],
                        "bos": ids.count(encoder.bos) if encoder.bos is not None else 0,
                        "ends": len(ends),
                        "ends_trained": sum(ends),
                    }
                )
    except UsageError:
        nothing: dict[str, Any] = {"ids": [], "texts": [], "trained": [], "bos": 0, "ends": 0, "ends_trained": 0}
        return [{"line": line, "side": None, "part": None, **nothing}]
    return found


def texts(encoder: ChatEncoder, text: str, ids: list[int], offsets: list[Span]) -> list[str]:
    """Return the stretch of text that each token adds, so that all together are the text.

    Of a character made of several tokens the first has it, the others are empty; a BOS that the text lacks comes by
    its name.
    """
    if not ids:
        return []
    added = ids[0] == encoder.bos and offsets[0] == (0, 0)
    found, last = [encoder.tokenizer.convert_ids_to_tokens(ids[0])] if added else [], 0
    for _, end in offsets[len(found) :]:
        found.append(text[last : max(last, end)])
        last = max(last, end)
    return [*found[:-1], found[-1] + text[last:]]


def template(encoder: ChatEncoder) -> dict[str, Any]:
    """Say what opens and what ends a turn, and whether the chat template marks the answers itself."""
    named = encoder.tokenizer.convert_ids_to_tokens
    found = encoder.tokenizer.chat_template
    known = list(found.values()) if isinstance(found, dict) else [found] if found else []
    return {
        "bos": None if encoder.bos is None else named(encoder.bos),
        "ends": list(encoder.stops),
        "marks": any(MARK.search(one) for one in known) if known else None,
    }


def open_encoder(model: str) -> ChatEncoder:
    """Open tokenizer and template of a model as the trainer does, without its weights."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
        return ChatEncoder(tokenizer, stop_ids=stop_tokens(model, tokenizer))
    except (OSError, ValueError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(f"the tokenizer of {model} cannot be opened: {line}") from error


def stop_tokens(model: str, tokenizer: Any) -> frozenset[int]:
    """Return all tokens that end an answer: those of the tokenizer, the configuration and the generation settings."""
    config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    try:
        generation = GenerationConfig.from_pretrained(model)
    except OSError:  # there is no such file: the model's own configuration holds
        generation = GenerationConfig.from_model_config(config)
    found: set[int] = set()
    for ids in (tokenizer.eos_token_id, config.get_text_config().eos_token_id, generation.eos_token_id):
        found.update([ids] if isinstance(ids, int) else ids or [])
    return frozenset(found)


def answer(question: Question) -> None:
    """Print the document, or the error that stands in its place, as the only thing on stdout."""
    try:
        with redirect_stdout(sys.stderr):  # what libraries have to say
            document = preview(question)
    except AnytuneError as error:
        document = {"error": {"message": error.message, "fix": error.fix, "exit_code": error.exit_code}}
    print(json.dumps(document))
