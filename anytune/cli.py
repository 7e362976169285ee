"""The command line: parse, call, show; the one edge where an error becomes a line and an exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Annotated, Any

import typer

from anytune import __version__
from anytune.commands import around, before, life, results
from anytune.commands.run import run
from anytune.errors import AnytuneError, RefusedError

INTERRUPTED = 130
BROKEN_PIPE = 141
USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]  # click's, which typer 0.29 brought home under another name
COMMANDS = (
    ("init", before.init, "anytune init my-job --provider local"),
    ("check", before.check, "anytune check train.jsonl --for openai"),
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


def _app() -> typer.Typer:
    plain: dict[str, Any] = {
        "rich_markup_mode": None,
        "pretty_exceptions_enable": False,
        "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
    }
    made = typer.Typer(name="anytune", epilog="Example: anytune init, then anytune run finetune.yaml", **plain)
    made.callback()(_globals)
    for name, verb, example in COMMANDS:
        made.command(name, epilog=f"Example: {example}")(verb)
    config = typer.Typer(add_completion=False, epilog="Example: anytune config schema", **plain)
    for name, verb, example in CONFIG:
        config.command(name, epilog=f"Example: {example}")(verb)
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


app = _app()


def main() -> None:
    """Run the command line and end the process."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Unicode loses a letter, not the result
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run one command line and return its exit code; nothing but a defect of ours leaves a traceback."""
    as_json = "--json" in arguments
    try:
        code = app(args=arguments or ["--help"], prog_name="anytune", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except AnytuneError as error:
        return _told(error, as_json=as_json)
    except USAGE_ERROR as error:
        return _misused(error)
    except (KeyboardInterrupt, typer.Abort):
        print("\nstopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would try to write again
        return BROKEN_PIPE
    except Exception as error:
        return _defect(error)


def _told(error: AnytuneError, *, as_json: bool) -> int:
    left = error.exit_code == INTERRUPTED
    reasons = error.reasons if isinstance(error, RefusedError) else ()
    if as_json:
        said = {"message": error.message, "fix": error.fix, "reasons": reasons, "exit_code": error.exit_code}
        print(json.dumps({"schema": 1, "ok": False, "error": said}, ensure_ascii=False, indent=2))
    print(_coloured("" if left else "error: ", "31") + error.message, file=sys.stderr)
    for reason in reasons:
        print(f"  - {reason}", file=sys.stderr)
    if error.fix:
        print(f"  {'come back' if left else 'fix'}: {error.fix}", file=sys.stderr)
    _trace()
    return error.exit_code


def _misused(error: Any) -> int:
    print(_coloured("error: ", "31") + str(error.format_message()), file=sys.stderr)
    context = error.ctx
    print(f"  fix: {context.command_path if context else 'anytune'} --help", file=sys.stderr)
    return 2


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
