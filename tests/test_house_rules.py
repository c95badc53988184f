"""Rules that hold for the whole source tree."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from npe2 import PluginManifest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
PACKAGE = SRC / "careamist"
FILES = sorted(PACKAGE.rglob("*.py"))

MAX_LINES = 400
MAX_DEPTH = 3

# The public names. To add or take one away is a decision: it is made here.
PUBLIC_NAMES = {
    "careamist": {
        "CAREamist",
        "ImageStackLoading",
        "ReadFuncLoading",
        "__version__",
        "denoise",
    },
}

# Only these may print: they talk to a person at a shell.
PRINTING = {"cli.py", "gui/demo.py"}

GUI_MODULES = sorted(f"careamist.gui.{p.stem}" for p in (PACKAGE / "gui").glob("[!_]*.py"))


def inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def run_python(code: str, cwd: Path | None = None) -> None:
    """Run code in a fresh interpreter and fail with what it said."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_are_files():
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=inside)
def test_module_is_short(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=inside)
def test_module_is_not_buried(path):
    assert len(path.relative_to(SRC).parent.parts) <= MAX_DEPTH


@pytest.mark.parametrize("path", FILES, ids=inside)
def test_only_the_shell_is_printed_to(path):
    if inside(path) in PRINTING:
        return
    lines = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not lines


@pytest.mark.parametrize("path", FILES, ids=inside)
def test_file_is_named_in_the_architecture(path):
    if path.name == "__init__.py":
        return
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert re.search(rf"(?<!\w){re.escape(path.name)}(?!\w)", text)


@pytest.mark.parametrize("module", PUBLIC_NAMES)
def test_public_names(module):
    imported = importlib.import_module(module)
    assert set(imported.__all__) == PUBLIC_NAMES[module]
    for name in PUBLIC_NAMES[module]:
        assert getattr(imported, name) is not None


@pytest.mark.slow
def test_import_leaves_torch_alone():
    modules = ["careamist", "careamist.config", "careamist.algorithms", *GUI_MODULES]
    run_python(f"""
        import importlib, sys
        for module in {modules}:
            importlib.import_module(module)
            heavy = {{"torch", "pytorch_lightning"}} & set(sys.modules)
            assert not heavy, f"{{heavy}} imported by {{module}}"
    """)


@pytest.mark.slow
def test_core_runs_without_napari_and_qt(tmp_path):
    run_python(
        """
        import sys

        class Absent:
            names = {
                "napari", "qtpy", "PySide6", "PyQt6", "superqt", "magicgui", "pyqtgraph"
            }

            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in self.names:
                    raise ModuleNotFoundError(f"{name} is made absent", name=name)
                return None

        sys.meta_path.insert(0, Absent())

        import numpy as np
        from careamist import CAREamist
        from careamist.config import create_n2v_config

        image = np.random.default_rng(0).random((64, 64), dtype=np.float32)
        config = create_n2v_config(
            experiment_name="bare", data_type="array", axes="YX",
            patch_size=[32, 32], batch_size=2, num_epochs=1, num_steps=2,
        )
        careamist = CAREamist(config)
        careamist.train(train_data=image)
        restored, _ = careamist.predict(image)
        assert np.squeeze(restored[0]).shape == image.shape
        assert not Absent.names & {name.partition(".")[0] for name in sys.modules}
        """,
        cwd=tmp_path,
    )


def test_manifest_at_the_root_is_a_link():
    link = ROOT / "napari.yaml"
    assert link.is_symlink()
    assert link.resolve() == (PACKAGE / "napari.yaml").resolve()


def test_every_command_of_the_manifest_resolves():
    manifest = PluginManifest.from_file(PACKAGE / "napari.yaml")
    assert manifest.contributions.commands
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(importlib.import_module(module), name)), command.id
