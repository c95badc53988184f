# `make demo` and `make test` work in a fresh clone that has Python >= 3.11.

QT ?= pyside6
ARGS ?=
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; \
	done)

ifeq ($(filter $(QT),pyside6 pyqt6),)
$(error QT=$(QT): expected pyside6 or pyqt6)
endif

# One environment per Qt binding, so that the two never mix.
VENV := $(if $(filter pyside6,$(QT)),.venv,.venv-$(QT))
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
INSTALLED := $(VENV)/installed
# Without a screen nobody could close the window of the demo: it closes itself.
NO_SCREEN := $(if $(filter Linux,$(shell uname -s 2>/dev/null)),$(if $(DISPLAY)$(WAYLAND_DISPLAY),,yes))
WITH_DISPLAY := $(BIN)/python scripts/with_display.py
# The stubs of the two bindings contradict each other: the docks follow PySide6's.
MYPY_ARGS := $(if $(filter pyqt6,$(QT)),--exclude src/careamist/gui --follow-imports silent)

export QT_API := $(QT)
export PYTEST_QT_API := $(QT)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench bench-train bench-predict bench-io bench-import bench-demo bench-gui \
	bench-memory bench-quality screenshots dist format clean screen virtual-screen
.NOTPARALLEL:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
	@echo "  QT=pyside6|pyqt6 chooses the Qt binding, ARGS='...' is handed to pytest, the demo or a benchmark."

demo: screen $(INSTALLED) ## open napari with noisy cells and restore them
	$(WITH_DISPLAY) $(BIN)/python -m careamist demo $(if $(NO_SCREEN),--close) $(ARGS)

test: virtual-screen check ## run the checks, then every test
	$(WITH_DISPLAY) --virtual $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(INSTALLED) ## style, types, import contracts and the napari manifest
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy $(MYPY_ARGS)
	$(BIN)/lint-imports
	$(BIN)/python -m npe2 validate src/careamist/napari.yaml

bench: virtual-screen $(INSTALLED) ## how long a user waits: opening, cancelling, closing
	$(WITH_DISPLAY) --virtual $(BIN)/python benchmarks/latency.py

bench-train: $(INSTALLED) ## training steps; ARGS='--peer-python PYTHON' beside CAREamics, --short
	$(BIN)/python benchmarks/speed.py train $(ARGS)

bench-predict: $(INSTALLED) ## predictions; ARGS as for bench-train
	$(BIN)/python benchmarks/speed.py predict $(ARGS)

bench-io: $(INSTALLED) ## patches and statistics from Zarr; ARGS as for bench-train
	$(BIN)/python benchmarks/speed.py io $(ARGS)

bench-import: virtual-screen $(INSTALLED) ## imports and opening docks; ARGS as for bench-train
	$(WITH_DISPLAY) --virtual $(BIN)/python benchmarks/speed.py import $(ARGS)

bench-demo: virtual-screen $(INSTALLED) ## the demonstration with more pictures than the tests take
	$(WITH_DISPLAY) --virtual $(BIN)/python -m pytest -m bench $(ARGS)

bench-gui: virtual-screen $(INSTALLED) ## how smoothly napari runs meanwhile; ARGS=--short
	$(WITH_DISPLAY) --virtual $(BIN)/python benchmarks/gui.py $(ARGS)

bench-memory: $(INSTALLED) ## images larger than the memory allowed; memory of predictions
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/speed.py memory $(ARGS)

bench-quality: $(INSTALLED) ## PSNR at equal CPU time; ARGS='--peer-python PYTHON' beside CAREamics, --short
	$(BIN)/python benchmarks/quality.py $(ARGS)

screenshots: virtual-screen $(INSTALLED) ## take the pictures of the docks in docs/images; minutes
	$(WITH_DISPLAY) --virtual $(BIN)/python scripts/screenshots.py $(ARGS)

dist: virtual-screen $(INSTALLED) ## build sdist and wheel, try the wheel in a clean environment
	rm -rf dist
	$(BIN)/python -m build
	PYTHON=$(BIN)/python QT=$(QT) scripts/check_dist.sh

format: $(INSTALLED) ## let ruff rewrite the code
	$(BIN)/python -m ruff check --fix
	$(BIN)/python -m ruff format

clean: ## remove environments, build products and caches
	rm -rf .venv .venv-pyqt6 dist demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

screen:
	@PYTHON=$(PYTHON) scripts/setup_system.sh $(if $(NO_SCREEN),--virtual)

virtual-screen:
	@PYTHON=$(PYTHON) scripts/setup_system.sh --virtual

# The stamp is written last: an install that was broken off is taken up again.
$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found." >&2; exit 1; }
	@echo "Installing into $(VENV): minutes the first time."
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[test,dev]' 'napari[$(QT)]>=0.9'
	@touch $@
