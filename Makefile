# Everything a newcomer needs: `make demo`, `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-slurm test-browser faults check format bench clean

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv and install the package into it (editable, with the test and check tools)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ..." if not (3, 11) <= v <= (3, 13) else 0)'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python has no venv module here: apt-get install python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: setup  ## train standard and apr_sp on the embedded data set, evaluate both, print and draw the comparison
	$(BIN)/python scripts/demo.py

test: setup  ## run the tests (a few minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'not slow and not slurm and not browser'

test-slow: setup  ## run all tests, also those that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'not slurm and not browser'

test-slurm: setup  ## a real sweep on a SLURM of one node, brought up here (Debian, root) and taken down again
	$(BIN)/python -m pip install --quiet --editable '.[dev,slurm]'
	OMP_NUM_THREADS=1 scripts/slurm/with.sh $(BIN)/python -m pytest -m slurm tests/slurm

test-browser: setup  ## try the report page in headless Chromium (apt-get install chromium; skipped without it)
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then \
	  $(BIN)/python -m pip install --quiet --editable '.[dev,browser]' && \
	  OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser -rs tests/browser; \
	else echo "skipped: no Chromium here (apt-get install chromium)"; fi

faults: setup  ## kill, damage, fill the disk: every fault and what came of it, as a table (an hour on two cores)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/faults.py

check: setup  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## format the code and apply safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## measure the speed claims, side by side, printed as ratios (about ten minutes, one thread)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/bench/run.py

clean:  ## remove the environment and caches (never outputs/)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
