"""Make the texts of bench/near.py: of several lengths and scripts, alone, changed, and with something in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from random import Random
from typing import NamedTuple

import data_file

from anytune.data.prompt import said

# The commonest characters of written Chinese; words of them are drawn as often as words are, roughly.
_CHARACTERS = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事"
    "成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公"
    "此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回"
)
_BOILERPLATE_WORDS = 200


class Text(NamedTuple):
    """Be the words of a text, and what stands between them: a space, or nothing."""

    words: tuple[str, ...]
    space: str = " "

    @property
    def written(self) -> str:
        """Return the text."""
        return self.space.join(self.words)


def prose(chance: Random, fewest: int, most: int) -> Text:
    """Write words that come as often as in real prose."""
    return Text(tuple(chance.choices(data_file._TABLE, k=chance.randint(fewest, most))))


def chat(chance: Random) -> Text:
    """Write a chat as in the file that the check is measured with."""
    messages = data_file._Writer(chance, foreign=False).chat()["messages"]
    said = " ".join(message["content"] for message in messages if message["role"] != "system")
    return Text(tuple(said.split(" ")))


def chinese(chance: Random) -> Text:
    """Write Chinese: of 40 to 200 words of one to three characters, the first of the lexicon more often."""
    return Text(tuple(_chinese_word(chance) for _ in range(chance.randint(40, 200))), space="")


def _chinese_word(chance: Random) -> str:
    rank = int(len(_LEXICON) ** chance.random()) - 1  # as in Zipf's law
    return _LEXICON[rank]


def _lexicon() -> list[str]:
    chance = Random(5)
    return ["".join(chance.choices(_CHARACTERS, k=chance.choice((1, 1, 2, 2, 2, 2, 3)))) for _ in range(3_000)]


_LEXICON = _lexicon()


def changed(chance: Random, text: Text, rate: float) -> Text:
    """Change each word to another one with the chance of the rate, and at least one."""
    places = [place for place in range(len(text.words)) if chance.random() < rate]
    words = list(text.words)
    for place in places or [chance.randrange(len(words))]:
        while words[place] == text.words[place]:
            words[place] = chance.choice(data_file._TABLE) if text.space else _chinese_word(chance)
    return Text(tuple(words), text.space)


def boilerplate(chance: Random, texts: int, share: float) -> list[Text]:
    """Write texts that begin with the same words, which are such a share of all."""
    own = round(_BOILERPLATE_WORDS * (1 - share))
    same = prose(chance, _BOILERPLATE_WORDS - own, _BOILERPLATE_WORDS - own).words
    return [Text(same + prose(chance, own, own).words) for _ in range(texts)]


def template(chance: Random, texts: int, words: int, blanks: int) -> list[Text]:
    """Write texts that differ in some blanks only, which are filled with numbers."""
    same = prose(chance, words, words).words
    places = set(chance.sample(range(words), blanks))
    return [
        Text(tuple(str(chance.randrange(100, 10_000)) if place in places else same[place] for place in range(words)))
        for _ in range(texts)
    ]


def system(chance: Random, texts: int) -> list[Text]:
    """Write what is said in short chats under one long system prompt."""
    prompt = {"role": "system", "content": prose(chance, 120, 120).written}
    chats = [[prompt, {"role": "user", "content": prose(chance, 30, 30).written}] for _ in range(texts)]
    lines = [json.dumps({"messages": messages}).encode() for messages in chats]
    return [Text(tuple(said(line).split(" "))) for line in lines]


def common(chance: Random, texts: int, sort: Callable[[Random], Text]) -> list[Text]:
    """Write texts of a sort that have nothing but common words in common."""
    return [sort(chance) for _ in range(texts)]


SORTS: dict[str, Callable[[Random], Text]] = {
    "short, 20 to 40 words": partial(prose, fewest=20, most=40),
    "chats, 170 words on average": chat,
    "long, 400 to 800 words": partial(prose, fewest=400, most=800),
    "Chinese, 40 to 200 words": chinese,
}
SHARING: dict[str, Callable[[Random, int], list[Text]]] = {
    "common words": partial(common, sort=chat),
    "common words, Chinese": partial(common, sort=chinese),
    "a system prompt of 120 words, with 30 of their own": system,
    **{
        f"the first {share:.0%} of 200 words": partial(boilerplate, share=share)
        for share in (0.5, 0.8, 0.85, 0.88, 0.9)
    },
    **{
        f"a template of {words} words with {blanks} blanks": partial(template, words=words, blanks=blanks)
        for words, blanks in ((40, 2), (40, 3), (60, 3), (60, 4), (100, 8))
    },
}
