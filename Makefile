# Token Pools. `make help` lists what there is. Needs Python 3.11 or newer, make and the package index; nothing else.
BIN := .venv/bin
STAMP := .venv/.installed
JOBS ?= 2
.DEFAULT_GOAL := help
.PHONY: help install up test test-fast test-browser check bench screenshots lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with everything locked

up: $(STAMP) ## Serve everything here: portal on :8000, gateway on :8001; Ctrl-C stops it
	@exec $(BIN)/python manage.py up

test: check ## Everything: checks, then all tests, browser included
	@$(BIN)/python -m pytest -n $(JOBS) -q

test-fast: $(STAMP) ## Tests without a browser and without the slow ones
	@$(BIN)/python -m pytest -n $(JOBS) -q -m "not slow and not browser"

test-browser: $(STAMP) ## Only the tests in a browser
	@$(BIN)/python -m pytest -q -m browser

check: $(STAMP) ## Format, lint, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP) ## All benchmarks, short runs
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python "$$file" --quick || exit 1; done

screenshots: $(STAMP) ## Photograph the pages into docs/screenshots
	@$(BIN)/python manage.py screenshots

lock: $(STAMP) ## Choose versions anew and write both requirements files
	@$(BIN)/uv pip compile -q -U --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile -q -U --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --group dev -o requirements-dev.txt

$(STAMP): requirements-dev.txt
	@PYTHON="$(PYTHON)" .ci/install
	@touch $@
