"""The command line: parse, call, show; the one edge where an error becomes a line and an exit code."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import traceback
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from anytune import __version__
from anytune.commands import around, before, life, preview, results
from anytune.commands.check import check
from anytune.commands.convert import convert
from anytune.commands.dedupe import dedupe
from anytune.commands.fix import fix
from anytune.commands.order import EndedBadly, Left
from anytune.commands.run import run
from anytune.commands.split import split
from anytune.errors import AnytuneError, UsageError

INTERRUPTED = 130
BROKEN_PIPE = 141
OUTPUT_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
TYPE_OF_ARGUMENT = re.compile(r"^(  [^\s-]\S*) <[^>]+>", re.MULTILINE)
BRACES = re.compile(r"\{([A-Z.a-z]+)\}")
USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]  # click's, which typer 0.29 brought home under another name
COMMANDS = (
    ("init", before.init, "anytune init my-job --provider local"),
    ("check", check, "anytune check train.jsonl --for openai"),
    ("fix", fix, "anytune fix train.jsonl --for openai"),
    ("convert", convert, "anytune convert old.json --to chat"),
    ("split", split, "anytune split train.jsonl --validation 0.1"),
    ("dedupe", dedupe, "anytune dedupe train.jsonl --kind near"),
    ("preview", preview.preview, "anytune preview finetune.yaml --lines 1,5,9"),
    ("plan", before.plan, "anytune plan finetune.yaml --all"),
    ("run", run, "anytune run finetune.yaml --set training.epochs=1"),
    ("submit", life.submit, "anytune submit finetune.yaml --provider together -y"),
    ("list", life.list_jobs, "anytune list"),
    ("show", life.show, "anytune show last"),
    ("watch", life.watch, "anytune watch last --timeout 600"),
    ("events", life.events, "anytune events last"),
    ("cancel", life.cancel, "anytune cancel last"),
    ("resume", life.resume, "anytune resume last"),
    ("eval", results.evaluate, "anytune eval last --test held-out.jsonl"),
    ("chat", results.chat, "anytune chat last --once 'How many books are there?'"),
    ("export", results.export, "anytune export last --to merged --out tuned-model"),
    ("providers", around.providers, "anytune providers"),
    ("models", around.models, "anytune models --provider openai"),
    ("doctor", around.doctor, "anytune doctor"),
)
CONFIG = (
    ("schema", around.config_schema, "anytune config schema > finetune.schema.json"),
    ("show", around.config_show, "anytune config show"),
)


class Verb(TyperCommand):
    """Help without the types and braces that typer puts around an argument."""

    def get_help(self, ctx: Any) -> str:
        """Return the help text of a verb."""
        return BRACES.sub(r"\1", TYPE_OF_ARGUMENT.sub(r"\1", super().get_help(ctx)))


def _app() -> typer.Typer:
    context: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    plain: dict[str, Any] = {
        "rich_markup_mode": None,
        "pretty_exceptions_enable": False,
        "context_settings": context,
    }
    made = typer.Typer(name="anytune", epilog="Example: anytune init, then anytune run finetune.yaml", **plain)
    made.callback()(_globals)
    for name, verb, example in COMMANDS:
        made.command(name, cls=Verb, context_settings=context, epilog=f"Example: {example}")(verb)
    config = typer.Typer(
        add_completion=False, epilog="Example: anytune config schema", invoke_without_command=True, **plain
    )
    config.callback()(_config)
    for name, verb, example in CONFIG:
        config.command(name, cls=Verb, context_settings=context, epilog=f"Example: {example}")(verb)
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
    """Fine-tune the same way on OpenAI, Together or your own machine."""
    del version
    if debug:
        os.environ["ANYTUNE_DEBUG"] = "1"


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
        return _told(Left("stopped"), as_json=as_json)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _unwritten(error) if error.filename is None and error.errno in OUTPUT_FAULTS else _defect(error)
    except Exception as error:
        return _defect(error)


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would try to write again


def _unwritten(error: OSError) -> int:
    _drop_output()
    return _told(AnytuneError(f"cannot write the output: {error.strerror}"), as_json=False)


def _told(error: AnytuneError, *, as_json: bool) -> int:
    left = error.exit_code == INTERRUPTED
    if as_json:
        said = {"message": error.message, "fix": error.fix, "reasons": error.reasons, "exit_code": error.exit_code}
        also = error.document if isinstance(error, EndedBadly) else {}
        document = {"schema": 1, "ok": False, **also, "error": said}
        print(json.dumps(document, ensure_ascii=False, indent=2, default=str))
    if left and sys.stderr.isatty():
        print(file=sys.stderr)  # the terminal has drawn ^C on this line
    print(_coloured("" if left else "error: ", "31") + error.message, file=sys.stderr)
    for reason in error.reasons:
        print(f"  - {reason}", file=sys.stderr)
    if error.fix:
        print(f"  {'come back' if left else 'fix'}: {error.fix}", file=sys.stderr)
    _trace()
    return error.exit_code


def _misused(error: Any, *, as_json: bool) -> int:
    message = " ".join(str(error.format_message()).split())
    verb = error.ctx.command_path if error.ctx else "anytune"
    return _told(UsageError(message, fix=f"{verb} --help"), as_json=as_json)


def _defect(error: Exception) -> int:
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    print(f"{_coloured('error: ', '31')}a defect of anytune: {what}", file=sys.stderr)
    print("  fix: please report it with what --debug adds", file=sys.stderr)
    _trace()
    return 1


def _trace() -> None:
    if os.environ.get("ANYTUNE_DEBUG") not in (None, "", "0"):
        traceback.print_exc()


def _coloured(text: str, colour: str) -> str:
    plain = not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not text else f"\x1b[{colour}m{text}\x1b[0m"
