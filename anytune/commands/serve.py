"""Serve: OpenAI's clients ask tuned models, and providers say by webhook that something happened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anytune.commands import options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anytune.schema.job import Job
    from anytune.tuner import Tuner

TOKEN = "ANYTUNE_SERVE_TOKEN"
HOOK_SECRET = "OPENAI_WEBHOOK_SECRET"  # as OpenAI's own library calls it
SHORTEST = 20  # characters of a token: fewer can be guessed
NEW_TOKEN = "(umask 077; openssl rand -hex 32 > serve.token)"
NEEDS = ("starlette", "uvicorn")

Jobs = Annotated[
    list[str] | None, typer.Argument(metavar="JOB...", help="Jobs on one base; last if none.", show_default=False)
]
Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Listen there; any but this machine's needs a token.")]
Port = Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Listen there; 0 takes a free one.")]
TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help=f"Who asks must show the token in it (mode 0600), or in {TOKEN}.")
]
Webhooks = Annotated[bool, typer.Option("--webhooks", help="Take OpenAI's in; alone, without JOB, nothing else.")]


def serve(
    jobs: Jobs = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    webhooks: Webhooks = False,
    as_json: options.Json = False,
) -> None:
    """Answer OpenAI's clients with tuned models; take webhooks in."""
    from anytune.commands.order import leaving

    _demand_packages()
    wanted = list(dict.fromkeys(jobs or [])) or ([] if webhooks else ["last"])
    back = " ".join(["anytune serve", *wanted, *(["--webhooks"] if webhooks else [])])
    with leaving("stopped; nothing is served any more", fix=back):
        _serve(wanted, host, port, token_file, webhooks=webhooks, as_json=as_json)


def _serve(wanted: list[str], host: str, port: int, token_file: Path | None, *, webhooks: bool, as_json: bool) -> None:
    import asyncio
    import signal

    from anytune.server import guard, run
    from anytune.server.chat import Chat
    from anytune.server.hooks import Hooks
    from anytune.tuner import Tuner
    from anytune.ui import terminal

    tuner = Tuner()
    token = _token(tuner, token_file, open_to_others=bool(wanted) and not guard.is_loopback(host))
    secret = _hook_secret(tuner) if webhooks else ""
    served = [tuner.job(tuner.model(name).job_id or name) for name in wanted]
    engine = tuner.endpoint([job.id for job in served]) if served else None
    chat = Chat(engine, _cards(engine.names, served)) if engine is not None else None
    hooks = Hooks(_look, secret=secret, told=terminal.note) if webhooks else None
    listening = run.bind(host, port)
    port = listening.getsockname()[1]
    application = run.app(chat=chat, hooks=hooks, hosts=guard.own_names(port, host), token=token, told=terminal.note)
    at = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    names = engine.names if engine else ()
    if engine is not None:
        terminal.note(f"opening {', '.join(names)} …")
    ready = _ready(at, names, token=token is not None, webhooks=webhooks, as_json=as_json)
    with listening:
        number = asyncio.run(run.serve(listening, application, engine=engine, hooks=hooks, ready=ready))
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise typer.Exit(128 + (number or 0))


def _ready(at: str, names: Sequence[str], *, token: bool, webhooks: bool, as_json: bool) -> Callable[[], None]:
    """Return what says, once the model is open, where it is served."""
    import sys

    from anytune.ui import terminal

    def ready() -> None:
        base_url, hook = (f"{at}/v1" if names else None), (f"{at}/webhooks/openai" if webhooks else None)
        if as_json:
            document = {"base_url": base_url, "models": list(names), "token": token, "webhooks": hook}
            terminal.emit(document)
        else:
            rows: list[tuple[str, Any]] = [("base_url", base_url), ("models", ", ".join(names))] if base_url else []
            rows += [("webhooks", hook)] if hook else []
            rows += [("token", "needed")] if token else []
            terminal.put(terminal.result(), terminal.pairs(rows))
            terminal.note("Ctrl-C ends")
        sys.stdout.flush()

    return ready


def _cards(names: Sequence[str], served: Sequence[Job]) -> tuple[Any, ...]:
    """List the models as clients may call them: a job by its id or a name that no other has, the base by its own."""
    from anytune.server.chat import Card

    by_id = {job.id: job for job in served}
    called = [job.name for job in served]
    cards = []
    for name in names:
        job = by_id.get(name)
        also = (job.name,) if job is not None and called.count(job.name) == 1 and job.name not in names else ()
        made = job.updated_at if job is not None else min(each.created_at for each in served)
        cards.append(Card(name, int(made.timestamp()), also))
    return tuple(cards)


def _look(remote_id: str) -> str | None:
    """Ask about the job that a webhook named, as `show` and `events` do, and tell of its end; None if there is none."""
    from anytune.tuner import Tuner

    tuner = Tuner()  # of this thread, with the settings and keys as they are now
    job_id = tuner.called_there("openai", remote_id)
    if job_id is None:
        return None
    job = tuner.refresh(job_id)
    tuner.events(job_id)
    wrong = [said for due in tuner.due() if due.news.job_id == job.id for said in tuner.tell(due)]
    return "; ".join((f"{job.id} is {job.state}", *wrong))


def _token(tuner: Tuner, path: Path | None, *, open_to_others: bool) -> str | None:
    """Return the token that is to be shown; raise where others can ask and there is none, or one to be guessed."""
    from anytune.config import owned
    from anytune.errors import CredentialError

    if path is not None:
        found = owned.read(path.expanduser())
        if found is None:
            raise CredentialError(f"{path}: there is no such file", fix=NEW_TOKEN)
        token, whence = found.strip(), str(path)
    else:
        key = tuner.reach.keys.find(TOKEN)
        token, whence = (key.value if key else ""), TOKEN
    if token and (len(token) < SHORTEST or not token.isascii() or not token.isprintable()):
        raise CredentialError(f"the token in {whence} is too short to be one", fix=NEW_TOKEN)
    if not token and (open_to_others or path is not None):
        what = "others can reach this address: it needs a token" if path is None else f"{path} is empty"
        raise CredentialError(what, fix=f"{NEW_TOKEN}, and --token-file serve.token")
    return token or None


def _hook_secret(tuner: Tuner) -> str:
    from anytune import webhook
    from anytune.errors import CredentialError

    found = tuner.reach.keys.find(HOOK_SECRET)
    if found is None:
        raise CredentialError(
            f"webhooks need their secret: {HOOK_SECRET} is not set", fix=f"anytune keys add {HOOK_SECRET}"
        )
    for each in found.value.split():
        webhook.key_of(each)
    return found.value


def _demand_packages() -> None:
    from importlib.util import find_spec

    from anytune.errors import MissingExtraError

    for package in NEEDS:
        if find_spec(package) is None:
            raise MissingExtraError(needs=package, extra="serve")
