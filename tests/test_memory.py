"""Files larger than the memory that is allowed: trained on and predicted in parts."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import new, noise, small

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


WRITING = """
import sys, threading, time
from pathlib import Path
import numpy as np
import tifffile
import torch

torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from careamist.compute import release_memory
from tiny import loaded

work, edge, write_type = Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
image = tifffile.memmap(work / "in.tif", shape=(edge, edge), dtype=np.uint16)
for y in range(0, edge, 512):
    image[y : y + 512] = np.random.default_rng(y).poisson(40, (512, edge))
image.flush()
del image
careamist = loaded(Path(sys.argv[2]), work)
small = np.zeros((64, 64), np.float32)
careamist.predict_to_disk(small, prediction_dir="warm", write_type=write_type)
release_memory()


def rss_anon():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024


before, peak, is_over = rss_anon(), 0.0, False


def watch():
    global peak
    while not is_over:
        peak = max(peak, rss_anon())
        time.sleep(0.005)


watcher = threading.Thread(target=watch)
watcher.start()
careamist.predict_to_disk(
    work / "in.tif", tile_size=(512, 512), write_type=write_type, precision="float32"
)
is_over = True
watcher.join()
print(peak - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read as Linux has them")
@pytest.mark.parametrize("write_type", ["tiff", "ome-zarr"])
def test_writing_takes_no_more_memory_for_a_larger_image(tmp_path, write_type):
    model = new(small(), tmp_path / "model")
    model.train(train_data=noise(64, 64))
    peaks = {}
    for edge in (1024, 6144):
        work = tmp_path / str(edge)
        work.mkdir()
        given = (Path(__file__).parent, model.run_dir, work, edge, write_type)
        command = [sys.executable, "-c", WRITING, *map(str, given)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks[edge] = float(done.stdout)
    result = 6144**2 * 4 / 2**20
    assert peaks[6144] < peaks[1024] + 0.3 * result, peaks
    assert peaks[6144] < 300
