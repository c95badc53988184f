"""How much memory a training and a prediction take from files larger than that memory.

    python benchmarks/memory.py [--mib 4096] [--limit 1536]

Writes an image of the given size as a memory-mapped TIFF, a compressed TIFF and a Zarr, and for
each starts a process that may not have more than the limit of private memory (RLIMIT_DATA). It
trains some steps and predicts some tiles; the peak of its anonymous resident memory (RssAnon), read
every 20 ms, is printed, beside that of a process which only imports the library.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
import zarr

EDGE = 2048
CHILD = """
import json, resource, sys, threading, time
import numpy as np
from pathlib import Path

source, data_type, limit, work = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
resource.setrlimit(resource.RLIMIT_DATA, (limit * 2**20,) * 2)
peak = 0


def rss_anon():
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) // 1024


def watch():
    global peak
    while True:
        peak = max(peak, rss_anon())
        time.sleep(0.02)


import torch

torch.set_num_threads(1)
from careamist import CAREamist
from careamist.algorithms import N2V
from careamist.config import Configuration, DataConfig, TrainingConfig, UNet
from careamist.events import RegionPredicted
from careamist.prediction.sinks import ArraySink

imported = rss_anon()
threading.Thread(target=watch, daemon=True).start()
if source != "nothing":

    class Nowhere(ArraySink):
        def start(self, output):
            return np.arange(len(output.tiles))

        def write(self, region):
            assert region.data.max() > region.data.min()

    config = Configuration(
        algorithm_config=N2V(model=UNet(depth=2, num_channels_init=8)),
        data_config=DataConfig(
            data_type=data_type, axes="TYX", batch_size=8, in_memory=False
        ),
        training_config=TrainingConfig(num_steps=12, num_threads=1),
    )
    tiles = 0

    def listen(event):
        global tiles
        if isinstance(event, RegionPredicted):
            tiles += 1
            if tiles == 24:
                careamist.stop()

    careamist = CAREamist(config, work_dir=work, listeners=[listen], enable_progress_bar=False)
    careamist.train(train_data=source)
    assert careamist.steps_done == 12
    careamist.predict_into(Nowhere(), source)
    assert tiles == 24, tiles
time.sleep(0.05)
print(json.dumps({"imported": imported, "peak": peak}))
"""


def write_images(folder: Path, mib: int) -> dict[str, Path]:
    """Write one noisy movie of so many MiB in three ways; return their places."""
    n_frames = mib * 2**20 // (2 * EDGE**2)
    rng = np.random.default_rng(0)
    noise = rng.poisson(40, (4, EDGE, EDGE)).astype(np.uint16)

    def frames():
        for t in range(n_frames):
            yield np.roll(noise[t % 4], t, axis=1)

    shape = (n_frames, EDGE, EDGE)
    options = {"shape": shape, "dtype": np.uint16, "bigtiff": True, "metadata": {"axes": "TYX"}}
    mapped, packed, store = folder / "mapped.tif", folder / "packed.tif", folder / "movie.zarr"
    tifffile.imwrite(mapped, frames(), photometric="minisblack", **options)
    tiled = {"tile": (256, 256), "compression": "zstd", "compressionargs": {"level": 1}}

    def tiles():
        for frame in frames():
            for y in range(0, EDGE, 256):
                for x in range(0, EDGE, 256):
                    yield frame[y : y + 256, x : x + 256]

    tifffile.imwrite(packed, tiles(), photometric="minisblack", **tiled, **options)
    array = zarr.create_array(store, shape=shape, chunks=(1, 512, 512), dtype="uint16")
    for t, frame in enumerate(frames()):
        array[t] = frame
    return {"tiff, mapped": mapped, "tiff, zstd": packed, "zarr": store}


def measure(source: Path | str, data_type: str, limit: int, work: Path) -> dict[str, int]:
    """Return the memory in MiB after the imports and at the peak; raise if it did not suffice."""
    command = [sys.executable, "-c", CHILD, str(source), data_type, str(limit), str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{source} with {limit} MiB: {done.stderr[-2000:]}")
    result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=4096, help="size of the image")
    parser.add_argument("--limit", type=int, default=1536, help="private memory of a process")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_images(folder, arguments.mib)
        print(f"{arguments.mib} MiB of pixels, at most {arguments.limit} MiB of private memory")
        print(f"{'':16}{'imported':>10}{'peak':>10}{'seconds':>10}")
        for label, path in {"nothing": "nothing", **images}.items():
            start = time.monotonic()
            data_type = "zarr" if label == "zarr" else "tiff"
            result = measure(path, data_type, arguments.limit, folder)
            seconds = time.monotonic() - start
            print(f"{label:16}{result['imported']:>10}{result['peak']:>10}{seconds:>10.1f}")


if __name__ == "__main__":
    main()
