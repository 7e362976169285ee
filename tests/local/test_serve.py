"""A tuned model behind OpenAI's API, asked by OpenAI's own client: it answers as `chat` does, whole or streamed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("torch")
openai = pytest.importorskip("openai")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.local

from anytune.local.provider import LocalProvider  # noqa: E402
from anytune.schema.job import RemoteJob  # noqa: E402
from anytune.schema.model import TunedModel  # noqa: E402
from tests.local.conftest import chat  # noqa: E402

Finished = tuple[LocalProvider, RemoteJob]
ROOT = Path(__file__).parents[2]
QUESTIONS = [chat(n)["messages"][:-1] for n in range(5)]
TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Served:
    """Be a server in a process of its own."""

    process: subprocess.Popen[str]
    told: dict[str, Any]
    home: Path

    @property
    def origin(self) -> str:
        return str(self.told["base_url"]).removesuffix("/v1")

    def client(self, **more: Any) -> Any:
        return openai.OpenAI(base_url=self.told["base_url"], api_key="none", max_retries=0, timeout=60, **more)


def begun(home: Path, *arguments: str, **environment: str) -> Served:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "anytune", "serve", *arguments, "--port", "0", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "ANYTUNE_HOME": str(home), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    document = ""
    try:
        while line := process.stdout.readline():
            document += line
            if line.rstrip() == "}":
                return Served(process, json.loads(document), home)
    except BaseException:  # the test ran out of time
        process.kill()
        raise
    raise AssertionError(process.stderr.read() if process.stderr else "")


def ended(served: Served, number: int = signal.SIGINT) -> tuple[int, str]:
    served.process.send_signal(number)
    try:
        _, err = served.process.communicate(timeout=60)
    finally:
        served.process.kill()  # harmless on one that has ended
    return served.process.returncode, err


def typed(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "anytune", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "ANYTUNE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def home(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record two jobs of one base: the one that was trained, and one whose adapter says the contrary."""
    from safetensors.torch import load_file, save_file

    home = tmp_path_factory.mktemp("serving") / "home"
    home.mkdir(mode=0o700)
    shutil.copytree(finished[0].home, home, dirs_exist_ok=True)
    shutil.copytree(home / "runs" / "whole", home / "runs" / "contrary")
    for name in ("request.json", "result.json"):
        path = home / "runs" / "contrary" / name
        text = path.read_text().replace('"whole"', '"contrary"')
        path.write_text(text.replace(f"{finished[0].home}/runs/whole", f"{home}/runs/contrary"))
    model = home / "runs" / "contrary" / "model"
    weights = load_file(model / "adapter_model.safetensors")
    save_file({k: -4 * v if "lora_B" in k else v for k, v in weights.items()}, model / "adapter_model.safetensors")
    for run in ("whole", "contrary"):
        done = typed(home, "adopt", "local", run)
        assert done.returncode == 0, done.stderr
    return home


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Served]:
    made = begun(home, *names(home))
    yield made
    if made.process.poll() is None:
        ended(made)


def names(home: Path) -> list[str]:
    return [job["id"] for job in json.loads(typed(home, "list", "--json").stdout)["jobs"]]


def greedy(served: Served, model: str, question: list[dict[str, Any]], **more: Any) -> str:
    made = served.client().chat.completions.create(model=model, messages=question, temperature=0, max_tokens=16, **more)
    return str(made.choices[0].message.content)


@pytest.fixture(scope="module")
def spoken(finished: Finished, home: Path, base: Path) -> dict[str, list[str]]:
    """Ask each model through the process that `chat` and `eval` ask."""
    found = {}
    for run in ("whole", "contrary", None):
        path = str(home / "runs" / str(run) / "model")
        model = TunedModel(provider="local", base=str(base), name=path, path=path, job_id="x") if run else None
        child = finished[0].generator(base=str(base), tuned=model)
        found[str(run)] = list(child.answer(QUESTIONS, max_new_tokens=16))
        child.close()
    return found


def test_each_model_answers_as_it_does_in_chat_and_one_takes_the_place_of_another(
    served: Served, spoken: dict[str, list[str]], base: Path
) -> None:
    tuned = {run: next(name for name in served.told["models"] if run in name) for run in ("whole", "contrary")}
    called = {**tuned, "None": served.told["models"][-1]}
    assert called["None"] == base.name
    got: dict[str, list[str]] = {run: [] for run in called}
    for question in QUESTIONS:  # by turns, so that the adapters change with every question
        for run, name in called.items():
            got[run].append(greedy(served, name, question))
    assert got == spoken
    assert len({tuple(answers) for answers in got.values()}) == 3


def test_a_stream_says_what_an_answer_says_and_what_it_took(served: Served) -> None:
    name = served.told["models"][0]
    whole = served.client().chat.completions.create(model=name, messages=QUESTIONS[1], temperature=0, max_tokens=16)
    chunks = list(
        served.client().chat.completions.create(
            model=name,
            messages=QUESTIONS[1],
            temperature=0,
            max_tokens=16,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *pieces, last, bill = chunks
    text = "".join(piece.choices[0].delta.content for piece in pieces)
    assert len(pieces) > 2
    assert text == whole.choices[0].message.content
    assert last.choices[0].finish_reason == whole.choices[0].finish_reason
    assert (bill.choices, bill.usage) == ([], whole.usage)
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_the_prompt_is_counted_as_the_trainer_encodes_it(served: Served, base: Path) -> None:
    from anytune.local.encode import ChatEncoder
    from anytune.local.loading import open_tokenizer

    encoder = ChatEncoder(open_tokenizer(str(base)), stop_ids=frozenset({2}))
    made = served.client().chat.completions.create(
        model=served.told["models"][0], messages=QUESTIONS[2], temperature=0, max_tokens=1
    )
    assert made.usage.prompt_tokens == len(encoder.prompt(QUESTIONS[2]))
    assert (made.usage.completion_tokens, made.choices[0].finish_reason) == (1, "length")


def test_a_seed_makes_chance_the_same_again(served: Served) -> None:
    def said(seed: int | None, **more: Any) -> str:
        made = served.client().chat.completions.create(
            model=served.told["models"][-1],
            messages=QUESTIONS[0],
            max_tokens=24,
            **({"temperature": 1.5, "seed": seed} | more),
        )
        return str(made.choices[0].message.content)

    assert said(7) == said(7)
    assert len({said(seed) for seed in range(4)}) > 1
    assert said(1, top_p=0.0) == said(2, top_p=0.0) == greedy_of(served)


def greedy_of(served: Served) -> str:
    made = served.client().chat.completions.create(
        model=served.told["models"][-1], messages=QUESTIONS[0], max_tokens=24, temperature=0
    )
    return str(made.choices[0].message.content)


def test_an_answer_ends_before_a_stop_text_in_a_stream_too(served: Served) -> None:
    name, question = served.told["models"][-1], QUESTIONS[0]
    whole = greedy(served, name, question)
    stop = whole[3:6]
    expected = whole[: whole.index(stop)]
    assert greedy(served, name, question, stop=stop) == expected
    chunks = served.client().chat.completions.create(
        model=name, messages=question, temperature=0, max_tokens=16, stop=["\0never", stop], stream=True
    )
    said = [chunk.choices[0] for chunk in chunks]
    assert "".join(choice.delta.content or "" for choice in said) == expected
    assert said[-1].finish_reason == "stop"


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"max_tokens": 9999}, "messages", "context_length_exceeded"),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, "messages", "context_length_exceeded"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "messages", None),
        ({"messages": [{"role": "user", "content": "half \ud800"}]}, "messages", None),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}]}, "messages", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_model_cannot_take_is_refused_and_harms_nothing(
    served: Served, changes: dict[str, Any], param: str, code: str | None, stream: bool
) -> None:
    asked = {"model": served.told["models"][0], "messages": QUESTIONS[0], "stream": stream, **changes}
    said = httpx.post(
        f"{served.told['base_url']}/chat/completions",
        content=json.dumps(asked),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    error = said.json()["error"]
    assert (said.status_code, error["type"], error["param"], error["code"]) == (
        400,
        "invalid_request_error",
        param,
        code,
    )
    assert greedy(served, served.told["models"][0], QUESTIONS[0])


def test_two_at_once_are_answered_one_after_the_other_and_rightly(served: Served, spoken: dict[str, list[str]]) -> None:
    name = next(name for name in served.told["models"] if "whole" in name)
    with ThreadPoolExecutor(8) as crowd:
        got = list(crowd.map(lambda question: greedy(served, name, question), QUESTIONS * 3))
    assert got == spoken["whole"] * 3


def test_who_goes_away_in_mid_stream_frees_the_model_for_the_next(served: Served) -> None:
    name = served.told["models"][-1]
    long = served.client().chat.completions.create(
        model=name, messages=QUESTIONS[0], temperature=2, max_tokens=200, seed=1, stream=True, top_p=1
    )
    next(iter(long))
    long.close()
    began = time.monotonic()
    greedy(served, name, QUESTIONS[0])
    left = time.monotonic() - began
    began = time.monotonic()
    greedy(served, name, QUESTIONS[0])
    assert left < 10 * (time.monotonic() - began) + 2


def test_an_answering_process_that_dies_is_told_and_started_again(served: Served) -> None:
    name = served.told["models"][0]
    before = greedy(served, name, QUESTIONS[0])
    (worker,) = workers(served)
    os.kill(worker, signal.SIGKILL)
    time.sleep(0.5)
    assert greedy(served, name, QUESTIONS[0]) == before
    assert workers(served) != [worker]


def workers(served: Served) -> list[int]:
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
    return [int(child) for child in children]


def test_a_second_server_on_the_port_is_told_so(served: Served, home: Path) -> None:
    port = str(httpx.URL(served.origin).port)
    done = typed(home, "serve", "last", "--port", port)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port 0" in done.stderr


def test_the_worker_that_answers_has_no_network_and_no_keys(served: Served) -> None:
    from anytune.local import confine

    (worker,) = workers(served)
    environment = Path(f"/proc/{worker}/environ").read_bytes()
    assert b"API_KEY" not in environment
    if confine.has_namespaces():
        assert len(Path(f"/proc/{worker}/net/dev").read_text().splitlines()) == 3  # two of heading, and lo


def test_ctrl_c_ends_all_with_the_way_back_and_no_traceback(served: Served) -> None:
    """The last of the file: the server is over then."""
    children = workers(served)
    code, err = ended(served)
    assert code == 130
    assert "stopped; nothing is served any more" in err
    assert "Traceback" not in err
    assert "POST /v1/chat/completions 200" in err
    assert "Which is" not in err
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_on_an_address_of_others_who_has_the_token_is_answered(home: Path, tmp_path: Path) -> None:
    name = next(name for name in names(home) if "whole" in name)
    file = tmp_path / "serve.token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    made = begun(home, name, "--host", "0.0.0.0", "--token-file", str(file))
    try:
        url = f"http://127.0.0.1:{httpx.URL(made.origin).port}"
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
        for header in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Basic {TOKEN}"}):
            said = httpx.get(f"{url}/v1/models", headers=header)
            assert (said.status_code, said.json()["error"]["code"]) == (401, "invalid_api_key")
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=TOKEN, max_retries=0)
        assert [model.id for model in client.models.list()] == made.told["models"]
        assert client.models.retrieve(made.told["models"][-1]).owned_by == "anytune"
    finally:
        code, err = ended(made, signal.SIGTERM)
    assert code == 143
    assert TOKEN not in err


def test_jobs_on_another_base_are_not_served_together(
    finished: Finished, home: Path, base: Path, tmp_path: Path
) -> None:
    from anytune.errors import RejectedError

    folder = tmp_path / "model"
    shutil.copytree(home / "runs" / "whole" / "model", folder)
    origin = json.loads((folder / "anytune.json").read_text())
    models = {
        name: TunedModel(provider="local", base=str(base), name=str(path), path=str(path), job_id=name)
        for name, path in (("whole", home / "runs" / "whole" / "model"), ("other", folder))
    }
    for change, said in (
        ({"base_fingerprint": "x"}, "other stands on another base"),
        ({"quantize": None}, "other stands on its base as it is"),
        ({"adapter": False}, "other has weights of its own|whole has weights of its own"),
    ):
        (folder / "anytune.json").write_text(json.dumps({**origin, **change}))
        with pytest.raises(RejectedError, match=said):
            finished[0].endpoint(models)
