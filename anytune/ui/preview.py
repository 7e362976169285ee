"""Show examples token by token: trained, only read, cut off; and the figures of the whole file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anytune.schema.training import OverLength
from anytune.ui import terminal, words

MOST_READ = 96  # tokens of a stretch that are shown whole; of a longer one both ends
MOST_TRAINED = 240
MOST_STRETCHES = 8  # at each end of an example, and on each side of the cut
READ, TRAINED, LOST, LOST_ANSWER, NOTE = "dim", "bold green", "dim strike", "red strike", "yellow"
SHOWN = "\u200c\u200d\u3000"  # joiners, without which some scripts and emoji fall apart, and the wide space
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
BRACKETS = (("«", "»"), ("⟦", "⟧"), ("{{{", "}}}"))


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


class Stretch(NamedTuple):
    """Be neighbouring tokens, from `start` up to `end`, of one kind."""

    start: int
    end: int
    trained: bool
    lost: bool

    @property
    def most(self) -> int:
        """Return how many of its tokens are shown."""
        return MOST_TRAINED if self.trained else MOST_READ

    @property
    def style(self) -> str:
        """Return how it looks where there are colours."""
        if self.lost:
            return LOST_ANSWER if self.trained else LOST
        return TRAINED if self.trained else READ


class Signs(NamedTuple):
    """Be the marks that a screen or a pipe can show; `brackets` stand around what is trained, where no colour does."""

    brackets: tuple[str, str]
    newline: str
    cut: str
    left_out: str


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
    signs = _signs(on, found["examples"])
    terminal.put(on, terminal.pairs(_head(found, asked, signs)))
    for example in found["examples"]:
        on.print()
        _example(example, found["template"], asked, signs, on=on, every=every)
    if not every and any(_is_long(example, asked.ends_at) for example in found["examples"]):
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
            for one in _stretches(trained, len(ids))
        ],
        "ids": ids,
    }


def _stretches(trained: Sequence[bool], ends_at: float) -> list[Stretch]:
    """Cut an example where training begins or ends, and where it is cut off."""
    kinds = [(mark, at >= ends_at) for at, mark in enumerate(trained)]
    changes = [at for at in range(1, len(kinds)) if kinds[at] != kinds[at - 1]]
    borders = pairwise([0, *changes, len(kinds)] if kinds else [])
    return [Stretch(start, end, *kinds[start]) for start, end in borders]


def _signs(on: Console, examples: Sequence[dict[str, Any]]) -> Signs:
    """Choose marks that the output can show and the texts do not hold."""
    text = "".join(part for example in examples for part in example["texts"])
    coloured = on.is_terminal and on.color_system is not None and not on.no_color
    free = [pair for pair in BRACKETS if _can_show(on, "".join(pair)) and not any(mark in text for mark in pair)]
    brackets = ("", "") if coloured else free[0] if free else BRACKETS[-1]
    return Signs(brackets, "⏎", "✂", "…") if _can_show(on, "⏎✂…") else Signs(brackets, "\\n", "8<", "...")


def _can_show(on: Console, text: str) -> bool:
    try:
        return bool(text.encode(on.encoding))
    except UnicodeEncodeError:
        return False


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
    for block in _blocks(example, asked.ends_at, signs, every=every):
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


def _blocks(example: dict[str, Any], ends_at: float, signs: Signs, *, every: bool) -> Iterator[Text]:
    """Yield the tokens up to the cut, the cut, and the tokens after it."""
    stretches = _stretches(example["trained"], ends_at)
    text, last = Text(), -1
    for at in range(len(stretches)) if every else _kept(stretches):
        one = stretches[at]
        if at > last + 1:
            text.append(_left_out(one.start - stretches[last].end, signs), style=NOTE)
        if one.lost and (at == 0 or not stretches[at - 1].lost):
            yield text
            yield Text(f"{signs.cut}  max_length {ends_at:,} ends here", style=NOTE)
            text = Text()
        text.append_text(_drawn(example["texts"][one.start : one.end], one, signs, every=every))
        last = at
    if text.plain.endswith("\n"):
        text.right_crop(1)
    if text:
        yield text


def _kept(stretches: Sequence[Stretch]) -> list[int]:
    """Return which stretches are shown: those at both ends and around the cut."""
    cut = sum(not one.lost for one in stretches)
    centres = (0, len(stretches), *([cut] if cut < len(stretches) else []))
    near = {at for centre in centres for at in range(centre - MOST_STRETCHES, centre + MOST_STRETCHES)}
    return sorted(near & set(range(len(stretches))))


def _is_long(example: dict[str, Any], ends_at: float) -> bool:
    """Tell whether an example is not shown whole."""
    stretches = _stretches(example["trained"], ends_at)
    return len(_kept(stretches)) < len(stretches) or any(one.end - one.start > one.most for one in stretches)


def _drawn(texts: Sequence[str], stretch: Stretch, signs: Signs, *, every: bool) -> Text:
    """Return the text of a stretch, without its middle if it is long."""
    before, after = signs.brackets if stretch.trained else ("", "")
    if every or len(texts) <= stretch.most:
        return Text(before + _visible(texts, signs) + after, style=stretch.style)
    half = stretch.most // 2
    return Text.assemble(
        (before + _visible(texts[:half], signs), stretch.style),
        (_left_out(len(texts) - 2 * half, signs), NOTE),
        (_visible(texts[-half:], signs) + after, stretch.style),
    )


def _left_out(tokens: int, signs: Signs) -> str:
    return f"[{signs.left_out}{words.count(tokens, 'token')} left out{signs.left_out}]"


def _visible(texts: Sequence[str], signs: Signs) -> str:
    """Return the text with a sign at each line break, and other characters that nobody sees written out."""
    return "".join(
        f"{signs.newline}\n" if c == "\n" else c if c.isprintable() or c in SHOWN else ascii(c)[1:-1]
        for c in "".join(texts)
    )


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
