# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.
# The first use sets up .venv with the versions of constraints.txt.

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
SETUP := pyproject.toml constraints.txt tools/setup.sh

# All that is random in the tests starts from this number, so that each run of them is the same.
BATTEN_SEED ?= 1
export BATTEN_SEED
ANY_SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-synthetic demo-knowledge-base demo-daily-report test test-any-seed check lint crash bench clean

help:
	@echo "make demo            the main job on real video clips: killed, diagnosed, resumed, verified"
	@echo "make demo-synthetic  rows from a chat model: killed, resumed, extended, finalized"
	@echo "make demo-knowledge-base  documents into a live tree: killed, resumed, searched, removed"
	@echo "make demo-daily-report  a report, killed in every state, and what diagnose says of each"
	@echo "make test            all tests, with sampled crash sweeps"
	@echo "make test-any-seed   those tests that draw by chance, once more, with another seed"
	@echo "make check           style, types, layers, tests"
	@echo "make crash           the complete crash sweeps; goes on where it was stopped"
	@echo "make bench           the benchmarks, as tables"
	@echo "make setup           .venv with everything in it"
	@echo "make clean           removes what the above left, .venv included"

setup: .venv/.installed-dev

.venv/.installed-dev: $(SETUP)
	@tools/setup.sh dev

.venv/.installed-demo: $(SETUP)
	@tools/setup.sh demo

demo: .venv/.installed-demo
	@$(BIN)/python examples/video_features/demo.py

demo-synthetic: .venv/.installed-demo
	@$(BIN)/python examples/synthetic_data/demo.py

demo-knowledge-base: .venv/.installed-demo
	@$(BIN)/python examples/knowledge_base/demo.py

demo-daily-report: .venv/.installed-demo
	@$(BIN)/python examples/daily_report/demo.py

test: .venv/.installed-dev
	$(PYTEST) -n 2

test-any-seed: .venv/.installed-dev
	BATTEN_SEED=$(ANY_SEED) $(PYTEST) -n 2 -m "by_chance and not crash"

lint: .venv/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy examples/synthetic_data
	$(BIN)/mypy examples/knowledge_base
	$(BIN)/lint-imports

check: lint test

crash: .venv/.installed-dev
	$(PYTEST) -n 2 --dist worksteal -m crash --go-on

bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache \
		.crash-passed build demo-output
