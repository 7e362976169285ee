"""Show examples token by token: trained, only read, cut off; and the figures of the whole file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytune.schema.training import OverLength
from anytune.ui import terminal, words
from anytune.ui.stretch import LOST_ANSWER, NOTE, READ, TRAINED, Signs, blocks, is_long, signs_for, stretches_of

COLUMNS = {
    **{"total": "total", "smallest": "least", "median": "median", "p95": "95%", "largest": "most"},
    "largest_line": "on line",
}
SPARED = ("smallest", "p95", "largest_line")
NARROW = 64  # columns of a screen below which these are left out
FATES = {
    "refuse": "longer ones stop the run",
    "drop": "longer ones are left out",
    "truncate_left": "longer ones lose the oldest before the answer",
    "truncate_right": "longer ones lose their end",
}


class Asked(NamedTuple):
    """Be what a preview looks at: a data file (of a job), a model, and what becomes of examples over a length."""

    file: Path
    job: Path | None
    model: str
    max_length: int
    over_length: OverLength
    whence: str  # who says so
    chosen: bool  # the model is not the job's own
    method: str | None = None  # the job's

    @property
    def ends_at(self) -> float:
        """Return after how many tokens an example is cut off; infinity where its end is always kept."""
        return self.max_length if self.over_length == "truncate_right" else inf


def document(found: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """Return the JSON document of a preview."""
    return {
        "ok": not found["faults"]["examples"],
        "path": str(asked.file),
        "model": asked.model,
        "max_length": asked.max_length,
        "over_length": asked.over_length,
        "template": found["template"],
        "examples": [_as_json(example, asked.ends_at) for example in found["examples"]],
        "file": found["file"],
        "faults": found["faults"],
    }


def show(found: dict[str, Any], asked: Asked, *, on: Console, every: bool) -> None:
    """Show the examples, shortened unless `every` token is wanted, then the file's figures and faults."""
    signs = signs_for(on, found["examples"])
    terminal.put(on, terminal.pairs(_head(found, asked, signs)))
    for example in found["examples"]:
        on.print()
        _example(example, found["template"], asked, signs, on=on, every=every)
    if not every and any(is_long(example, asked.ends_at) for example in found["examples"]):
        terminal.note("--all shows long examples whole")
    on.print()
    _figures(found, asked, on)
    _faults(found, on)


def _as_json(example: dict[str, Any], ends_at: float) -> dict[str, Any]:
    ids, trained, texts = example["ids"], example["trained"], example["texts"]
    return {
        **{"line": example["line"], "tokens": len(ids), "trained": sum(trained)},
        **{name: example[name] for name in ("side", "part", "bos", "ends", "ends_trained", "over", "fault")},
        "cut_at": int(ends_at) if len(ids) > ends_at else None,
        "spans": [
            {"start": one.start, "end": one.end, "trained": one.trained, "text": "".join(texts[one.start : one.end])}
            for one in stretches_of(trained, len(ids))
        ],
        "ids": ids,
    }


def _head(found: dict[str, Any], asked: Asked, signs: Signs) -> Iterator[tuple[str, str | Text]]:
    marks = found["template"]["marks"]
    template = {
        True: "its chat template marks the answers itself",
        False: "its chat template has no {% generation %} marks: an answer is what a rendering gains by it",
        None: "it has no chat template, so only records of plain text can be trained",
    }
    yield "file", f"{words.place(asked.file)}, {words.count(found['file']['examples'], 'example')}"
    yield "model", f"{words.model(asked.model)}; {template[marks]}"
    yield "limit", f"max_length {asked.max_length:,} ({asked.whence}); {FATES[asked.over_length]}"
    before, after = signs.brackets
    if before:
        yield "tokens", f"{before}trained{after}, all others are only read"
    else:
        yield "tokens", Text.assemble(("trained", TRAINED), "  ", ("only read", READ), "  ", ("cut off", LOST_ANSWER))


def _example(
    example: dict[str, Any], template: dict[str, Any], asked: Asked, signs: Signs, *, on: Console, every: bool
) -> None:
    """Show one example: its counts, what is wrong with it, its tokens."""
    ids, trained = example["ids"], sum(example["trained"])
    head = Text.assemble((f"line {example['line']}", "bold"))
    if example["side"]:
        head.append(f", {example['side']}")
    if part := example["part"]:
        head.append(f", text {part['number']} of {part['of']}")
    if ids:
        head.append(f"  {words.count(len(ids), 'token')}, {trained:,} trained ({words.share(trained / len(ids))})")
        head.append(f"; {_borders(example, template)}")
    on.print(head, soft_wrap=not on.is_terminal)
    if example["fault"]:
        _reason(example["fault"], on)
    elif example["over"]:
        _hanging(Text(_lost(example["over"], asked), style=NOTE), on)
    for block in blocks(example, asked.ends_at, signs, every=every):
        _hanging(block, on)


def _borders(example: dict[str, Any], template: dict[str, Any]) -> str:
    """Say how many tokens open a text and end a turn."""
    opening = f"{example['bos']} × {template['bos']}" if template["bos"] else "no BOS"
    name = template["ends"][0] if len(template["ends"]) == 1 else "end of turn"
    return f"{opening}, {example['ends']} × {name}, {example['ends_trained']} of them trained"


def _lost(over: dict[str, Any], asked: Asked) -> str:
    """Say what becomes of an example that is over the limit."""
    limit = f"longer than max_length {asked.max_length:,}"
    if over["left_out"]:
        alone = ", for its answer alone leaves no room" if asked.over_length == "truncate_left" else ""
        return f"{limit}: left out{alone}"
    side = "beginning" if asked.over_length == "truncate_left" else "end"
    trained = f"{over['trained_lost']:,} of {over['trained']:,} trained ones"
    share = words.share(over["trained_lost"] / max(over["trained"], 1))
    return f"{limit}: its {side} is cut off, {over['tokens_lost']:,} of {over['tokens']:,} tokens, {trained} ({share})"


def _figures(found: dict[str, Any], asked: Asked, on: Console) -> None:
    """Show how long the examples are, how much of them is trained, and what is cut off."""
    file = found["file"]
    counted, tokens, trained = file["counted"], file["tokens"], file["trained"]
    sampled = counted < file["examples"]
    whole = f"a random sample of {counted:,} examples; --exact counts all" if sampled else "the whole file"
    both = "; of a pair both answers count, each with what was asked" if file["pairs"] else ""
    on.print(Text.assemble((whole, "bold"), both), soft_wrap=not on.is_terminal)
    if tokens is None:
        return
    names = [name for name in COLUMNS if on.width >= NARROW or name not in SPARED]
    table = terminal.columns("  ", *(COLUMNS[name] for name in names), right=tuple(COLUMNS.values()), whole=("  ",))
    for name, row in (("  tokens", tokens), ("  trained", trained)):
        table.add_row(name, *(f"{row[column]:,}" for column in names))
    terminal.put(on, table)
    rows = [("trained share", words.share(trained["total"] / tokens["total"])), _over(file, asked.max_length)]
    if bos := found["template"]["bos"]:
        often = f"{file['bos']:,} of {words.count(file['encoded'], 'example')}"
        often = "every example" if file["bos"] == file["encoded"] else often
        rows.append((f"begins with {bos}", often if file["bos"] else "no example"))
    terminal.put(on, terminal.pairs((f"  {name}", said) for name, said in rows))


def _over(file: dict[str, Any], limit: int) -> tuple[str, str]:
    """Say how many examples are too long, and what that costs."""
    over, trained = file["over"], file["trained"]["total"]
    if not over["examples"]:
        return f"over max_length {limit:,}", "no example"
    share = words.share(over["examples"] / file["counted"])
    left_out, cut = over["left_out"], over["examples"] - over["left_out"]
    parts = [f"{cut:,} cut"] * bool(cut) + [f"{left_out:,} left out"] * bool(left_out)
    lost = f"{words.share(file['trained_lost'] / trained)} of all trained tokens are lost"
    lines = _lines(over["lines"], over["examples"])
    said = f"{words.count(over['examples'], 'example')} ({share}): {lines}; {', '.join(parts)}; {lost}"
    return f"over max_length {limit:,}", said


def _faults(found: dict[str, Any], on: Console) -> None:
    """Show each reason for which examples would train nothing or stop the trainer, and how to mend it."""
    faults, of_all = found["faults"], found["file"]["counted"] == found["file"]["examples"]
    on.print()
    if not faults["examples"]:
        text = f"Every example{'' if of_all else ' that was looked at'} trains something."
        on.print(Text(text, style="green"), soft_wrap=not on.is_terminal)
        return
    examples = words.count(faults["examples"], "example")
    text = f"{examples}{'' if of_all else ' of those looked at'} would train nothing, or stop the trainer"
    on.print(Text(text, style="bold red"), soft_wrap=not on.is_terminal)
    for kind in faults["kinds"]:
        _reason(kind, on, lines=_lines(kind["lines"], kind["examples"]))
    if faults["untold"]:
        _hanging(Text(f"and {words.count(faults['untold'], 'example')} for other reasons", style=READ), on)


def _reason(fault: dict[str, Any], on: Console, *, lines: str = "") -> None:
    where = f"{lines}: " if lines else ""
    _hanging(Text.assemble(("error  ", "red"), where, words.clean(fault["message"])), on)
    if fault["fix"]:
        _hanging(Text(f"fix: {fault['fix']}"), on)


def _lines(lines: Sequence[int], total: int) -> str:
    """Name the first lines of many."""
    named = lines[:6]
    more = f" and {total - len(named):,} more" if total > len(named) else ""
    return f"line{'' if total == 1 else 's'} {', '.join(f'{line}' for line in named)}{more}"


def _hanging(text: Text, on: Console) -> None:
    """Print a text two columns in: folded on a screen, line by line in a pipe."""
    if not on.is_terminal:
        for line in text.split("\n"):
            on.print(Text.assemble("  ", line), soft_wrap=True)
        return
    table = Table.grid()
    table.add_column(width=2)
    table.add_column(overflow="fold")
    table.add_row("", text)
    terminal.put(on, table)
