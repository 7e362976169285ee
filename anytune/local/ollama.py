"""What Ollama needs beside a GGUF: a Modelfile with the chat template in Go, where it stops, and how it draws.

Ollama's templates are Go's (ollama/ollama, docs/template.md, read 2026-11), a model's own is Jinja. What stands around
the messages is taken from what Jinja makes of some chats, and held against what it makes of others: a template that
does more than to put texts around messages has none in Ollama.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anytune.errors import UsageError
from anytune.local.encode import ChatEncoder
from anytune.local.runs import read_json

Chat = Sequence[Mapping[str, str]]
SYSTEM, USER, ANSWER, AGAIN = "«system»", "«user»", "«answer»", "«again»"
DRAWN = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "repetition_penalty": "repeat_penalty"}


class Affixes(NamedTuple):
    """Be what stands around each message; `bare` stands before a chat that has no system message, `begin` ends it."""

    system: tuple[str, str]
    bare: str
    user: tuple[str, str]
    answer: tuple[str, str]
    begin: str

    def render(self, chat: Chat) -> str:
        """Put a chat together."""
        has_system = chat[0]["role"] == "system"
        around = {"system": self.system, "user": self.user, "assistant": self.answer}
        text = "".join(around[one["role"]][0] + one["content"] + around[one["role"]][1] for one in chat)
        return ("" if has_system else self.bare) + text + self.begin

    def template(self) -> str:
        """Return it as Ollama's template."""
        system = "{{ .System }}".join(self.system)
        user, answer = ("{{ .Content }}".join(each) for each in (self.user, self.answer))
        head = f"{{{{ if .System }}}}{system}{{{{ else }}}}{self.bare}{{{{ end }}}}"
        turns = f'{{{{ if eq .Role "user" }}}}{user}{{{{ else if eq .Role "assistant" }}}}{answer}{{{{ end }}}}'
        return f"{head}{{{{ range .Messages }}}}{turns}{{{{ end }}}}{self.begin}"


def write(folder: Path, model: Path, encoder: ChatEncoder) -> dict[str, Any]:
    """Write the Modelfile; raise `UsageError` where Ollama's language cannot say what the chat template does."""
    found = affixes(encoder)
    drawn = read_json(model / "generation_config.json") or {}
    lines = ["FROM ./model.gguf", f'TEMPLATE """{found.template()}"""']
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in encoder.stops]
    if drawn.get("do_sample"):
        lines += [f"PARAMETER {name} {drawn[key]}" for key, name in DRAWN.items() if drawn.get(key) is not None]
    (folder / "Modelfile").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"template_equal_on_chats": len(_TRIED), "command": "ollama create NAME -f Modelfile"}


def affixes(encoder: ChatEncoder) -> Affixes:
    """Return what the chat template puts around messages; raise `UsageError` where it does more than that."""
    try:
        found = _found(encoder)
        wrong = next((chat for chat in _TRIED if found.render(chat) != _render(encoder, chat)), None)
    except ValueError as error:
        raise _beyond(str(error)) from error
    if wrong is not None:
        raise _beyond(f"a chat of {', '.join(one['role'] for one in wrong)} comes out otherwise")
    if any("{{" in text or '"""' in text for text in (*found.system, found.bare, *found.user, *found.answer)):
        raise _beyond("it writes {{ or three quotes")
    return found


def _found(encoder: ChatEncoder) -> Affixes:
    asked, told = _chat(user=USER), _chat(user=USER, assistant=ANSWER)
    long = [*told, {"role": "user", "content": AGAIN}]
    plain, begun = _render(encoder, asked, begin=False), _render(encoder, asked)
    if not begun.startswith(plain):
        raise ValueError("what begins an answer does not stand at the end")
    begin = begun.removeprefix(plain)
    before, after_user = plain.split(USER)
    _, middle = _render(encoder, told, begin=False).split(USER)
    between, after_answer = middle.split(ANSWER)
    _, turn = _render(encoder, long, begin=False).split(ANSWER)
    before_user = turn.split(AGAIN)[0].removeprefix(after_answer)
    if not before.endswith(before_user) or not between.startswith(after_user):
        raise ValueError("it treats the first message apart")
    whole = _render(encoder, [{"role": "system", "content": SYSTEM}, *asked], begin=False)
    before_system, rest = whole.split(SYSTEM)
    after_system = rest.split(USER)[0]
    if not after_system.endswith(before_user):
        raise ValueError("it treats a question after a system message apart")
    return Affixes(
        system=(before_system, after_system.removesuffix(before_user)),
        bare=before.removesuffix(before_user),
        user=(before_user, after_user),
        answer=(between.removeprefix(after_user), after_answer),
        begin=begin,
    )


def _chat(**said: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in said.items()]


_TRIED: tuple[list[dict[str, str]], ...] = (
    _chat(user="Hi"),
    _chat(system="Be brief.", user="Hi"),
    [*_chat(user="Hi", assistant="Hello!"), *_chat(user="And now?")],
    [
        *_chat(system="Be brief.", user="Hi", assistant="Hello!"),
        *_chat(user="1 + 1", assistant="2"),
        *_chat(user="So?"),
    ],
)


def _render(encoder: ChatEncoder, chat: Chat, *, begin: bool = True) -> str:
    text: str = encoder.tokenizer.apply_chat_template(list(chat), tokenize=False, add_generation_prompt=begin)
    return text


def _beyond(why: str) -> UsageError:
    return UsageError(f"Ollama has no template that does what the model's own does: {why}", fix="export it as gguf")
