"""Batches hold the pixels they name; chunks are read once an epoch; targets come along."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
import tifffile
import zarr
from chunked import chunked_stack
from zarr.storage import MemoryStore

from careamist.config.data import DataConfig
from careamist.dataset.blocks import lay_out
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.patch_dataset import InMemoryDataset, IterableDataset, PatchDataset
from careamist.dataset.patching import StratifiedPatching, grid_patches
from careamist.dataset.validation import validation_patches
from careamist.stream import sample_keys


def random_patches(stacks, patch, seed=0, targets=None, excluded=(), pool_bytes=2**28):
    layout = lay_out(stacks, patch, targets, pool_bytes)
    shapes = [stack.data_shape for stack in stacks]
    patching = StratifiedPatching(shapes, patch, seed, excluded, layout)
    return PatchDataset(
        stacks, patching.specs, patching.n_patches, seed, targets=targets, layout=layout
    ), patching


def read_epoch(dataset, number=0, batch=16):
    first, n = number * len(dataset), len(dataset)
    for start in range(first, first + n, batch):
        dataset.__getitems__(range(start, min(start + batch, first + n)))


def expected(stack, spec):
    window = [slice(at, at + n) for at, n in zip(spec["coords"], spec["patch_size"], strict=True)]
    whole = stack.extract_patch(spec["sample_idx"], None, [0] * len(window), stack.data_shape[2:])
    return whole[(slice(None), *window)]


CASES = {
    "chunk 16": ((256, 256), (16, 16), "YX", (32, 32)),
    "chunk 64": ((256, 256), (64, 64), "YX", (32, 32)),
    "chunk 128": ((300, 257), (128, 128), "YX", (32, 32)),
    "one chunk": ((256, 256), (256, 256), "YX", (32, 32)),
    "rows": ((256, 256), (1, 256), "YX", (32, 32)),
    "3D": ((32, 96, 96), (8, 32, 32), "ZYX", (8, 16, 16)),
    "planes": ((32, 96, 96), (1, 96, 96), "ZYX", (8, 16, 16)),
    "10 frames in a chunk": ((45, 96, 96), (10, 48, 48), "TYX", (16, 16)),
    "S and T": ((3, 25, 64, 64), (1, 10, 32, 32), "STYX", (16, 16)),
    "channels last": ((128, 128, 3), (32, 32, 3), "YXC", (16, 16)),
    "channels apart": ((3, 128, 128), (1, 32, 32), "CYX", (16, 16)),
}
every_case = pytest.mark.parametrize(
    ("shape", "chunks", "axes", "patch"), CASES.values(), ids=CASES
)


@every_case
@pytest.mark.parametrize("pool_bytes", [2**15, 2**28])
def test_each_chunk_is_read_once_an_epoch(shape, chunks, axes, patch, pool_bytes):
    stack, array = chunked_stack(shape, chunks, axes)
    dataset, _ = random_patches([stack], patch, pool_bytes=pool_bytes)
    for number in range(3):
        array.reads.clear()
        read_epoch(dataset, number)
        if number == 0:
            assert array.reads_per_chunk() == (1, 1)
        elif pool_bytes == 2**28:
            assert not array.reads  # everything has stayed in memory
        else:  # what the last group of an epoch has left may be used again
            assert max(array.reads.values(), default=0) <= 1


@every_case
def test_a_batch_holds_the_pixels_that_its_specs_name(shape, chunks, axes, patch):
    stack, _ = chunked_stack(shape, chunks, axes)
    dataset, patching = random_patches([stack], patch, seed=3, pool_bytes=2**15)
    ks = np.random.default_rng(0).integers(0, 3 * len(dataset), 12)
    batch = dataset.__getitems__(ks.tolist())
    assert batch.inputs.dtype.is_floating_point
    assert batch.inputs.shape == (12, stack.data_shape[1], *patch)
    assert batch.targets is None
    np.testing.assert_array_equal(batch.keys.numpy(), sample_keys(3, ks))
    for k, pixels in zip(ks.tolist(), batch.inputs.numpy(), strict=True):
        np.testing.assert_array_equal(pixels, expected(stack, patching.specs(k)))
        single = dataset[k]
        assert single.region_spec == patching.specs(k)
        assert single[0].dtype == np.float32
        np.testing.assert_array_equal(single[0], pixels)


@pytest.mark.parametrize("seed", range(25))
def test_any_layout_covers_every_pixel_with_the_right_patches(seed):
    rng = np.random.default_rng(seed)
    n_axes = int(rng.integers(2, 4))
    patch = tuple(int(n) for n in rng.integers(3, 9, n_axes))
    stacks, arrays = [], []
    for number in range(int(rng.integers(1, 4))):
        size = [int(rng.integers(p, 8 * p if n_axes == 2 else 4 * p)) for p in patch]
        chunks = [int(rng.integers(1, n + 1)) for n in size]
        frames = int(rng.integers(1, 6))
        axes = "T" + "ZYX"[-n_axes:]
        chunk_t = int(rng.integers(1, frames + 1))
        stack, array = chunked_stack((frames, *size), (chunk_t, *chunks), axes, seed=number)
        stacks.append(stack)
        arrays.append(array)
    dataset, patching = random_patches(stacks, patch, seed, pool_bytes=int(rng.integers(1, 9000)))
    counts = [np.zeros((s.data_shape[0], *s.data_shape[2:]), int) for s in stacks]
    for k in range(len(dataset)):
        spec = patching.specs(k)
        window = tuple(
            slice(at, at + n) for at, n in zip(spec["coords"], spec["patch_size"], strict=True)
        )
        counts[spec["data_idx"]][(spec["sample_idx"], *window)] += 1
    assert min(count.min() for count in counts) >= 1
    read_epoch(dataset, batch=5)
    assert [array.reads_per_chunk() for array in arrays] == [(1, 1)] * len(arrays)
    k = int(rng.integers(5 * len(dataset)))
    spec = patching.specs(k)
    np.testing.assert_array_equal(dataset[k][0], expected(stacks[spec["data_idx"]], spec))


class CountingStore(MemoryStore):
    """Counts the reads of each key."""

    reads: ClassVar[Counter] = Counter()

    async def get(self, key, prototype, byte_range=None):
        if "/" in key:
            self.reads[key, str(byte_range)] += 1
        return await super().get(key, prototype, byte_range)


@pytest.mark.parametrize("shards", [None, (128, 128)])
def test_each_chunk_of_a_zarr_is_fetched_once(shards):
    CountingStore.reads.clear()
    pixels = np.random.default_rng(0).integers(0, 999, (256, 256)).astype(np.uint16)
    array = zarr.create_array(
        CountingStore(), shape=(256, 256), chunks=(32, 32), shards=shards, dtype=pixels.dtype
    )
    array[...] = pixels
    CountingStore.reads.clear()
    dataset, _ = random_patches([ArrayStack(array, "YX")], (32, 32), pool_bytes=2**17)
    read_epoch(dataset)
    whole = [n for (key, part), n in CountingStore.reads.items() if "Suffix" not in part]
    assert (len(whole), max(whole)) == (64, 1)  # the index of a shard is read with each block


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "uint32", "uint64", "float16", ">u2", ">f4", "float64"]
)
def test_every_dtype_becomes_float32(dtype):
    stack, array = chunked_stack((64, 64), (16, 16), dtype=dtype)
    dataset, patching = random_patches([stack], (16, 16))
    (pixels,) = dataset.__getitems__([7]).inputs.numpy()
    assert pixels.dtype == np.float32
    y, x = patching.specs(7)["coords"]
    np.testing.assert_array_equal(pixels[0], array.pixels[y : y + 16, x : x + 16].astype("f4"))


def test_stacks_with_and_without_chunks_are_mixed_in_every_part_of_an_epoch():
    chunked, array = chunked_stack((512, 512), (64, 64))
    plain = ArrayStack(array.pixels[:256, :256], "YX")
    dataset, patching = random_patches([chunked, plain], (16, 16), pool_bytes=2**17)
    places = [patching.specs(k)["data_idx"] for k in range(len(dataset))]
    shares = [np.mean(part) for part in np.array_split(places, 8)]
    assert np.ptp(shares) < 0.15, shares
    read_epoch(dataset)
    assert array.reads_per_chunk() == (1, 1)


def test_validation_patches_in_a_chunked_store_cost_no_further_reads_of_blocks():
    stack, array = chunked_stack((512, 512), (64, 64))
    kept = validation_patches([stack.data_shape], (32, 32), 8, seed=1)
    dataset, _ = random_patches([stack], (32, 32), excluded=kept, pool_bytes=2**17)
    read_epoch(dataset)
    assert array.reads_per_chunk()[0] <= 1.1


def test_small_validation_data_are_read_once():
    stack, array = chunked_stack((128, 128), (32, 32))
    specs = grid_patches([stack.data_shape], (48, 48))
    dataset = PatchDataset([stack], specs.__getitem__, len(specs), 0, purpose=1)
    first = dataset.__getitems__(range(len(specs)))
    array.reads.clear()
    again = dataset.__getitems__(range(len(specs)))
    assert not array.reads
    assert (first.inputs == again.inputs).all()
    assert (first.keys.numpy() == sample_keys(0, np.arange(len(specs)), 1)).all()
    for patch, spec in zip(first.inputs.numpy(), specs, strict=True):
        np.testing.assert_array_equal(patch, expected(stack, spec))


def test_large_validation_data_are_not_kept():
    pixels = np.broadcast_to(np.uint8(3), (9000, 9000))
    stack = ArrayStack(pixels, "YX")
    specs = grid_patches([stack.data_shape], (512, 512))
    dataset = PatchDataset([stack], specs.__getitem__, len(specs), 0, purpose=1)
    dataset.__getitems__(range(4))
    assert dataset._kept is None


@pytest.mark.parametrize("target_chunks", [(64, 64, 2), (32, 64, 1), None])
def test_targets_come_from_the_same_place(target_chunks):
    stack, array = chunked_stack((256, 256), (32, 64))
    second, target_array = chunked_stack(
        (256, 256, 2), target_chunks or (1, 1, 1), "YXC", np.float32, seed=1
    )
    target = second if target_chunks else ArrayStack(target_array.pixels, "YXC")
    dataset, patching = random_patches([stack], (32, 32), targets=[target], pool_bytes=2**18)
    batch = dataset.__getitems__(range(40, 56))
    assert batch.targets is not None
    assert batch.targets.shape == (16, 2, 32, 32)
    for k, pixels, goal in zip(range(40, 56), batch.inputs, batch.targets, strict=True):
        spec = patching.specs(k)
        np.testing.assert_array_equal(pixels, expected(stack, spec))
        np.testing.assert_array_equal(goal, expected(target, spec))
        patch, goal_patch = dataset[k]
        np.testing.assert_array_equal(patch[0], pixels)
        np.testing.assert_array_equal(goal_patch[0], goal)
        assert goal_patch.region_spec == spec
    array.reads.clear()
    target_array.reads.clear()
    read_epoch(dataset, 1)
    assert max(array.reads.values()) == 1
    assert not target_chunks or max(target_array.reads.values()) == 1


def test_a_copy_in_another_process_delivers_the_same_batches():
    stack, _ = chunked_stack((256, 256), (64, 64))
    dataset, _ = random_patches([stack], (32, 32), pool_bytes=2**15)
    here = [dataset.__getitems__(range(k, k + 8)) for k in range(0, 80, 8)]
    sent = pickle.dumps(dataset)
    assert len(sent) < 2 * stack._array.pixels.nbytes  # the blocks stay here
    for worker in range(2):  # each makes every second batch
        copy = pickle.loads(sent)
        for number in range(worker, 10, 2):
            batch = copy.__getitems__(range(8 * number, 8 * number + 8))
            assert (batch.inputs == here[number].inputs).all()
            assert (batch.keys == here[number].keys).all()


def test_the_pool_delivers_patches_fast():
    stack, _ = chunked_stack((2048, 2048), (128, 128))
    dataset, _ = random_patches([stack], (64, 64))
    read_epoch(dataset)
    start = time.process_time()
    read_epoch(dataset, 1)
    rate = len(dataset) / (time.process_time() - start)
    assert rate > 5000  # 40 000 on an idle core; a machine at work measures less


def config(**settings):
    return DataConfig(**{"patch_size": (32, 32), "axes": "YX", **settings})


def test_in_memory_dataset_delivers_the_grid_in_order():
    image = np.random.default_rng(0).random((80, 64)).astype(np.float32)
    dataset = InMemoryDataset(config(), image)
    assert len(dataset) == 3 * 2
    places = [(0, 0), (0, 32), (32, 0), (32, 32), (48, 0), (48, 32)]
    for (y, x), patch in zip(places, dataset, strict=True):
        np.testing.assert_array_equal(patch[0], image[None, y : y + 32, x : x + 32])


def test_in_memory_dataset_of_files_of_the_users_own(tmp_path):
    images = [np.random.default_rng(n).random((40, 40)).astype(np.float32) for n in range(2)]
    for number, image in enumerate(images):
        np.save(tmp_path / f"{number}.npy", image)
    dataset = InMemoryDataset(
        config(data_type="custom"),
        tmp_path,
        read_source_func=lambda path, *args, **kwargs: np.load(path),
        extension_filter="*.npy",
    )
    assert len(dataset) == 8
    np.testing.assert_array_equal(dataset[7][0][0], images[1][8:, 8:])


@pytest.mark.parametrize("dataset_class", [InMemoryDataset, IterableDataset])
def test_named_datasets_deliver_targets_alongside(dataset_class, tmp_path):
    for folder, offset in (("in", 0), ("out", 1000)):
        (tmp_path / folder).mkdir()
        for number in range(2):
            image = np.random.default_rng(number).random((3, 48, 48)).astype(np.float32)
            path = tmp_path / folder / f"{number}.tif"
            tifffile.imwrite(path, image + np.float32(offset), photometric="minisblack")
    settings = config(data_type="tiff", axes="TYX")
    dataset = dataset_class(settings, tmp_path / "in", tmp_path / "out")
    assert len(dataset) > 0
    for patch, goal in dataset:
        np.testing.assert_allclose(goal[0], patch[0] + 1000, atol=1e-4)


def test_iterable_dataset_takes_random_patches_of_one_file_after_the_other(tmp_path):
    for number in range(3):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.full((128, 128), number, np.uint8))
    dataset = IterableDataset(config(data_type="tiff"), tmp_path)
    n = len(dataset)
    files = [int(dataset[k][0][0, 0, 0]) for k in range(2 * n)]
    assert files == sorted(files[:n]) * 2
    assert set(files) == {0, 1, 2}
    places = [tuple(dataset[k].region_spec["coords"]) for k in range(2 * n)]
    assert places[:n] != places[n:]  # random, anew in each epoch
    assert places[: n // 3] != sorted(places[: n // 3])


def test_channels_are_chosen():
    image = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)
    dataset = InMemoryDataset(config(axes="CYX", channels=(2, 0)), image)
    np.testing.assert_array_equal(dataset[0][0], image[[2, 0]])
