# `make demo` and `make test` set up what they need; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ZOO ?= .zoo

.DEFAULT_GOAL := help
.PHONY: help setup demo check test lint format bench protos build-files lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with the locked dependencies

# pip installs one hash-checked wheel, uv; uv installs the other ones, hash-checked too, in seconds from a warm cache.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); Hydrazoo needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "error: $(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) (about 6 GB, most of it torch and its CUDA libraries) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@awk '/^uv==/{p=1} p{print} p&&!/\\$$/{exit}' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## The main job on real input: fine-tune, publish, serve and ask four heads
	@$(BIN)/python -m demo --zoo $(ZOO)

check: lint test ## Everything that CI checks

test: $(STAMP) ## Run the tests
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP) ## Formatting, ruff, mypy --strict, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

bench: $(STAMP) ## Measure what the engine must show (about half an hour; keep the machine idle)
	@$(BIN)/python -m benchmarks.serving

protos: $(STAMP) ## Generate the Python stubs again after a change of a .proto file
	$(BIN)/python protos/generate.py

build-files: $(STAMP) ## Write the BUILD files again after a change of imports
	$(BIN)/python -m tests.support.build_files

lock: ## Pin the newest versions that pyproject.toml allows (needs the network)
	$(BIN)/uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 \
	  --generate-hashes --quiet --upgrade --custom-compile-command "make lock" -o requirements.lock

clean: ## Remove the environment and the demo's zoo
	rm -rf $(VENV) $(ZOO) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
