# make demo   set up and judge the first paper (about twenty minutes on two cores)
# make test   set up and run every test
# make lint   ruff and mypy;  make bench  the benchmark scripts;  make wheel  the distribution
VENV ?= .venv
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell $(p) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 14)))' 2>/dev/null && echo $(p))))
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast lint format bench wheel reference clean

help:
	@sed -n 's/^# //p' $(firstword $(MAKEFILE_LIST))

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: Python 3.11, 3.12 or 3.13 is needed; name one with PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/replicate run papers/sepc --scale quick

test: $(READY)
	$(BIN)/python -m pytest -q --durations=15

test-fast: $(READY)
	$(BIN)/python -m pytest -q -m 'not slow'

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

wheel: $(READY)
	$(BIN)/python -m build --wheel --outdir dist .

# the maintainers' records: run at both scales, then write results/reference and the README tables
reference: $(READY)
	$(BIN)/replicate run papers/* --scale quick
	$(BIN)/replicate run papers/* --scale long
	$(BIN)/replicate results export
	$(BIN)/replicate report

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
