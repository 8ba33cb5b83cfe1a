# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-crash check bench format clean

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

# One run beside the other engines; see docs/benchmarks.md. COUNT=100000 is a quick one.
COUNT ?= 1000000
bench: $(VENV)/ready-bench
	$(BIN)/python -m benchmarks.search --count $(COUNT)

format: $(VENV)/ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Installed anew when the dependencies change, and only then.
$(VENV)/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[cpu]'
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --editable '.[cpu,dev]'
	touch $@

$(VENV)/ready-bench: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --editable '.[cpu,bench]'
	touch $@
