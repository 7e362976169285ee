"""Help: every verb says what it does and shows an example, quickly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from anytune import __version__, cli
from tests.cli.conftest import Type

VERBS = [[name] for name, *_ in cli.COMMANDS]
VERBS += [["config", name] for name, *_ in cli.CONFIG]
VERBS += [["providers"], *(["providers", name] for name, *_ in cli.PROVIDERS)]
ROWS = (*cli.COMMANDS, *cli.CONFIG, *cli.PROVIDERS)
HEAVY = {"torch", "transformers", "openai", "together", "httpx", "rich", "pydantic", "yaml", "sqlite3", "anytune.tuner"}
NO_NEED_TO_CHECK = (HEAVY - {"pydantic"}) | {
    *("anytune.config.settings", "anytune.data.tokens", "anytune.providers", "asyncio", "statistics"),
}


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_of_a_verb_shows_an_example(anytune: Type, verb: list[str]) -> None:
    said = anytune(*verb, "--help")
    assert said.code == 0
    assert f"Example: anytune {' '.join(verb)}" in said.out
    assert "--json" in said.out


def test_the_top_help_names_every_verb(anytune: Type) -> None:
    said = anytune("--help")
    assert said.code == 0
    assert all(f"\n  {name} " in said.out for name, *_ in cli.COMMANDS)
    assert "..." not in said.out.partition("Commands:")[2]


def test_no_verb_is_a_question_and_gets_the_help(anytune: Type) -> None:
    said = anytune()
    assert said.code == 0
    assert said.out.startswith("Usage: anytune")


def test_the_version_is_printed(anytune: Type) -> None:
    assert anytune("--version").out == f"anytune {__version__}\n"


def loaded(*arguments: str) -> set[str]:
    look = f"import sys; from anytune import cli; cli.call({list(arguments)!r}); print('\\n@', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", look], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    return set(done.stdout.rpartition("@")[2].split())


def test_help_loads_nothing_heavy() -> None:
    assert not loaded("--help") & HEAVY


def test_help_loads_no_verb_and_a_verb_no_other() -> None:
    verbs = {f"anytune.commands.{function.partition(':')[0]}" for _, function, _ in ROWS}
    assert not loaded("--help") & verbs
    assert loaded("check", "--help") & verbs == {"anytune.commands.check"}


def test_the_list_says_of_a_verb_what_its_own_help_says(anytune: Type) -> None:
    for name, _, summary in cli.COMMANDS:
        assert anytune(name, "--help").out.split("\n\n")[1].strip() == summary
    for group, rows in (("config", cli.CONFIG), ("providers", cli.PROVIDERS)):
        for name, _, summary in rows:
            assert anytune(group, name, "--help").out.split("\n\n")[1].strip() == summary


def test_a_check_without_settings_loads_nothing_that_it_does_not_need(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")  # a width is asked for by who looks
    seen = loaded("check", "train.jsonl")
    assert "anytune.data.check" in seen
    assert not seen & NO_NEED_TO_CHECK


def test_planning_everywhere_loads_no_sdk_and_nothing_that_it_does_not_need(folder: object) -> None:
    seen = loaded("plan", "--all")
    assert "anytune.ui.plan" in seen
    assert not seen & {"torch", "transformers", "openai", "together", "peft", "tokenizers"}
    assert not seen & {"anytune.data.privacy.text", "tenacity", "asyncio", "ssl", "tarfile"}


def test_the_schema_of_the_job_file_is_json_schema(anytune: Type) -> None:
    schema = json.loads(anytune("config", "schema").out)
    assert "train" in schema["$defs"]["DataSpec"]["properties"]


def test_help_is_clean_and_names_its_short_form(anytune: Type) -> None:
    said = anytune("check", "-h")
    assert said.code == 0
    assert "-h, --help" in said.out
    assert "[OPTIONS] FILE...\n" in said.out
    assert "list[Path]" not in said.out


def test_config_alone_shows_its_help(anytune: Type) -> None:
    said = anytune("config")
    assert (said.code, said.err) == (0, "")
    assert "schema" in said.out
