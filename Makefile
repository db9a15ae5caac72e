# `make` lists the targets. PYTHON=python3.12 chooses the Python that .venv is made from.
PYTHON ?= python3
BIN := .venv/bin
# Threads that wait for each other sleep instead of spinning: several times faster when the cores
# are shared with anything else, and no slower when they are not.
export OMP_WAIT_POLICY = PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo test test-faults test-browser lab bench check format clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/installed ## notebooks 00 to 06 headless, pages in outputs/index.html
	$(BIN)/facog-lab demo

# A file's tests run in one process, so what they share is made once.
test: .venv/installed ## all tests; ARGS="-k losses" chooses some
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-faults: .venv/installed ## kills, full disks, corrupted files, malicious input: up to 25 minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist load -m "faults or long" $(ARGS)

test-browser: .venv/browser ## JupyterLab in a real Chromium; ARGS='-m "long or not long"': the long ones, too
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/browser -n 2 --dist loadgroup $(ARGS)

lab: .venv/installed ## JupyterLab at the notebooks
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks

bench: .venv/installed ## speed of every stage, into benchmarks/results/speed.json; ARGS="views step"
	$(BIN)/python -m benchmarks.speed $(ARGS)

check: .venv/installed ## formatting, lint (notebooks included), types, who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed ## formats code and notebooks
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## removes .venv, caches and the demo's pages; runs and data stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache outputs/demo outputs/index.html

.venv/browser: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[browser]'
	@touch $@

# The stamp is older than pyproject.toml when the list of dependencies may have changed.
.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	    v < (3, 11) and sys.exit("FACoG Lab needs Python 3.11 or newer, and $(PYTHON) is " \
	    "%d.%d. Name a newer one: make PYTHON=python3.12 ..." % v[:2])'
	@test -x $(BIN)/python || { echo "Making .venv"; $(PYTHON) -m venv .venv; }
	@echo "Installing into .venv, once. PyTorch is several GB: this takes minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
