# Everything a person needs, on a machine with Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs format clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## set up, then crawl the standard library with four pools on the embedded server
	$(BIN)/python -m workers.demo

test: $(STAMP)  ## set up, then run all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(STAMP)  ## format, lint, types, import contracts, unit tests (under a minute)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit

bench: $(STAMP)  ## measure taskq beside a bare loop over Redis
	$(BIN)/python -m benchmarks

docs: $(STAMP)  ## write what the commands say of themselves and print at work into docs/
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/session.py docs/a-day.md

format: $(STAMP)  ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
