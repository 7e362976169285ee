"""Hold a conversation with a model: questions from stdin, answers on stdout, prompts on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from anytune.providers.base import ChatMessage, Generator
from anytune.ui import terminal, words


@dataclass
class Table:
    """Sit with one model and remember what was said."""

    generator: Generator
    system: str | None
    most: int
    said: list[ChatMessage] = field(default_factory=list)

    def ask(self, question: str) -> str:
        """Ask in the light of what was said before."""
        self.said.append({"role": "user", "content": question})
        opening = [{"role": "system", "content": self.system}] if self.system else []
        (answer,) = self.generator.answer([[*opening, *self.said]], max_new_tokens=self.most)
        self.said.append({"role": "assistant", "content": answer})
        return answer

    def forget(self) -> None:
        """Begin anew."""
        self.said.clear()


def hint(trained: str | None, *, given: str | None) -> None:
    """Say how the training chats began when nothing like it was given: the model expects it."""
    if trained and given is None and terminal.can_ask():
        terminal.note(f"its training chats began with a system message, such as --system {words.short(trained)!r}")


def lines() -> Iterator[str]:
    """Yield the lines of a pipe: questions, and blank ones."""
    return (line.strip() for line in sys.stdin)


def answer_all(table: Table, questions: Iterable[str], *, as_json: bool = False) -> None:
    """Answer each question by itself; a blank one gets a blank answer, so that lines stay aligned."""
    answers = []
    for question in questions:
        table.forget()
        answer = table.ask(question) if question else ""
        if as_json:
            answers.append({"question": question, "answer": answer})
        else:
            _tell(answer)
    if as_json:
        terminal.emit({"answers": answers})


def converse(table: Table) -> None:
    """Talk until the end of input: with memory on a terminal, without in a pipe."""
    if not terminal.can_ask():
        answer_all(table, lines())
        return
    terminal.note("/new begins anew, Ctrl-D ends")
    while True:
        sys.stderr.write("\nyou    ")
        sys.stderr.flush()
        question = sys.stdin.readline()
        if not question:
            sys.stderr.write("\n")
            return
        if question.strip() == "/new":
            table.forget()
        elif question.strip():
            sys.stderr.write("model  ")
            sys.stderr.flush()
            _tell(table.ask(question.strip()))


def _tell(answer: str) -> None:
    """Write an answer as it is to a file, but keep it from commanding a terminal."""
    print(words.clean(answer) if sys.stdout.isatty() else answer, flush=True)
