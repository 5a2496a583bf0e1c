# One command sets up and runs: every target makes .venv/ first, from the tested versions in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SCOPE ?= sandbox

# Some hundred tests start dwplus as a program: it is compiled once, also where the environment forbids to keep that.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup reproduce test test-slow lint format clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv/ with everything that is needed

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing dwplus into $(VENV)/ (torch is large: some minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@mkdir -p .links/dwplus && for part in __init__.py cli.py commands workflow model local_ee pipeline manifests; do ln -sfn ../../$$part .links/dwplus/$$part; done
	@touch $@

reproduce: setup ## Build, train, score and report; SCOPE=sandbox needs no account, SCOPE=paper runs every row of the paper
	@$(BIN)/dwplus reproduce --scope $(SCOPE) $(ARGS)

test: setup ## Run all tests but the slow ones
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: setup ## Run the slow tests
	@$(BIN)/python -m pytest -m slow

lint: setup ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@MYPYPATH=.links $(BIN)/mypy -p dwplus

format: setup ## Bring the code into form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## Remove the environment and caches (never data/)
	@rm -rf $(VENV) .links .mypy_cache .ruff_cache .pytest_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
