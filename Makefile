# make demo     runs the main job on the embedded synthetic faces
# make check    fast: linter, types, layers, spelling, fast tests
# make test     everything that make check runs, all other tests, and the docs
# make docs     builds the documentation into site/
# make coverage all tests with a coverage report
# make golden   records which methods reproduce the numbers of the official code (methods/golden.json)
# make speed    measures runs against the floor of their backbone (docs/development/speed.md); ARGS=--quick for a part
# make gpu      checks and measures runs on a GPU (docs/development/gpu.md); DEVICE=cpu to rehearse
# All of them create .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
FAST   := not slow and not e2e and not browser and not cluster

.PHONY: demo check test lint types layers docs coverage golden speed gpu setup clean

$(BIN)/fer-bench: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev,docs]'
	@touch $@

setup: $(BIN)/fer-bench

demo: setup
	$(BIN)/fer-bench run --methods nla,jocor,eac --noise 0.1,0.2,0.3

check: lint types layers
	$(BIN)/pytest -m '$(FAST)'

test: lint types layers docs
	$(BIN)/pytest

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

coverage: setup
	$(BIN)/pytest --cov --cov-report=term-missing --cov-report=html

golden: setup
	$(BIN)/pytest tests/golden --record-golden

speed: setup
	$(BIN)/python -m benchmarks.speed $(ARGS)

gpu: setup
	PYTHON=$(BIN)/python bash benchmarks/gpu/check.sh

clean:
	rm -rf $(VENV) build site htmlcov *.egg-info
