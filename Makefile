# `make train` and `make test` do everything themselves, on a machine with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help train test lint bench clean

help: ## Show what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

train: $(STAMP) ## Train on a synthetic corpus, score, export, predict
	$(BIN)/python -m ser_keras.train $(ARGS)

test: $(STAMP) ## Run the whole test suite
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP) ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(STAMP) ## Measure speed beside librosa, soxr and Model.predict
	$(BIN)/python benchmarks/bench.py

clean: ## Remove the virtual environment and what the tools left
	rm -rf $(VENV) .pytest_cache .ruff_cache build *.egg-info

# Warnings are off because setuptools explains its editable installs at length, every time.
$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@
