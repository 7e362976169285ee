# make setup   an environment in .venv with everything that demo and test need
# make demo    the main job: QLoRA on the tiny base model, English to SQL, base against tuned
# make test    everything that CI checks
# make test-ray  jobs on a real Ray of one machine, which is brought into .ray (400 MB) if it can be
# make laws    every law on the many examples it deserves, of which the tests of every day draw a fifth
# make soak    long campaigns: crowds, kills -9, faults, a day of 10,000 jobs (most of an hour; goes on where it stopped)
# make referee requests and stand-ins against what the vendors publish (needs npm and their descriptions: SPECS=DIR)
.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint test-long test-engine test-local test-ray sanitize wheel laws soak referee bench clean

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SPECS ?= ../shared/specs
QUICK := not live and not local and not long and not engine and not ray
BOOK ?= .soak/book.jsonl
DEMO_HOME ?= $(CURDIR)/.anytune
# Compiled files are kept: the tests start a thousand processes, and pytest rewrites the assertions of each file once.
export PYTHONDONTWRITEBYTECODE :=

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(STAMP)

$(STAMP): requirements.txt pyproject.toml $(wildcard anytune/data/check/c/*)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup
	ANYTUNE_HOME="$(DEMO_HOME)" $(BIN)/anytune run examples/english-to-sql/finetune.yaml
	@echo
	@echo "What it does not show: tables that were never in the training data. The same model on those:"
	ANYTUNE_HOME="$(DEMO_HOME)" $(BIN)/anytune eval last --test examples/english-to-sql/unseen-tables.jsonl

test: check test-long test-engine sanitize test-local wheel

check: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "$(QUICK)"

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-long: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m long

test-engine: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m engine

test-local: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m local

test-ray: setup
	@test -x .ray/bin/ray || { $(PYTHON) -m venv .ray && .ray/bin/python -m pip install --quiet 'ray[default]==2.60.0'; } \
		|| { rm -rf .ray; echo "Ray cannot be installed here: its tests are skipped"; }
	ANYTUNE_RAY="$(CURDIR)/.ray/bin/ray" $(BIN)/python -m pytest -rs -m ray tests/local/test_ray_cluster.py

sanitize: setup
	$(BIN)/python tests/sanitize.py

wheel: setup
	$(BIN)/python tests/wheel.py

laws: setup
	ANYTUNE_LONG=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "$(QUICK)" tests/data tests/providers tests/test_audit.py tests/test_recipe.py tests/cli/test_preview.py

soak: laws
	$(BIN)/python -m tests.soak --store both --book $(BOOK) $(if $(ROUNDS),--rounds $(ROUNDS))
	@mv $(BOOK) $(BOOK).last

referee: setup
	$(BIN)/python -m tests.referee --specs "$(SPECS)"

bench: setup
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/jobs.py
	$(BIN)/python bench/local.py
	$(BIN)/python bench/fit.py

clean:
	rm -rf .venv .ray .referee .soak .anytune build dist *.egg-info
