"""A worker without a model: it says back what it was asked, word by word, as the questions' first word tells it to."""

from __future__ import annotations

import json
import sys
import time
from threading import Thread

cancelled: set[int] = set()
questions: list[dict] = []  # type: ignore[type-arg]


def tell(**said: object) -> None:
    print(json.dumps(said), flush=True)


def read() -> None:
    for line in iter(sys.stdin.readline, ""):
        said = json.loads(line)
        if "cancel" in said:
            cancelled.add(said["cancel"])
            print(f"cancelled {said['cancel']}", file=sys.stderr, flush=True)
        else:
            questions.append(said)
    questions.append({})


def main() -> None:
    if "broken" in sys.argv:
        sys.exit("no such model")
    Thread(target=read, daemon=True).start()
    tell(ready={"context": 64})
    while True:
        while not questions:
            time.sleep(0.002)
        asked = questions.pop(0)
        if not asked:
            return
        answer(asked)


def answer(asked: dict) -> None:  # type: ignore[type-arg]
    number, words = asked["question"], str(asked["messages"][-1]["content"]).split()
    if number in cancelled:
        return
    if words[0] == "refuse":
        tell(question=number, error="the chat template refuses the messages", kind="user")
        return
    if words[0] == "tools":
        words = [tool["function"]["name"] for tool in asked["tools"] or ()] or ["none"]
    tell(question=number, prompt=len(words))
    for at, word in enumerate(words):
        if number in cancelled:
            break
        if word == "die":
            sys.exit("it has died")
        if word == "fail":
            tell(question=number, error="the model failed: RuntimeError", kind="server")
            return
        time.sleep(0.05 if words[0] == "slowly" else 0)
        tell(question=number, text=f"{' ' if at else ''}{word}")
    tell(question=number, ended="stop", tokens=len(words))


if __name__ == "__main__":
    main()
