# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The versions that are tested together, of what builds this package too.
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test test-crash check bench constraints format clean

demo: $(VENV)/ready
	$(BIN)/avsearch demo

test: $(VENV)/ready-dev
	$(BIN)/python -m pytest

# Kills a few hundred processes; CRASH='--crash-seed N' draws the same moments again.
test-crash: $(VENV)/ready-dev
	$(BIN)/python -m pytest -m crash $(CRASH)

check: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.imports cpu dev

# One run beside the other engines; see docs/benchmarks.md. COUNT=100000 is a quick one.
COUNT ?= 1000000
bench: $(VENV)/ready-bench
	$(BIN)/python -m benchmarks.speed.search --count $(COUNT)

format: $(VENV)/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The newest versions that setup.cfg allows; test with them before you commit the file.
constraints:
	$(PYTHON) -m tools.constraints write

# Installed again when the dependencies change, and only then. The demo needs no torch.
$(VENV)/ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) setuptools
	$(INSTALL) --no-build-isolation --editable '.[search,parquet]'
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(INSTALL) --no-build-isolation --editable '.[cpu,dev]'
	touch $@

$(VENV)/ready-bench: $(VENV)/ready
	$(INSTALL) --no-build-isolation --editable '.[cpu,bench]'
	touch $@
