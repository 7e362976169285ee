"""The worker behind `serve`: one base, the adapters that were trained on it, and questions by the line.

In: {"question": 1, "model": "NAME", "messages": […], "tools": …, "most": 99, "temperature": 0, …} and {"cancel": 1}.
Out: {"ready": {"context": 2048}} once, then for each question {"question": 1, "prompt": 12}, pieces {"question": 1,
"text": "…"}, and {"question": 1, "ended": "stop", "tokens": 5} or {"question": 1, "error": "…", "kind": "user"}.
Questions are answered one after the other, in order; one that was cancelled is passed over or ends at its next token.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from anytune.errors import AnytuneError, UsageError
from anytune.local import loading
from anytune.local.artifact import Origin, adapter_factors, read_speaker
from anytune.local.encode import ChatEncoder
from anytune.local.generate import Speaker, beside, choices, output, set_threads
from anytune.local.sampling import Sampling, answer, room


class Models:
    """Hold one base and its adapters; one of them at a time speaks."""

    def __init__(self, base: str, tuned: Mapping[str, Path], quantize: str | None, *, alone: str) -> None:
        """Open them; the base speaks as `alone`."""
        origins = {name: read_speaker(folder) for name, folder in tuned.items()}
        first = next(iter(origins.values()), None) or _whole(base)
        dtype, threads = choices(base)
        set_threads(threads)
        self._tokenizer = loading.open_tokenizer(base)
        self.net = loading.open_base(
            base, quantize=first.quantize if first else quantize, dtype=first.dtype if first else dtype
        )
        stops = loading.stop_tokens(self.net, self._tokenizer) | frozenset(first.stop_ids if first else ())
        self._speakers = {alone: self._speaker(stops)}
        self._hooks: dict[str, list[tuple[Any, Any]]] = {alone: []}
        layers = dict(self.net.named_modules())
        for name, origin in origins.items():
            self._speakers[name] = self._speaker(stops | frozenset(origin.stop_ids))
            self._hooks[name] = [
                (layers[layer], _hook(layers[layer].weight, a, b)) for layer, a, b in adapter_factors(tuned[name])
            ]
        self._standing: list[Any] = []
        self._speaking = alone

    @property
    def context(self) -> int | None:
        """Return how many tokens the model can hold."""
        found = getattr(self.net.config.get_text_config(), "max_position_embeddings", None)
        return found if isinstance(found, int) else None

    def speaker(self, name: str) -> Speaker:
        """Let the model of that name speak; its adapter takes the place of the one before."""
        if name not in self._speakers:
            raise UsageError(f"no model is called {name!r}")
        if name != self._speaking:
            for hook in self._standing:
                hook.remove()
            self._standing = [layer.register_forward_hook(hook) for layer, hook in self._hooks[name]]
            self._speaking = name
        return self._speakers[name]

    def _speaker(self, stops: frozenset[int]) -> Speaker:
        pad = self._tokenizer.pad_token_id
        filler = pad if pad is not None else min(stops, default=0)
        return Speaker(self.net, ChatEncoder(self._tokenizer, stop_ids=stops), filler=filler)


def _whole(base: str) -> Origin | None:
    """Return where a wholly trained model comes from, None for a base of others."""
    return read_speaker(Path(base)) if (Path(base) / "anytune.json").is_file() else None


def _hook(weight: Any, down: Any, up: Any) -> Any:
    return beside(*(factor.to(weight.device, weight.dtype) for factor in (down, up)))


class Inbox:
    """Read questions and cancellations beside the answering; the end of input cancels all."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._questions: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._cancelled: set[int] = set()
        self._ended = False
        Thread(target=self._read, args=(lines,), daemon=True).start()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._questions.get, None)

    def wants(self, number: int) -> bool:
        """Tell whether a question is still to be answered."""
        return not self._ended and number not in self._cancelled

    def forget(self, number: int) -> None:
        """Forget that a question was cancelled, once it is through."""
        self._cancelled.discard(number)

    def _read(self, lines: Iterator[str]) -> None:
        for line in lines:
            said = json.loads(line)
            if "cancel" in said:
                self._cancelled.add(int(said["cancel"]))
            else:
                self._questions.put(said)
        self._ended = True
        self._questions.put(None)


def serve(base: str, tuned: Mapping[str, Path], quantize: str | None, *, alone: str) -> None:
    """Answer questions from stdin until it ends."""
    out = output()

    def tell(said: Mapping[str, Any]) -> None:
        out.write(json.dumps(said) + "\n")

    models = Models(base, tuned, quantize, alone=alone)
    tell({"ready": {"context": models.context}})
    inbox = Inbox(iter(sys.stdin.readline, ""))
    for asked in inbox:
        number = int(asked["question"])
        if inbox.wants(number):
            tell({"question": number, **_answered(models, asked, tell, partial(inbox.wants, number))})
        inbox.forget(number)


def _answered(
    models: Models, asked: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None], wanted: Callable[[], bool]
) -> dict[str, Any]:
    """Answer one question and return how it ended; no question ends the process."""
    mark = {"question": asked["question"]}
    try:
        speaker = models.speaker(asked["model"])
        prompt = speaker.encoder.prompt(asked["messages"], asked.get("tools"))
        room(prompt, asked["most"], models.context)  # what cannot be answered is told before anything else
        tell({**mark, "prompt": len(prompt)})
        how = Sampling(
            temperature=asked["temperature"],
            top_p=asked["top_p"],
            seed=asked["seed"],
            stop=tuple(asked["stop"]),
            most=asked["most"],
        )
        made = answer(speaker, prompt, how, tell=lambda text: tell({**mark, "text": text}), wanted=wanted)
    except AnytuneError as error:
        return {"error": error.message, "kind": "user"}
    except Exception as error:
        traceback.print_exc()
        text = (str(error).strip().splitlines() or [""])[0]
        return {"error": f"the model failed: {type(error).__name__}: {text}", "kind": "server"}
    return {"ended": made.ended, "tokens": made.tokens}
