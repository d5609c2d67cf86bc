# `make` lists the targets. Requires only python 3.11, 3.12 or 3.13; to choose one: make install PYTHON=python3.12
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help install demo test test-fast test-all coverage soak smoke lint format wheel doors sweeps lock clean

help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Make .venv with segtrain and its packages (about a minute, 2.6 GB)

$(INSTALLED): requirements.lock pyproject.toml scripts/install.sh
	@PYTHON=$(PYTHON) scripts/install.sh

demo: install  ## Train on the drawn sample images, evaluate, and print the path of the overlays (6 minutes)
	@$(BIN)/segtrain train +experiment=people
	@$(BIN)/segtrain eval
	@run=$$(ls -td runs/train/*/ | head -1); scores=$$(ls -td runs/eval/*/ | head -1); \
	printf '\n%-10s%s\n' overlays "$${scores}overlays/" curves "$${run}plots/" run "$$run" scores "$${scores}scores.json"

test: install  ## Run the tests, each claim once (10 to 15 minutes on two cores)
	@$(BIN)/python -m pytest -n 2 -m "not slow"

test-fast: install  ## Run the tests that need no TensorFlow (3 to 5 minutes)
	@$(BIN)/python -m pytest -n 2 -m "not slow and not tensorflow"

test-all: install  ## Run every test at full size, the wheel, the doors and the sweep plugins (2 to 3 hours)
	@SEGTRAIN_WHOLE_TABLE=1 SEGTRAIN_HOSTILE_RUNS=all $(BIN)/python -m pytest -n 2
	@$(MAKE) soak wheel sweeps doors

coverage: install  ## Run the tests of `make test` and require 95 % line coverage (a third slower)
	@$(BIN)/python -m pytest -n 2 -m "not slow" --cov --cov-report=term --cov-fail-under=95

soak: install  ## Kill a run 100 times and inject 80 faults; the final state must be bit-identical (30 minutes)
	@SEGTRAIN_SOAK_KILLS=100 SEGTRAIN_SOAK_STOPS=10 SEGTRAIN_SOAK_FAULTS=20 $(BIN)/python -m pytest tests/commands/test_kills.py tests/commands/test_faults.py

smoke: install  ## Draw a few samples, train two steps, evaluate, check for an overlay (half a minute)
	@rm -rf build/smoke && mkdir -p build/smoke && cd build/smoke && segtrain=$(CURDIR)/$(BIN)/segtrain && \
	$$segtrain train +experiment=people name=smoke epochs=1 dataset.num_train_images=8 dataset.num_val_images=2 batch_size=4 \
	  schedule.warmup_steps=0 && \
	$$segtrain eval overlays=1 && ls "$$PWD"/runs/eval/*/overlays/*.png

lint: install  ## Check style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: install  ## Format the code and apply automatic fixes
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

wheel: install  ## Build sdist and wheel, check their contents, run the wheel in an empty environment (2 minutes)
	@$(BIN)/python scripts/check_wheel.py

doors:  ## Install a bare clone with each Python and pip found, train an epoch, evaluate (a minute each)
	@scripts/check_doors.sh

sweeps: install  ## Run the tests of sweeps with their plugins, in an environment of their own (4 minutes)
	@$(PYTHON) -m venv build/sweeps
	@build/sweeps/bin/python -m pip install -q --no-deps --require-hashes -r requirements.lock
	@build/sweeps/bin/python -m pip install -q -e '.[sweep,slurm]'
	@build/sweeps/bin/python -m pytest tests/cli/test_study.py tests/cli/test_sweeps.py tests/commands/test_sweeps.py

lock:  ## Update requirements.lock to the newest versions that pyproject.toml allows
	@PYTHON=$(PYTHON) scripts/lock.sh

clean:  ## Remove .venv, build outputs and caches; keep runs and data
	@rm -rf .venv build dist .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find segtrain tests scripts -name __pycache__ -prune -exec rm -rf {} +
