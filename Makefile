# `make demo` and `make test` are all a newcomer needs. Each first creates .venv, or brings it up to date with
# requirements.lock; when nothing changed, that takes a moment.

BIN := .venv/bin

# Tests run in processes, each of which may load models: a core and 4 GB for each.
WORKERS ?= 2
# Files in the order in which they are collected: tests/conftest.py puts the long ones first. A test that ends its
# process ends the run: pytest-xdist would wait for ever for the rest of that process's files.
PYTEST = $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# A module is compiled once, and not by every process that imports it, where the variable is set in the environment.
export PYTHONDONTWRITEBYTECODE :=

# No report leaves this machine.
export VLLM_NO_USAGE_STATS := 1
export VLLM_DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test quick check style types coverage docs format lock clean

help:
	@echo 'make demo     solve one problem plainly and by search, on the bundled models'
	@echo 'make test     run every test this machine can run (WORKERS=4 for a larger machine)'
	@echo 'make quick    those that take at most 10 seconds each'
	@echo 'make check    what CI runs: style, types, test'
	@echo 'make coverage run every test and say which lines none reaches, in twice the time'
	@echo 'make docs     write the generated pages, build the site into build/site, check its links'
	@echo 'make format   format the code and apply safe fixes'
	@echo 'make lock     write requirements.lock anew (UPGRADE=1 for newer versions)'
	@echo 'make clean    remove caches and build outputs, not .venv'

install:
	@.ci/install

demo: install
	@$(BIN)/python examples/demo.py

test: install
	$(PYTEST)

quick: install
	$(PYTEST) -m "not slow"

check: style types test

style: install
	$(BIN)/ruff format --check
	$(BIN)/ruff check

# Tests that run beside it have deadlines.
types: install
	nice $(BIN)/mypy

coverage: install
	$(PYTEST) --cov --cov-report=term-missing:skip-covered

docs: install
	$(BIN)/python -m website pages
	$(BIN)/python -m website build

format: install
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lock: install
	@.ci/lock $(if $(UPGRADE),--upgrade)

clean:
	rm -rf .cache build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
