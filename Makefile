# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.
# The first use sets up .venv with the versions of constraints.txt. An interpreter that is named
# (`make test PYTHON=python3.13`) has an environment of its own, .venv-3.13.

VENV := .venv
ifneq ($(PYTHON),)
VENV := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
SETUP := pyproject.toml constraints.txt tools/setup.sh tools/browser.sh

# On two cores, too: much of the time tests wait, for servers, signals and limits.
PROCESSES ?= 3
# Sweeps over servers wait more than they work.
SWEEPS ?= 4

# All that is random in the tests starts from this number, so that each run of them is the same.
BATTEN_SEED ?= 1
export BATTEN_SEED
# Decision 0120.
ANY_SEED ?= $(shell find src tests -name '*.py' -print0 | LC_ALL=C sort -z | xargs -0 cat | cksum | cut -d' ' -f1)

# Texts of sources and bytecode, forks and fresh interpreters, pickles, the event loop, classes of values, what
# argparse prints, notebooks, packages, what paths tell of folders that can't be read.
OF_PYTHON := tests/asynchronous tests/cli tests/display tests/executors tests/extending tests/fingerprint tests/model \
	tests/packaging tests/storage/test_there.py tests/engine/test_declared.py tests/engine/test_fresh.py \
	tests/engine/test_job_pickles.py tests/engine/test_columns_of_rows.py tests/engine/test_workers.py

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-synthetic demo-knowledge-base demo-daily-report demo-thumbnails demo-embeddings test test-any-seed test-all test-quick test-others test-of-python check lint crash bench docs clean

help:
	@echo "make demo            the main job on real video clips: killed, diagnosed, resumed, verified"
	@echo "make demo-synthetic  rows from a chat model: killed, resumed, extended, within a budget, in batches"
	@echo "make demo-knowledge-base  documents into a live tree: killed, resumed, searched, removed"
	@echo "make demo-daily-report  a report, killed in every state, and what diagnose says of each"
	@echo "make demo-thumbnails  pictures of the clips: killed, resumed, damaged, mended"
	@echo "make demo-embeddings  vectors of documents by a model: killed, resumed, changed, searched"
	@echo "make test            all tests, with sampled crash sweeps; PYTHON=… names an interpreter"
	@echo "make test-all        the same on every Python from 3.11 to 3.14 that is here"
	@echo "make test-others     what a version of Python can change, on those that .venv is not made of"
	@echo "make test-any-seed   those tests that draw by chance, once more, with a seed drawn from the sources"
	@echo "make check           style, types, layers, tests"
	@echo "make crash           the complete crash sweeps; goes on where it was stopped"
	@echo "make bench           the benchmarks, as tables"
	@echo "make docs            the documents as a site, in build/site"
	@echo "make setup           .venv with everything in it"
	@echo "make clean           removes what the above left, .venv included"

setup: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(SETUP)
	@VENV=$(VENV) tools/setup.sh dev

$(VENV)/.installed-demo: $(SETUP)
	@VENV=$(VENV) tools/setup.sh demo

$(VENV)/.installed-test: $(SETUP)
	@VENV=$(VENV) tools/setup.sh test

$(VENV)/.installed-docs: $(SETUP)
	@VENV=$(VENV) tools/setup.sh docs

demo: $(VENV)/.installed-demo
	@$(BIN)/python examples/video_features/demo.py

demo-synthetic: $(VENV)/.installed-demo
	@$(BIN)/python examples/synthetic_data/demo.py

demo-knowledge-base: $(VENV)/.installed-demo
	@$(BIN)/python examples/knowledge_base/demo.py

demo-daily-report: $(VENV)/.installed-demo
	@$(BIN)/python examples/daily_report/demo.py

demo-embeddings: $(VENV)/.installed-demo
	@$(BIN)/python examples/embeddings/demo.py

demo-thumbnails: $(VENV)/.installed-demo
	@$(BIN)/python examples/thumbnails/demo.py

test: $(VENV)/.installed-test
	$(PYTEST) -n $(PROCESSES)

test-quick: $(VENV)/.installed-test
	$(PYTEST) -n $(PROCESSES) -m "not crash and not by_chance" --ignore=tests/crash --ignore=tests/crashlab \
		--ignore=tests/docs --ignore=tests/examples

# Decision 0045.
test-all:
	@for each in $$(tools/interpreters.sh); do $(MAKE) test PYTHON=$$each || exit 1; done

test-others:
	@for each in $$(tools/interpreters.sh --others); do \
		$(MAKE) test-of-python PYTHON=$$each || exit 1; done

test-of-python: $(VENV)/.installed-test
	$(PYTEST) -n $(PROCESSES) -m "not crash and not by_chance" $(OF_PYTHON)

test-any-seed: $(VENV)/.installed-dev
	BATTEN_SEED=$(ANY_SEED) $(PYTEST) -n $(PROCESSES) -m "by_chance and not crash"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy examples/synthetic_data
	$(BIN)/mypy examples/knowledge_base
	$(BIN)/lint-imports

check: lint test

crash: $(VENV)/.installed-dev
	$(PYTEST) -n $(SWEEPS) --dist worksteal -m crash --go-on

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

# Decision 0115. Nothing reads the network, and warnings are errors; the tests build it, too.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open build/site/index.html"

clean:
	rm -rf .venv .venv-3.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache \
		.crash-passed build demo-output
