# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The versions that are tested together, of what builds this package too.
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test test-bench test-crash check docs bench constraints format clean

demo: $(VENV)/ready
	$(BIN)/avsearch demo

test: $(VENV)/ready-dev
	$(BIN)/python -m pytest

# The tests of the benchmarks, which take minutes; not a measurement.
test-bench: $(VENV)/ready-dev
	$(BIN)/python -m pytest -m bench

# Kills a few hundred processes; CRASH='--crash-seed N' draws the same moments again.
test-crash: $(VENV)/ready-dev
	$(BIN)/python -m pytest -m crash $(CRASH)

check: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.imports cpu dev

# The pages go to docs/_build. A warning is an error.
docs: $(VENV)/ready-docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

# One run beside the other engines; see docs/benchmarks.md. COUNT=100000 is a quick one.
COUNT ?= 1000000
bench: $(VENV)/ready-bench
	$(BIN)/python -m benchmarks.speed.search --count $(COUNT)

format: $(VENV)/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist docs/_build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The newest versions that setup.cfg allows; test with them before you commit the file.
constraints:
	$(PYTHON) -m tools.constraints write

# Installed again when the dependencies change, and only then. Neither the demo nor the docs need torch.
$(VENV)/ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) setuptools
	$(INSTALL) --no-build-isolation --editable '.[search,parquet]'
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(INSTALL) --no-build-isolation --editable '.[cpu,dev]'
	touch $(VENV)/ready-docs $@

$(VENV)/ready-docs: $(VENV)/ready
	$(INSTALL) --no-build-isolation --editable '.[search,parquet,docs]'
	touch $@

$(VENV)/ready-bench: $(VENV)/ready
	$(INSTALL) --no-build-isolation --editable '.[cpu,bench]'
	touch $@
