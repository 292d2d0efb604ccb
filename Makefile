# Crosstile. `make` or `make help` lists what there is; nothing here needs root.

PYTHON ?= python3
JOBS ?= 2

# GNU make and the tools below it cannot live in a path with spaces, so there the environment moves out.
SPACED := $(word 2,$(CURDIR))
VENV ?= $(if $(SPACED),$(HOME)/.cache/crosstile/venv-$(shell pwd | cksum | cut -d' ' -f1),.venv)
BIN := $(VENV)/bin

.PHONY: help demo test lint regress-full bench train clean

help:
	@echo "make demo          a trained network to proved, synthesised Verilog, and one table"
	@echo "make test          set up and run all tests (needs Icarus Verilog: sudo apt-get install -y iverilog)"
	@echo "make lint          ruff and mypy"
	@echo "make regress-full  the long sweeps as well (an hour or more)"
	@echo "make bench         the figures of benchmarks/: utilisation, area, clock, speed"
	@echo "make train         train the example network again (installs PyTorch)"
	@echo "make clean         remove build/ and the virtual environment"

demo: $(VENV)/demo.stamp
	@"$(BIN)/python" examples/digits/demo.py build

test: $(VENV)/test.stamp
	@command -v iverilog >/dev/null || { echo "Icarus Verilog is missing; install it with: sudo apt-get install -y iverilog" >&2; exit 2; }
	@"$(BIN)/python" -m pytest -q -n $(JOBS) --dist worksteal -m "not slow"

lint: $(VENV)/test.stamp
	@"$(BIN)/ruff" check . && "$(BIN)/mypy"

regress-full: $(VENV)/test.stamp
	@"$(BIN)/python" -m pytest -q -n $(JOBS) --dist worksteal

bench: $(VENV)/test.stamp
	@"$(BIN)/python" benchmarks/layers.py --simulate --place

train: $(VENV)/test.stamp
	@"$(BIN)/python" -m pip install -q -e ".[train]"
	@"$(BIN)/python" examples/digits/train.py

clean:
	rm -rf build "$(VENV)"

$(VENV)/bin/python:
	@mkdir -p "$(VENV)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Crosstile needs Python 3.11 or newer; name one with: make PYTHON=python3.11" >&2; exit 2; }
	@"$(PYTHON)" -m venv "$(VENV)" \
		|| { rm -rf "$(VENV)"; echo "no virtual environment could be made; on Debian: sudo apt-get install -y python3-venv" >&2; exit 2; }

$(VENV)/demo.stamp: $(VENV)/bin/python pyproject.toml
	@echo "setting up (once): installing what Crosstile needs into $(VENV)"
	@"$(BIN)/python" -m pip install -q --disable-pip-version-check -e ".[simulate,examples]"
	@touch "$@"

$(VENV)/test.stamp: $(VENV)/bin/python pyproject.toml
	@echo "setting up (once): installing what Crosstile and its tests need into $(VENV)"
	@"$(BIN)/python" -m pip install -q --disable-pip-version-check -e ".[test]"
	@touch "$@" "$(VENV)/demo.stamp"
