"""Files larger than the memory that is allowed: trained on and predicted in parts."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "memory.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits and peaks are read as Linux has them")
def test_a_large_file_is_never_held(tmp_path):
    spec = importlib.util.spec_from_file_location("memory_benchmark", BENCHMARK)
    memory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(memory)
    mib, ceiling = 600, 700
    for label, path in memory.write_images(tmp_path, mib).items():
        data_type = "zarr" if label == "zarr" else "tiff"
        result = memory.measure(path, data_type, 1536, tmp_path)
        assert result["imported"] + mib > ceiling, "a file that is held would not be noticed"
        assert result["peak"] < ceiling, label
