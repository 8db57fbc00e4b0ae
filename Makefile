# `make train` and `make test` do everything themselves, on a machine with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON_LATEST ?= python3.13
LATEST ?= .venv-latest

RUN ?= $(shell ls -dt runs/*/ 2>/dev/null | head -n 1)

.PHONY: help train test test-slow test-latest lint docs bench breakdown scaling parity fuzz stress golden picture serve clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

train: $(STAMP) ## Train on a synthetic corpus, score, export, predict
	$(BIN)/python -m ser_keras.train $(ARGS)

# Once a worker has crashed, pytest-xdist 3.8 may wait for ever (pytest-xdist#1378): no other takes its place.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal --max-worker-restart 0

test: $(STAMP) ## Run the tests, in about 3 minutes on 2 cores
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(STAMP) ## Run the slow tests: notebooks, site, browser, C, ONNX, several processes, kills
	$(PYTEST) -m slow $(ARGS)

# Python 3.13 brings TensorFlow 2.21 without tensorflow-io, as setup.cfg says.
test-latest: $(STAMP) ## Run the tests on Python 3.13, and load models of each stack in the other
	$(MAKE) VENV=$(LATEST) PYTHON=$(PYTHON_LATEST) test test-slow
	$(BIN)/python tests/stacks.py write $(LATEST)/old && $(LATEST)/bin/python tests/stacks.py read $(LATEST)/old
	$(LATEST)/bin/python tests/stacks.py write $(LATEST)/new && $(BIN)/python tests/stacks.py read $(LATEST)/new
	rm -r $(LATEST)/old $(LATEST)/new

lint: $(STAMP) ## Check style, format and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache

docs: $(STAMP) ## Build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html   with search: $(BIN)/python -m http.server --directory build/site"

bench: $(STAMP) ## Measure speed beside librosa, soxr, PyTorch and Model.predict
	$(BIN)/python benchmarks/bench.py $(ARGS)

breakdown: $(STAMP) ## Show which operations take the time of a training step, a batch, a clip
	$(BIN)/python benchmarks/breakdown.py $(ARGS)

scaling: $(STAMP) ## Measure how the cost grows with clips, batches and corpora
	$(BIN)/python benchmarks/scaling.py

parity: $(STAMP) ## Compare the newest run's model in Keras, Python, C, REST and gRPC
	$(BIN)/python tests/parity.py --run $(RUN) $(ARGS)

fuzz: $(STAMP) ## Send 100,000 mutated WAV files through an exported model
	$(BIN)/python tests/fuzzing.py $(ARGS)

stress: $(STAMP) ## Train on 10,000 files with 500 broken ones, on full disks, killed at random, and by workers that die
	$(BIN)/python tests/stress.py $(ARGS)

golden: $(STAMP) ## Write the run directory in tests/golden again, before a release
	$(BIN)/python tests/golden.py

picture: $(STAMP) ## Draw the README's picture again, of the recordings in ARGS, by the model of RUN
	$(BIN)/python docs/timeline.py --run $(RUN) $(ARGS)

serve: ## Serve the newest run's export by TF Serving, in Docker
	@docker info >/dev/null 2>&1 || { echo "make serve: Docker does not run here; install and start it" >&2; exit 1; }
	@test -f $(RUN)/export/docker-compose.yml || { echo "make serve: no export in '$(RUN)'; try make train" >&2; exit 1; }
	docker compose --file $(RUN)/export/docker-compose.yml up

clean: ## Remove the virtual environment and what the tools left
	rm -rf $(VENV) .pytest_cache .ruff_cache build *.egg-info

# Warnings are off because setuptools explains its editable installs at length, every time.
$(STAMP): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[test,lint]'
	touch $@
