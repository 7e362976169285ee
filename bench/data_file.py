"""Make the file of chats that bench/data.py measures with: the same bytes each time, clean or faulty on every line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

SEED = 20_261
FAULTS = ("weight", "key", "role", "json", "content")
KINDS = (*FAULTS, "mixed")
PRIVATE = "private"  # no fault, but one line in a hundred tells how to reach somebody
_TWICE = 0.005  # of all lines stand twice
_ESCAPED = 0.265  # of all lines hold text beyond ASCII, written as \u escapes
_RAW = 0.10  # hold the same kind of text, written as it is
_TOOLS = 0.05  # declare tools, call them and get answers
_WEIGHTED = 0.2  # of the chats with several turns say what is trained
_REMEMBERED = 1_000
# In the order of their frequency, roughly; the n-th word comes 1/(n+2) as often, as in real prose.
_COMMON = """
the of and to a in is that it for you with as on are this be can we if by or not from have at your which
will each but one all more when they there has an use time first our these also after only then than into value may
should data make order line list name number work most between how find set day before so other case part long
while where about over same both such end small change keep through back second result need place new question
show people given water without good example check well take read high any system state step because start table
since group help large page write form note point off until price often few add light might year two plan left
cost open report weight type short question until answer below three still turn whole team under rule side store local
always since near test common above land hand last week kind power city clear move simple start field later fact early
letter follow surface study word ground follow across less learn true public remember sentence method range
figure during measure product seven morning several toward account customer invoice delivery payment season
travel garden kitchen recipe flour butter oven minute temperature degree river mountain village museum history
language grammar verb meaning translate summary paragraph article author chapter library science energy planet
orbit gravity carbon oxygen muscle sleep exercise vitamin doctor patient symptom budget interest market
contract policy insurance office meeting agenda manager project deadline schedule email ticket network server
database query column index function variable loop string integer parameter error message cache memory thread
process request response header token file folder script package version release branch merge deploy container
cluster monitor latency throughput request bandwidth encrypt password browser button window screen layout image
colour pixel sound music guitar melody rhythm concert theatre painter camera photograph bicycle engine battery
wheel station airport luggage passport hotel ticket breakfast weather forecast cloud thunder winter summer
autumn harvest farmer wheat cattle orchard forest timber carpenter furniture ceramic fabric needle thread
bridge tunnel concrete architect neighbour community election parliament citizen justice court evidence
argument conclusion hypothesis experiment sample average median deviation probability equation triangle
polynomial derivative integral matrix vector theorem proof nevertheless approximately considerably unfortunately
responsibility understanding recommendation configuration implementation infrastructure extraordinary
"""
_BEYOND_ASCII = """
café naïve résumé Zürich Köln Kraków jalapeño São façade crème Ångström Łódź “quoted” ‘so’ — – … € £ ½ °C ≈ × →
東京 日本語 你好 数据 한국어 Привет данные Ελλάδα שלום مرحبا नमस्ते 🙂 🚀 ✅ 👍🏽 fiancée Straße Übung año señor garçon
"""
_WORDS = _COMMON.split()
_FOREIGN = _BEYOND_ASCII.split()
_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a careful support agent of a small shop. Answer briefly and politely.",
    "You write short SQL queries for the tables that you are given.",
    "Answer in plain language. If you do not know, say so.",
    "You are a patient teacher of mathematics; show each step.",
    "You are an editor. Keep the meaning, make it shorter, change no names.",
    "Classify the ticket as billing, delivery, returns or other, and give the reason in one sentence.",
    "You are a travel guide who knows trains, museums and good places to eat.",
)
_CODE = (
    '```python\ndef {a}_{b}(items):\n    total = 0\n    for item in items:\n        if item["{c}"] > {n}:\n'
    '            total += item["{c}"] * {f}\n    return total\n```',
    "```sql\nSELECT {a}, COUNT(*) AS {b}\nFROM {c}_table\nWHERE {b} >= {n} AND {a} <> '{c}'\nGROUP BY {a}\n"
    "ORDER BY {b} DESC LIMIT {n};\n```",
    "```js\nconst {a} = rows.filter((row) => row.{b} < {f}).map((row) => ({{ ...row, {c}: {n} }}));\n```",
    '```json\n{{\n  "{a}": {n},\n  "{b}": [{f}, {n}],\n  "{c}": "{a} {b}"\n}}\n```',
)
_TABLE = [word for place, word in enumerate(_WORDS) for _ in range(max(1, 3_000 // (place + 2)))]
_DUMP: dict[bool, Callable[[Any], str]] = {
    escaped: json.JSONEncoder(ensure_ascii=escaped).encode for escaped in (True, False)
}


def make(path: Path, *, megabytes: float, faulty: str | None = None) -> int:
    """Write about so many MiB of chats and return the number of lines; `faulty` is one of KINDS, or PRIVATE."""
    lines = _lines(Random(SEED), faulty)
    left, number = int(megabytes * (1 << 20)), 0
    with path.open("wb") as stream:
        while left > 0:
            left -= stream.write(next(lines))
            number += 1
    return number


def _lines(random: Random, faulty: str | None) -> Iterator[bytes]:
    recent: list[bytes] = []
    number = 0
    while True:
        if recent and random.random() < _TWICE:
            yield random.choice(recent)
            continue
        chance = random.random()
        writer = _Writer(random, foreign=chance < _ESCAPED + _RAW)
        record = writer.tool_chat() if random.random() < _TOOLS else writer.chat()
        kind = FAULTS[number % len(FAULTS)] if faulty == "mixed" else faulty
        if kind == PRIVATE and number % 100 == 0:
            messages = record["messages"]
            messages[-1]["content"] += (
                f" Write to {random.choice(_WORDS)}.{number}@example.org or call +49 30 {number:08}."
            )
        text = _DUMP[chance < _ESCAPED or not writer.foreign](_spoil(record, kind))
        line = (text[: len(text) * 9 // 10] if kind == "json" else text).encode() + b"\n"
        recent[number % _REMEMBERED : number % _REMEMBERED + 1] = [line]
        number += 1
        yield line


def _spoil(record: dict[str, Any], kind: str | None) -> dict[str, Any]:
    """Put one fault into a record; broken JSON comes later."""
    messages = record["messages"]
    user = next(message for message in messages if message["role"] == "user")
    if kind == "weight":
        messages[-1]["weight"] = 0.5
    elif kind == "key":
        record["source"] = "forum"
    elif kind == "role":
        user["role"] = "human"
    elif kind == "content":
        user["content"] = None
    return record


class _Writer:
    """Write one chat."""

    def __init__(self, random: Random, *, foreign: bool) -> None:
        self._random = random
        self.foreign = foreign

    def chat(self) -> dict[str, Any]:
        """Return a chat of one to three turns."""
        chance = self._random.random()
        turns = 1 + (chance > 0.51) + (chance > 0.81)
        messages = self._system(0.45)
        weighted = turns > 1 and self._random.random() < _WEIGHTED
        for turn in range(turns):
            answer: dict[str, Any] = {"role": "assistant", "content": self._answer()}
            if weighted:
                answer["weight"] = int(turn == turns - 1)
            messages += [{"role": "user", "content": self._question()}, answer]
        return {"messages": messages}

    def tool_chat(self) -> dict[str, Any]:
        """Return a chat in which one or two calls are made and answered."""
        names = [f"{verb}_{noun}" for verb, noun in zip(("get", "find"), self._nouns(2), strict=True)]
        calls = [self._call(name) for name in names[: 1 + (self._random.random() < 0.3)]]
        messages = [*self._system(0.7), {"role": "user", "content": self._question()}]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        for call in calls:
            found = json.dumps({"total": self._random.randrange(900), "note": self._prose(1)})
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": found})
        messages.append({"role": "assistant", "content": self._prose(2)})
        return {"messages": messages, "tools": [self._tool(name) for name in names]}

    def _tool(self, name: str) -> dict[str, Any]:
        properties = {key: {"type": "string", "description": self._prose(1)} for key in ("name", "place")}
        parameters = {"type": "object", "properties": properties, "required": ["name"]}
        return {"type": "function", "function": {"name": name, "description": self._prose(1), "parameters": parameters}}

    def _call(self, name: str) -> dict[str, Any]:
        arguments = json.dumps(dict(zip(("name", "place"), self._nouns(2), strict=True)))
        function = {"name": name, "arguments": arguments}
        return {"id": f"call_{self._random.getrandbits(64):016x}", "type": "function", "function": function}

    def _nouns(self, number: int) -> list[str]:
        return [word.lower() for word in self._random.sample(_WORDS[150:], number)]

    def _system(self, share: float) -> list[dict[str, Any]]:
        if self._random.random() >= share:
            return []
        return [{"role": "system", "content": self._random.choice(_SYSTEMS)}]

    def _question(self) -> str:
        return self._prose(1 + int(self._random.random() ** 2 * 3))[:-1] + "?"

    def _answer(self) -> str:
        chance = self._random.random()
        text = self._prose(1 + int(self._random.random() * 10))
        if chance < 0.08:
            a, b, c = self._nouns(3)
            code = self._random.choice(_CODE)
            n, f = self._random.randrange(100), round(self._random.random() * 9, 2)
            return f"{text}\n\n{code.format(a=a, b=b, c=c, n=n, f=f)}\n\n{self._prose(1)}"
        if chance < 0.22:
            return "\n".join([text, *(f"{place}. {self._prose(1)}" for place in range(1, 4))])
        return f"{text}\n\n{self._prose(2)}" if chance < 0.5 else text

    def _prose(self, sentences: int) -> str:
        """Return so many sentences of 5 to 22 words, some with numbers, some with words beyond ASCII."""
        chance = self._random.random
        written = []
        for _ in range(sentences):
            words = self._random.choices(_TABLE, k=5 + int(chance() * 18))
            words[0] = words[0].capitalize()
            if chance() < 0.2:
                words[-2] = str(int(chance() * 2_000) if chance() < 0.7 else round(chance() * 100, 2))
            if chance() < 0.3:
                words[2] += ","
            if self.foreign and chance() < 0.6:
                words[3] = self._random.choice(_FOREIGN)
            written.append(" ".join(words))
        return ". ".join(written) + "."


def make_short(path: Path, *, chats: int) -> None:
    """Write so many short chats, all different: what is remembered of each line weighs most here."""
    with path.open("wb") as stream:
        for number in range(chats):
            question = {"role": "user", "content": f"What is {number} times 7?"}
            answer = {"role": "assistant", "content": str(number * 7)}
            stream.write(_DUMP[True]({"messages": [question, answer]}).encode() + b"\n")
