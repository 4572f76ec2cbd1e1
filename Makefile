# make demo   sets up .venv and runs the main job on the embedded synthetic faces
# make test   sets up .venv and passes the checks and tests
# make golden records which methods, as they are now, reproduce the numbers of the official code (methods/golden.json)
# make speed  measures runs against the floor of their backbone (docs/speed.md); ARGS=--quick for a part of it
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test golden speed setup clean

$(BIN)/fer-bench: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(BIN)/fer-bench

demo: setup
	$(BIN)/fer-bench run --methods nla,jocor,eac --noise 0.1,0.2,0.3

test: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest

golden: setup
	$(BIN)/pytest tests/golden --record-golden

speed: setup
	$(BIN)/python -m benchmarks.speed $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info
