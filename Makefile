# The two commands a newcomer needs: `make demo` and `make test`. Everything else is a step of these.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# The first interpreter that runs and is 3.11 or 3.12; override with `make PYTHON=/path/to/python setup`.
PYTHON ?= $(shell for p in python3 python3.11 python3.12; do \
	"$$p" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 12)))' 2>/dev/null && { echo "$$p"; break; }; done)

# One process a core; the tests of one file stay together, because they share what is dear to make.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: setup demo ui test test-deep lint lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "fxgpt needs Python 3.11 or 3.12 on the PATH (or make PYTHON=... setup)." >&2; exit 2; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: setup
	$(BIN)/fxgpt demo

ui: setup
	$(BIN)/fxgpt dev

test: setup
	$(BIN)/python -m pytest -m "not deep" $(PARALLEL)

test-deep: setup
	$(BIN)/python -m pytest -m deep $(PARALLEL)

lint: setup
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check --no-cache .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Rewrites the lock from what is installed; run it in a fresh environment after changing a pin in pyproject.toml.
lock:
	$(BIN)/python -m pip freeze --all --exclude-editable | grep -v -E '^(fxgpt|pip)(=| )' | sed -E 's/^(torch==[0-9.]+)\+.*/\1/; s/^(triton==.*)/\1 ; sys_platform == "linux" and platform_machine == "x86_64"/' > requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
