# make demo   set up .venv and tune AutoNHITS on AirPassengers with two workers
# make test   set up .venv and check everything: style, types, import contracts, tests with coverage
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all check fast setup clean

demo: $(READY)
	$(BIN)/castpool tune --demo --workers 2

# In the order in which they are collected: what takes longest, the acceptance tests, comes first and not alone at the end.
# A test that fails is run once more, and named in the summary: with real processes on a busy machine, a test may lose a
# race against what it tests. What fails twice has failed.
test: check
	$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder --reruns 1 -rR --cov --cov-report term

# And what takes minutes more: every model run by Ray.
test-all: check
	$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder -m "slow or not slow"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests that take seconds.
fast: $(READY)
	$(BIN)/python -m pytest -n 2 tests/unit tests/storage

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info castpool-out .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
