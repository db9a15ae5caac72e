# make help lists the targets. PYTHON=python3.12 make demo chooses another Python for .venv.
PYTHON ?= python3
BIN := .venv/bin
# Threads that wait for each other sleep instead of spinning: several times faster when the cores
# are shared with anything else, and no slower when they are not.
export OMP_WAIT_POLICY = PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo test lab check format clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: .venv/installed ## notebooks 00 to 04 headless on digits, pages in outputs/index.html
	$(BIN)/python -m facog_lab.demo

test: .venv/installed ## all tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup

lab: .venv/installed ## JupyterLab at the notebooks
	$(BIN)/jupyter lab --notebook-dir=notebooks

check: .venv/installed ## formatting, lint (notebooks included), types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed ## formats code and notebooks
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## removes .venv and outputs; data/ stays
	rm -rf .venv outputs

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Python 3.11 or newer is needed, this is %d.%d: try make PYTHON=python3.12 ..." % v[:2])'
	@echo "Installing into .venv (PyTorch is the large part; this takes some minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
