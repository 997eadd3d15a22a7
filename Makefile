# `make demo` and `make test` set everything up by themselves: Python 3.11 or newer and make are all they need. Where
# there is no C compiler, `make test` installs one with apt-get, and `make demo` does without.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
TEST_READY := .venv/.test-ready
DEMO_READY := .venv/.demo-ready

.PHONY: demo lint test test-quick docs bench cross fuzz sanitize clean

demo: $(DEMO_READY)
	$(BIN)/vaecodec-bench demo benchmarks/data/kodak/kodim23.png demo

lint: $(TEST_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest

test-quick: $(TEST_READY)
	$(BIN)/python -m pytest -m "not slow"

docs: $(TEST_READY)
	$(BIN)/python -m vaecodec.cli.reference docs/CLI.md

# About two hours on two cores; rewrites the tables and diagrams of README.md and docs/BENCHMARKS.md.
bench: $(TEST_READY)
	$(BIN)/vaecodec-bench quality benchmarks/data/kodak -o report
	$(BIN)/vaecodec-bench speed benchmarks/data/kodak -o report
	$(BIN)/vaecodec-bench engine -o report
	$(BIN)/vaecodec-bench docs report --checkout .

cross: $(TEST_READY)
	tests/cross/run.sh

# atheris has no wheels for every platform, so it is installed only here.
fuzz: $(TEST_READY)
	$(BIN)/python -m pip install --quiet atheris
	$(BIN)/python -W ignore tests/fuzz/fuzz.py parser -runs=250000
	$(BIN)/python -W ignore tests/fuzz/fuzz.py decode -runs=25000
	$(BIN)/python tests/fuzz/networks.py 5000 $$(date +%s)

# Needs GCC.
sanitize: $(TEST_READY)
	tests/fuzz/sanitize.sh

clean:
	rm -f codec/vaecodec/engine/_engine*.so
	rm -rf .venv .cross .sanitize .mypy_cache .pytest_cache .ruff_cache build dist demo report

$(BIN)/python:
	$(PYTHON) -m venv .venv

$(DEMO_READY): pyproject.toml setup.py codec/vaecodec/engine/engine.c | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	touch $@

# torch first and with torchvision, so that the two match. Users may do without the engine's C code, tests may not.
$(TEST_READY): pyproject.toml setup.py codec/vaecodec/engine/engine.c | $(BIN)/python
	tools/compiler.sh $(BIN)/python
	$(BIN)/python -m pip install --quiet 'torch==2.14.1' 'torchvision==0.29.1'
	$(BIN)/python -m pip install --quiet -e '.[test]'
	$(BIN)/python -c 'import vaecodec.engine._engine'
	touch $@ $(DEMO_READY)
