"""One answer as it is made: tokens by the rule that was asked for, told as text while they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from tokenizers.decoders import DecodeStream
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from anytune.errors import UsageError
from anytune.local.generate import Speaker

Ended = Literal["stop", "length"]


@dataclass(frozen=True)
class Sampling:
    """Say how tokens are chosen: the likeliest at temperature 0, as `chat` and `eval` have it, else by chance.

    `seed` None takes chance as it comes. `stop` are texts before which the answer ends. `most` None is as many tokens
    as the model can hold.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    most: int | None = None


@dataclass(frozen=True)
class Answer:
    """Say how an answer ended, and what it took: tokens, the one that ends it among them."""

    ended: Ended
    tokens: int


def room(prompt: Sequence[int], most: int | None, context: int | None) -> int:
    """Return how many tokens may be made; raise `UsageError` where the model cannot hold them."""
    if context is None:
        return most or 4096
    left = context - len(prompt)
    if left < 1 or (most or 1) > left:
        wanted = f" and {most} for the answer" if most and left >= 1 else ""
        raise UsageError(f"the model holds {context} tokens; the messages take {len(prompt)}{wanted}")
    return most or left


@torch.inference_mode()
def answer(
    speaker: Speaker, prompt: Sequence[int], how: Sampling, *, tell: Callable[[str], None], wanted: Callable[[], bool]
) -> Answer:
    """Make one answer to a prompt, by the same call as `chat` and `eval`; end early when nobody wants it any more."""
    most = room(prompt, how.most, getattr(speaker.net.config.get_text_config(), "max_position_embeddings", None))
    pen = Pen(speaker, how.stop, tell)
    if how.temperature > 0 and how.seed is not None:
        torch.manual_seed(how.seed)
    elif how.temperature > 0:
        torch.seed()
    ids = torch.tensor([list(prompt)], device=speaker.net.device)
    over = StoppingCriteriaList([Enough(lambda: pen.stopped or not wanted())])
    config = _config(speaker.config, how)
    speaker.tokens(ids, torch.ones_like(ids), most=most, config=config, streamer=pen, stopping_criteria=over)
    pen.finish()
    return Answer("stop" if pen.stopped else "length", pen.count)


def _config(greedy: GenerationConfig, how: Sampling) -> GenerationConfig:
    if how.temperature == 0:
        return greedy
    chance = deepcopy(greedy)
    chance.update(do_sample=True, temperature=how.temperature, top_p=how.top_p, top_k=0)
    return chance


class Pen(BaseStreamer):
    """Write tokens out as text as soon as it is sure: whole characters, and nothing that a stop text may begin with."""

    def __init__(self, speaker: Speaker, stop: Sequence[str], tell: Callable[[str], None]) -> None:
        self.stopped = False  # by a token that ends an answer, or by a stop text
        self.count = 0
        self._encoder, self._stop, self._tell = speaker.encoder, tuple(stop), tell
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._text, self._told = "", 0
        self._before, self._cut = True, False

    def put(self, value: Any) -> None:
        """Take the next token; first of all comes the prompt."""
        if self._before:
            self._before = False
            return
        for token in value.flatten().tolist():
            self.count += 1
            if token in self._encoder.stop_ids:
                self.stopped = True
                return
            self._ids.append(token)
            self._take(self._decoder.step(self._encoder.core, token) or "")

    def end(self) -> None:
        """Take note of the end; `finish` says the rest."""

    def finish(self) -> None:
        """Say what was held back: the text as a whole is what decoding all tokens at once gives."""
        whole = self._encoder.tokenizer.decode(self._ids, skip_special_tokens=True)
        if whole.startswith(self._text):
            self._take(whole[len(self._text) :])
        self._say(len(self._text))

    def _take(self, piece: str) -> None:
        if self._cut:
            return
        self._text += piece
        found = [at for stop in self._stop if (at := self._text.find(stop, self._told)) >= 0]
        if found:
            self._text, self._cut, self.stopped = self._text[: min(found)], True, True
        self._say(len(self._text) - (0 if found else _begun(self._text[self._told :], self._stop)))

    def _say(self, to: int) -> None:
        if to > self._told:
            self._tell(self._text[self._told : to])
            self._told = to


class Enough(StoppingCriteria):
    """End when told so."""

    def __init__(self, over: Callable[[], bool]) -> None:
        self._over = over

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        """Tell for each row whether it is over."""
        del scores, kwargs
        return torch.full((input_ids.shape[0],), self._over(), dtype=torch.bool, device=input_ids.device)


def _begun(text: str, stops: Sequence[str]) -> int:
    """Return how many characters at the end may be the beginning of a stop text."""
    longest = max((len(stop) - 1 for stop in stops), default=0)
    sizes = range(min(longest, len(text)), 0, -1)
    return next((size for size in sizes if any(stop.startswith(text[-size:]) for stop in stops)), 0)
