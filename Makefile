# Everything a person needs, on a machine with Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SECONDS ?= 60
EXAMPLES ?= 20000

.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-peers soak chaos faults docs format clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## set up, then crawl the standard library with four pools on the embedded server
	$(BIN)/python -m workers.demo

test: $(STAMP)  ## set up, then run all tests
	$(BIN)/python -m pytest -n 3 --dist worksteal

check: $(STAMP)  ## format, lint, types, import contracts, unit tests (under a minute)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit

bench: $(STAMP)  ## measure taskq beside a bare loop over Redis
	$(BIN)/python -m benchmarks

bench-peers: $(STAMP)  ## measure taskq beside nine other task queues (hours; ARGS=--quick shows that all work)
	$(BIN)/python -m benchmarks.peers $(ARGS)

soak: $(STAMP)  ## run the state machines with EXAMPLES examples each (20,000 take two hours), then the chaos of five minutes
	TASKQ_SOAK=$(EXAMPLES) $(BIN)/python -m pytest -q -n auto --dist worksteal tests/property $(if $(SEED),--hypothesis-seed=$(SEED))
	$(BIN)/python -m tests.chaos.run --seconds 300 $(if $(SEED),--seed $(SEED))

chaos: $(STAMP)  ## producers and workers of all pools under faults for SECONDS; SEED=n repeats a plan
	$(BIN)/python -m tests.chaos.run --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

faults: $(STAMP)  ## run the tests of each fault and print how long recovery took
	$(BIN)/python docs/faults.py --run

docs: $(STAMP)  ## write what the commands say of themselves and print at work into docs/
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/session.py docs/a-day.md
	$(BIN)/python docs/faults.py

format: $(STAMP)  ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the environment and caches
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
