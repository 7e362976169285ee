"""The command line: parse, call, show; the one edge where an error becomes a line and an exit code."""

from __future__ import annotations

import errno
import json
import os
import sys
from itertools import pairwise
from typing import Annotated, Any

import typer

from anytune import __version__
from anytune.commands.shelf import PLAIN, Entry, Verbs
from anytune.errors import AnytuneError, UsageError

INTERRUPTED = 130
BROKEN_PIPE = 141
OUTPUT_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]  # click's, which typer 0.29 brought home under another name
COMMANDS = (
    ("init", "before:init", "Write a job file and a small sample data set."),
    ("check", "check:check", "Find every fault in data files before a byte leaves."),
    ("fix", "fix:fix", "Mend what is wrong with a data file, into a new file."),
    ("convert", "convert:convert", "Turn other formats into chats or pairs, and back."),
    ("split", "split:split", "Split a file so that no prompt stands on two sides."),
    ("dedupe", "dedupe:dedupe", "Write a file without its duplicates, exact to near."),
    ("preview", "preview:preview", "Show examples as the trainer sees them, by token."),
    ("plan", "before:plan", "Say what a job would do and cost: free, offline, without a key."),
    ("run", "run:run", "Plan, ask, submit, watch and compare; twice is one job."),
    ("submit", "life:submit", "Start a job and leave it to itself; twice is one job."),
    ("list", "life:list_jobs", "List jobs, newest first, 50 on a screen; hosted ones as last seen."),
    ("show", "life:show", "Show how a job stands."),
    ("spend", "spend:spend", "Show what a month has cost, and what its budgets have left."),
    ("watch", "watch:watch", "Follow a job, or all, until they end; Ctrl-C leaves them running."),
    ("events", "life:events", "List what happened in a job, oldest first."),
    ("draw", "draw:draw", "Draw a job's figures in TensorBoard, MLflow or Weights & Biases."),
    ("audit", "audit:audit", "Show what was decided about data that would leave."),
    ("cancel", "life:cancel", "Stop a job, once it is said what that costs; harmless on one that has ended."),
    ("pause", "life:pause", "Have a running job halt at a checkpoint; resume goes on with it."),
    ("resume", "life:resume", "Go on with an interrupted job from its last checkpoint."),
    ("adopt", "adopt:adopt", "Take in a job made elsewhere, or say which one is ours."),
    ("abandon", "adopt:abandon", "Give up a job that its provider does not have."),
    ("checkpoints", "results:checkpoints", "List the models of a job's way there that its provider keeps."),
    ("eval", "results:evaluate", "Compare base and tuned model on held-out questions."),
    ("chat", "results:chat", "Talk with a tuned model; a pipe gets one answer a line."),
    ("serve", "serve:serve", "Answer OpenAI's clients with tuned models; take webhooks in."),
    ("export", "results:export", "Write a tuned model into a folder, or hand a job to another trainer."),
    ("push", "push:push", "Push an exported model to the Hugging Face Hub."),
    ("import", "results:take_in", "Take in another trainer's config, or OpenAI's job, as a job file."),
    ("models", "around:models", "List the models that can be tuned: where, until when, at which price."),
    ("doctor", "around:doctor", "Look at this machine and say what is missing or broken."),
)
PROVIDERS = (("refresh", "around:refresh", "Ask the providers which models they tune, and keep the answers."),)
KEYS = (
    ("add", "keys:add", "Keep a key, asked for or from stdin, where only you can read it."),
    ("remove", "keys:remove", "Forget a key that was kept."),
)
CONFIG = (
    ("schema", "around:config_schema", "Print the JSON Schema of the job file, for editors."),
    ("show", "around:config_show", "Show the settings that hold here; keys are never among them."),
)
EXAMPLES = {
    "init": "anytune init my-job --provider local",
    "check": "anytune check train.jsonl --for openai",
    "fix": "anytune fix train.jsonl --for openai",
    "convert": "anytune convert old.json --to chat",
    "split": "anytune split train.jsonl --validation 0.1",
    "dedupe": "anytune dedupe train.jsonl --kind near",
    "preview": "anytune preview finetune.yaml --lines 1,5,9",
    "plan": "anytune plan finetune.yaml --all",
    "run": "anytune run finetune.yaml --set training.epochs=1",
    "submit": "anytune submit finetune.yaml --provider together -y",
    "list": "anytune list",
    "show": "anytune show last",
    "spend": "anytune spend --month 2026-11",
    "watch": "anytune watch --all",
    "events": "anytune events last",
    "draw": "anytune draw last --to tensorboard --out runs",
    "audit": "anytune audit last",
    "cancel": "anytune cancel last",
    "pause": "anytune pause last",
    "resume": "anytune resume last",
    "adopt": "anytune adopt openai ftjob-abc123",
    "abandon": "anytune abandon last",
    "checkpoints": "anytune checkpoints last",
    "eval": "anytune eval last --test held-out.jsonl",
    "chat": "anytune chat last --once 'How many books are there?'",
    "serve": "anytune serve last --port 8000",
    "export": "anytune export last --to merged --out tuned-model",
    "push": "anytune push tuned-model acme/english-to-sql",
    "import": "anytune import axolotl.yml --out finetune.yaml",
    "providers refresh": "anytune providers refresh --provider together",
    "models": "anytune models --provider openai",
    "doctor": "anytune doctor",
    "keys add": "anytune keys add openai",
    "keys remove": "anytune keys remove openai",
    "config schema": "anytune config schema > finetune.schema.json",
    "config show": "anytune config show",
}


class Main(Verbs):
    """The verbs of the command line."""

    entries = tuple(Entry(*row, EXAMPLES[row[0]]) for row in COMMANDS)


class Providers(Verbs):
    """The verbs of `anytune providers`."""

    entries = tuple(Entry(*row, EXAMPLES[f"providers {row[0]}"]) for row in PROVIDERS)


class Keys(Verbs):
    """The verbs of `anytune keys`."""

    entries = tuple(Entry(*row, EXAMPLES[f"keys {row[0]}"]) for row in KEYS)


class Config(Verbs):
    """The verbs of `anytune config`."""

    entries = tuple(Entry(*row, EXAMPLES[f"config {row[0]}"]) for row in CONFIG)


def _app() -> typer.Typer:
    made = typer.Typer(
        name="anytune", cls=Main, epilog="Example: anytune init, then anytune run finetune.yaml", **PLAIN
    )
    made.callback()(_globals)
    providers = typer.Typer(cls=Providers, epilog="Example: anytune providers", invoke_without_command=True, **PLAIN)
    providers.callback()(_providers)
    made.add_typer(providers, name="providers", help="List the providers: what each needs, and where data goes.")
    keys = typer.Typer(cls=Keys, epilog="Example: anytune keys", invoke_without_command=True, **PLAIN)
    keys.callback()(_keys)
    made.add_typer(keys, name="keys", help="Say where each key is taken from; keep or forget one.")
    config = typer.Typer(cls=Config, epilog="Example: anytune config schema", invoke_without_command=True, **PLAIN)
    config.callback()(_config)
    made.add_typer(config, name="config", help="Show what a job file may say, and the settings that hold.")
    return made


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"anytune {__version__}")
        raise typer.Exit


def _globals(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (or ANYTUNE_DEBUG=1).")] = False,
) -> None:
    """Fine-tune the same way on OpenAI, Together, Fireworks or your own machine."""
    del version
    if debug:
        os.environ["ANYTUNE_DEBUG"] = "1"


def _providers(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        from anytune.commands import around

        around.providers(as_json=as_json)


def _keys(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    if context.invoked_subcommand is None:
        from anytune.commands import keys

        keys.listed(as_json)


def _config(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app = _app()


def main() -> None:
    """Run the command line and end the process."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Unicode loses a letter, not the result
    sys.exit(call(sys.argv[1:]))


def _open_streams() -> None:
    """Put something in the place of each stream that the caller closed, before another file takes its number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115


def call(arguments: list[str]) -> int:
    """Run one command line and return its exit code; nothing but a defect of ours leaves a traceback."""
    as_json = "--json" in arguments or "--format=json" in arguments or ("--format", "json") in pairwise(arguments)
    try:
        return _called(arguments, as_json=as_json)
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code != 1:  # 1 is what typer and rich make of a closed pipe
            raise
        _drop_output()
        return BROKEN_PIPE


def _called(arguments: list[str], *, as_json: bool) -> int:
    try:
        code = app(args=arguments or ["--help"], prog_name="anytune", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer's word for a Ctrl-C that no verb took
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except AnytuneError as error:
        return _told(error, as_json=as_json)
    except USAGE_ERROR as error:
        return _misused(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        from anytune.commands.order import Left

        return _told(Left("stopped"), as_json=as_json)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _unwritten(error) if error.filename is None and error.errno in OUTPUT_FAULTS else _defect(error, as_json)
    except Exception as error:
        return _defect(error, as_json)


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would try to write again


def _unwritten(error: OSError) -> int:
    _drop_output()
    return _told(AnytuneError(f"cannot write the output: {error.strerror}"), as_json=False)


def _told(error: AnytuneError, *, as_json: bool) -> int:
    left = error.exit_code == INTERRUPTED
    if as_json:
        _print_document(error)
    if left and sys.stderr.isatty():
        print(file=sys.stderr)  # the terminal has drawn ^C on this line
    print(_coloured("" if left else "error: ", "31") + error.message, file=sys.stderr)
    for reason in error.reasons:
        print(f"  - {reason}", file=sys.stderr)
    if error.fix:
        print(f"  {'come back' if left else 'fix'}: {error.fix}", file=sys.stderr)
    _trace()
    return error.exit_code


def _print_document(error: AnytuneError) -> None:
    said = {"message": error.message, "fix": error.fix, "reasons": error.reasons, "exit_code": error.exit_code}
    also = getattr(error, "document", {})  # of `EndedBadly`: the job
    document = {"schema": 1, "ok": False, **also, "error": said}
    print(json.dumps(document, ensure_ascii=False, indent=2, default=str))


def _misused(error: Any, *, as_json: bool) -> int:
    message = " ".join(str(error.format_message()).split()).replace(": Value error, ", ": ")  # how pydantic begins
    verb = error.ctx.command_path if error.ctx else "anytune"
    return _told(UsageError(message, fix=f"{verb} --help"), as_json=as_json)


def _defect(error: Exception, as_json: bool) -> int:
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    told = AnytuneError(f"a defect of anytune: {what}", fix="please report it with what --debug adds")
    return _told(told, as_json=as_json)


def _trace() -> None:
    if os.environ.get("ANYTUNE_DEBUG") not in (None, "", "0"):
        import traceback

        traceback.print_exc()


def _coloured(text: str, colour: str) -> str:
    plain = not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not text else f"\x1b[{colour}m{text}\x1b[0m"
