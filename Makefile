# make demo   set up .venv and tune AutoNHITS on AirPassengers with two workers
# make test   set up .venv and check everything: style, types, import contracts, tests
# make test-versions   run the smoke tests with the oldest and the newest versions of the libraries below castpool
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BASELINES_VENV := .baselines
BASELINES_READY := $(BASELINES_VENV)/.ready
VERSIONS := oldest newest
IN_PARALLEL := -n 3 --dist loadscope --no-loadscope-reorder
# The optional baselines: an environment on top of .venv, for the tests that need them alone. In .venv, torchmetrics would
# import transformers and each study would run statsforecast, which makes all other tests longer.
BASELINES := "statsmodels>=0.14.5" "adagio>=0.2.6" "chronos-forecasting>=2.3,<3" "timesfm>=3,<4"
# They ask for pandas below 3 and work with pandas 3; their dependencies are in the line above.
WITHOUT_DEPENDENCIES := statsforecast==2.1.1 fugue==0.9.7

.PHONY: demo test test-all test-baselines test-versions check policies fast setup clean

demo: $(READY)
	$(BIN)/castpool tune --demo --workers 2

# In the order of collection: those that take longest come first.
test: check test-baselines
	$(BIN)/python -m pytest $(IN_PARALLEL) -m "not slow and not needs"

# Also the tests that take minutes, and coverage, which makes every process a third slower.
test-all: check $(BASELINES_READY)
	$(BASELINES_VENV)/bin/python -m pytest $(IN_PARALLEL) -m needs --cov --cov-report= --cov-fail-under=0
	$(BIN)/python -m pytest $(IN_PARALLEL) -m "not needs" --cov --cov-append --cov-report term

test-baselines: $(BASELINES_READY)
	$(BASELINES_VENV)/bin/python -m pytest -n 0 -m needs

# The smoke tests with the lowest and with the highest versions of the libraries whose private parts castpool uses.
test-versions: $(VERSIONS:%=.versions/%/.ready)
	for version in $(VERSIONS); do .versions/$$version/bin/python -m pytest -n 0 -m smoke tests || exit 1; done

.versions/oldest/.ready: $(READY)
	$(PYTHON) -m venv --clear .versions/oldest
	$(BIN)/python -m tests.lowest_versions > .versions/oldest/constraints.txt
	.versions/oldest/bin/python -m pip install --quiet --constraint .versions/oldest/constraints.txt --editable ".[test]"
	touch $@

.versions/newest/.ready: $(READY)
	$(PYTHON) -m venv --clear .versions/newest
	.versions/newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable ".[test]"
	touch $@

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

# The page of all policies, written by the code; a test compares them.
policies: $(READY)
	$(BIN)/python -m castpool.sampler_policies.policy_page > docs/policies.md

# The tests that take seconds.
fast: $(READY)
	$(BIN)/python -m pytest -n 2 tests/sampler_policies tests/storage tests/workers/data tests/workers/spec tests/workers/support

setup: $(BASELINES_READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --editable ".[test]"
	# pip compiles in one process. Some files of packages are for other versions of Python, and are no fault.
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
	touch $@

$(BASELINES_READY): $(READY) Makefile
	$(PYTHON) -m venv $(BASELINES_VENV)
	# As if all of .venv were installed here, castpool's own .pth file included.
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	  > "$$($(BASELINES_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/below.pth"
	{ $(BASELINES_VENV)/bin/python -m pip install --quiet $(BASELINES) && \
	  $(BASELINES_VENV)/bin/python -m pip install --quiet --no-deps $(WITHOUT_DEPENDENCIES); } || \
	  echo "WARNING: statsforecast, chronos or timesfm could not be installed: the tests that need them are skipped" >&2
	touch $@

clean:
	rm -rf $(VENV) $(BASELINES_VENV) .versions build *.egg-info castpool-out .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
