# One command each; every one of them sets up what it needs first, and is quick the second time.
.PHONY: demo test check bench soak mutants fuzz format clean

PYTHON_BIN := .venv/bin/python
PROCESSES ?= $(shell nproc)

demo:
	@scripts/setup demo
	@.venv/bin/edgegate demo

test:
	@scripts/setup dev
	$(PYTHON_BIN) -m pytest -n $(PROCESSES) -q

check:
	@scripts/setup dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(PYTHON_BIN) -m pytest -n $(PROCESSES) -q

soak:
	@scripts/setup dev
	$(PYTHON_BIN) -m pytest -q --soak -m soak

mutants:
	@scripts/setup dev
	$(PYTHON_BIN) scripts/mutants.py --processes $(PROCESSES)

fuzz:
	@scripts/setup dev
	$(PYTHON_BIN) scripts/fuzz.py

bench:
	@scripts/setup dev
	$(PYTHON_BIN) bench/tap.py
	$(PYTHON_BIN) bench/decide.py
	$(PYTHON_BIN) bench/snapshot.py
	$(PYTHON_BIN) bench/push.py
	$(PYTHON_BIN) bench/fleet.py
	$(PYTHON_BIN) bench/wifi.py

format:
	@scripts/setup dev
	.venv/bin/ruff check --fix-only -q .
	.venv/bin/ruff format -q .

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
