"""Measure what a model's own chat template adds to messages and records, by rendering a few chats with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.parser import Parser
    from tokenizers import Tokenizer

_MARKERS = ("boat", "7")  # a template whose own text melts into what it frames adds not the same to both
_SYSTEM, _USER, _ANSWER = "system", "user", "assistant"
_TWO = (_USER, _ANSWER)


class Frame(NamedTuple):
    """Be the tokens that a template adds; `exact` if they are the same for every message of a chat."""

    per_message: int
    per_record: int
    exact: bool


def frame(folder: Path, tokenizer: Tokenizer) -> Frame | None:
    """Measure the chat template of a model's folder; None if there is none, jinja2 is missing or it cannot be rendered.

    What a template adds to a record is what two messages have beyond half of what four have.
    """
    try:
        special, source = _read(folder)
        if source is None:
            return None
        template = _compiled(source)
        frames = {_measured(partial(_added, template, special, tokenizer, marker)) for marker in _MARKERS}
    except Exception:  # a template is a program of its own: whatever it raises, it cannot be measured
        return None
    found = frames.pop()
    return found._replace(exact=found.exact and not frames)


def _measured(added: Callable[[tuple[str, ...]], int]) -> Frame:
    two, four = added(_TWO), added(_TWO * 2)
    per_message, odd = divmod(four - two, 2)
    try:
        alike = added((_SYSTEM, *_TWO)) - two == per_message
    except Exception:  # a template that takes no system message refuses it in training, too
        alike = True
    return Frame(per_message, two - 2 * per_message, exact=alike and not odd)


def _added(
    template: Template, special: dict[str, str], tokenizer: Tokenizer, marker: str, roles: tuple[str, ...]
) -> int:
    """Return the tokens of a chat beyond those of what its messages say."""
    messages = [{"role": role, "content": marker} for role in roles]
    text = template.render(messages=messages, tools=None, documents=None, add_generation_prompt=False, **special)
    tokens = tokenizer.encode(text, add_special_tokens=False).tokens
    begin = special.get("bos_token")
    begun = begin is not None and tokenizer.encode(marker).tokens[:1] == [begin] and tokens[:1] != [begin]
    said = len(tokenizer.encode(marker, add_special_tokens=False).ids)
    return len(tokens) + begun - said * len(roles)


def _read(folder: Path) -> tuple[dict[str, str], str | None]:
    """Return the special tokens by name, and the source of the template."""
    path = folder / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    tokens = {
        key: value["content"] if isinstance(value, dict) else value
        for key, value in config.items()
        if key.endswith("_token") and isinstance(value, (str, dict))
    }
    own = folder / "chat_template.jinja"
    if own.is_file():
        return tokens, own.read_text(encoding="utf-8")
    held = config.get("chat_template")
    if isinstance(held, list):
        held = next((each["template"] for each in held if each["name"] == "default"), None)
    return tokens, held


def _compiled(source: str) -> Template:
    """Compile a template as model libraries do: sandboxed, blocks trimmed, with their additions to the language."""
    from datetime import datetime

    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """Pass over the marks around what is trained."""

        tags = {"generation"}

        def parse(self, parser: Parser) -> list[nodes.Node]:
            """Return what stands between the marks."""
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _as_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return environment.from_string(source)


def _as_json(value: Any, **how: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **how})
