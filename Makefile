# Works with GNU Make 3.81, a POSIX shell and BSD tools. `make` alone lists the targets.

VENV := .venv
BIN := $(VENV)/bin
# Any Python from 3.11 on. `make PYTHON=/path/to/python3.12 install` chooses one.
PYTHON ?=
# More arguments for pytest: `make test ARGS="-k recovery"`.
ARGS ?=
# How long: `make soak MINUTES=60`.
MINUTES ?= 10

PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt
PACKAGE := pyproject.toml constraints.txt
CODE := src tests $(wildcard examples benchmarks soak)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install pgbouncer demo test test-fast coverage check fmt lint types docs bench soak clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

install: $(VENV)/.dev ## Create .venv with everything that development needs

demo: $(VENV)/.core ## Show an agent that is killed and goes on where it was
	@$(BIN)/python -m examples.repo_audit.demo

test: $(VENV)/.dev ## Run all tests, the documentation's examples included
	@$(BIN)/python -m pytest -n 2 $(ARGS)

test-fast: $(VENV)/.dev ## Run the tests that take under a second each
	@$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

coverage: $(VENV)/.dev ## Run all tests and hold branch coverage to its floors
	@$(BIN)/coverage erase
	@$(BIN)/python -m pytest -n 2 --cov --cov-report= $(ARGS)
	@$(BIN)/coverage report --fail-under=90
	@$(BIN)/coverage report --fail-under=95 \
	  --include='*/kitaru/transitions.py,*/kitaru/retry.py,*/kitaru/engine/*,*/kitaru/store/*'

check: lint types test ## Do what CI does: lint, types, tests (with the documentation's)

fmt: $(VENV)/.dev ## Format the code and repair what ruff can repair
	@$(BIN)/ruff check --fix-only --quiet $(CODE)
	@$(BIN)/ruff format --quiet $(CODE)

lint: $(VENV)/.dev ## Check style and formatting
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

types: $(VENV)/.dev ## Check types: strict on src, standard elsewhere
	@$(BIN)/basedpyright --pythonpath $(BIN)/python

docs: $(VENV)/.dev ## Run the documentation: examples, links, commands, names
	@$(BIN)/python -m pytest tests/test_docs.py $(ARGS)

bench: $(VENV)/.bench ## Measure Kitaru against a raw commit, DBOS and LangGraph
	@$(BIN)/python -m benchmarks

soak: $(VENV)/.dev ## Run many flows for MINUTES while workers are killed, and check every promise
	@$(BIN)/python -m soak --minutes $(MINUTES) $(ARGS)

clean: ## Remove .venv and everything that was built
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find src tests $(wildcard examples benchmarks soak) -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp per purpose: `make demo` on a fresh machine installs the core's few packages and no more.

$(VENV)/.core: $(BIN)/python $(PACKAGE)
	@echo "Installing kitaru into $(VENV) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "Installing what development needs into $(VENV) ..."
	@$(PIP) --upgrade pip  # dependency groups need pip 25.1
	@$(PIP) --editable '.[all]' --group dev
	@$(MAKE) --no-print-directory pgbouncer
	@touch $@

# A pooler before Postgres is part of what is promised, and no wheel carries one. Elsewhere than on Debian as root,
# and without it, the one test that needs it says so.
pgbouncer:
	@if ! command -v pgbouncer >/dev/null 2>&1 && ! test -x /usr/sbin/pgbouncer; then \
	  if command -v apt-get >/dev/null 2>&1 && test "$$(id -u)" = 0; then \
	    echo "Installing pgbouncer ..."; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends pgbouncer >/dev/null; \
	  else \
	    echo "pgbouncer is not installed: the test behind a pooler is left out. On Debian, Ubuntu, macOS:" >&2; \
	    echo "  sudo apt-get install pgbouncer    # or: brew install pgbouncer" >&2; \
	  fi; \
	fi

$(VENV)/.bench: $(VENV)/.dev
	@echo "Installing the systems to compare with into $(VENV) ..."
	@$(PIP) --group bench
	@touch $@

# A version manager may leave a `python3.13` on the path that only prints an error, and Debian's
# python3 comes without venv: so every candidate is tried out, not only looked up.
$(BIN)/python:
	@found=; \
	for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  found=$$python; \
	  "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || continue; \
	  exec "$$python" -m venv $(VENV); \
	done; \
	if [ -n "$$found" ]; then \
	  echo "$$found cannot create virtual environments. On Debian and Ubuntu:" >&2; \
	  echo "  apt-get install python3-venv" >&2; \
	else \
	  echo "Kitaru needs Python 3.11 or newer; none is on the path." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	fi; \
	exit 1
