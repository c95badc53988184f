"""The contract of image stacks: every format of the table of contents, and what users bring."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import dask.array
import h5py
import numpy as np
import pytest
import tifffile
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from careamist.dataset.image_stack import FORMATS, ImageStack
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.image_stack.custom import ReadFuncLoading
from careamist.dataset.image_stack.image_utils import pad_patch
from careamist.dataset.sources import inspect, open_stacks
from careamist.errors import SettingsError
from careamist.utils.reshape_array import AxesTransform, get_patch_slices, reshape_patch

SIZES = {"S": 2, "T": 3, "C": 4, "Z": 5, "Y": 11, "X": 13}
ORDERS = (
    "YX",
    "XY",
    "SYX",
    "TYX",
    "XYT",
    "CYX",
    "YXC",
    "ZYX",
    "XZY",
    "STYX",
    "TSYX",
    "TZCYX",
    "STCZYX",
    *("".join(order) for order in list(permutations("STCZYX"))[5::311]),
)
DTYPES = ("bool", "uint8", "int16", "uint32", "float16", ">f4", "float64")


class Case(NamedTuple):
    """How a format is tested: what makes a source of an image, and what the format can hold."""

    make: Callable[[Path, np.ndarray, str], Any]
    orders: Sequence[str] = ORDERS
    dtypes: Sequence[str] = DTYPES
    load: Callable[[Any, str], Sequence[ImageStack]] | None = None  # as in FORMATS
    lazy: bool = True


def as_tiff(folder, image, axes):
    path = folder / "image.tif"
    tifffile.imwrite(path, image, photometric="minisblack", metadata={"axes": axes})
    return path


def as_zarr(folder, image, axes):
    path = folder / "image.zarr"
    chunks = tuple(-(-n // 2) for n in image.shape)
    zarr.create_array(path, data=image, chunks=chunks, overwrite=True)
    return path


def as_czi(folder, image, axes):
    from pylibCZIrw.czi import create_czi

    path = folder / "image.czi"
    if axes == "SCYX":
        image = image[:, :, None]
    samples, depth = "ZT" if axes == "SCTYX" else "TZ"
    with create_czi(str(path), exist_ok=True) as file:
        for s, c, z in np.ndindex(*image.shape[:3]):
            file.write(image[s, c, z], (0, 0), {samples: s, "C": c, depth: z}, scene=0)
    return path


def as_npy(folder, image, axes):
    np.save(folder / "image.npy", image)
    return folder / "image.npy"


def as_hdf5(folder, image, axes):
    with h5py.File(folder / "image.h5", "w") as file:
        file.create_dataset("deep/image", data=image)
    return folder / "image.h5"


def example_of_the_docs() -> ModuleType:
    """Return the module that docs/formats.md shows to those who add a format."""
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    (code,) = re.findall(r"```python\n(# hdf5\.py\n.*?)```", text, re.DOTALL)
    module = ModuleType("careamist.dataset.image_stack.hdf5")
    exec(compile(code, "docs/formats.md", "exec"), module.__dict__)
    return module


class HDF5ImageStack:
    """The example of the CAREamics documentation: a class without a base of ours."""

    def __init__(self, path: Path, axes: str) -> None:
        self._path = path
        with h5py.File(path) as file:
            self.data_dtype = file["deep/image"].dtype
            self.original_data_shape = file["deep/image"].shape
        self.original_axes = axes
        self.source = f"{path}#/deep/image"
        self.data_shape = AxesTransform(axes, self.original_data_shape).transformed_shape

    def extract_patch(self, sample_idx, channels, coords, patch_size):
        slices = get_patch_slices(
            self.original_axes, self.original_data_shape, sample_idx, None, coords, patch_size
        )
        with h5py.File(self._path) as file:
            patch = reshape_patch(file["deep/image"][slices], self.original_axes)
        patch = pad_patch(coords, patch_size, self.data_shape, patch)
        return patch if channels is None else patch[list(channels)]


# one line for each format, and for what is open to users
CASES = {
    "array": Case(lambda folder, image, axes: image),
    "tiff": Case(as_tiff),
    "zarr": Case(as_zarr),
    "czi": Case(as_czi, FORMATS["czi"].AXES, ("uint8", "uint16", "float32")),
    "image": Case(as_npy),
    "hdf5": Case(as_hdf5),
    "read function": Case(as_npy, load=ReadFuncLoading(np.load).load, lazy=False),
    "own class": Case(as_hdf5, load=lambda path, axes: [HDF5ImageStack(path, axes)]),
}
NAMES = [name for name in CASES if CASES[name].load or name in {*FORMATS, "hdf5"}]

every_case = pytest.mark.parametrize("name", NAMES)
every_order = pytest.mark.parametrize(
    ("name", "axes"), [(name, axes) for name in NAMES for axes in CASES[name].orders]
)


@pytest.fixture(autouse=True, scope="module")
def added() -> Iterator[None]:
    """Add the format of the docs to the table of contents."""
    with pytest.MonkeyPatch.context() as patch:
        module = example_of_the_docs()
        patch.setitem(sys.modules, module.__name__, module)  # where pickle looks for its classes
        patch.setitem(FORMATS, "hdf5", module)
        yield


def image_of(axes, dtype=np.uint16):
    shape = [SIZES[axis] for axis in axes]
    return np.random.default_rng(0).integers(1, 255, shape).astype(dtype)


def opened(name, folder, image, axes):
    case = CASES[name]
    source = case.make(folder, image, axes)
    (stack,) = (case.load or FORMATS[name].load)(source, axes)
    return stack


def meant(name, axes):
    """Return the axes of the stack: time in a CZI is depth, which is called Z inside."""
    return axes.replace("T", "Z") if name == "czi" else axes


def inside(name, image, axes):
    return AxesTransform(meant(name, axes), image.shape).transform(image)


def some_order(name, *wanted):
    """Return an order of axes that a format has, the first of the wanted ones if it can."""
    orders = CASES[name].orders
    return next((axes for axes in wanted if axes in orders), orders[0])


def test_every_format_is_tested():
    assert set(FORMATS) <= set(CASES)


@every_order
def test_members_describe_the_image(name, axes, tmp_path):
    image = image_of(axes)
    stack = opened(name, tmp_path, image, axes)
    assert isinstance(stack, ImageStack)
    layout = AxesTransform(meant(name, axes), image.shape)
    assert tuple(stack.data_shape) == layout.transformed_shape
    assert tuple(stack.original_data_shape) == image.shape
    assert stack.original_axes == layout.original_axes
    assert np.dtype(stack.data_dtype) == np.uint16
    assert isinstance(stack.source, str)
    assert stack.source
    chunk = getattr(stack, "chunk_shape", None)
    assert chunk is None or len(chunk) == len(stack.data_shape)


@every_order
def test_patches_are_slices_of_the_transformed_image(name, axes, tmp_path):
    image = image_of(axes)
    stack = opened(name, tmp_path, image, axes)
    expected = inside(name, image, axes)
    rng = np.random.default_rng(1)
    for _ in range(8):
        sample = int(rng.integers(expected.shape[0]))
        coords = [int(rng.integers(n)) for n in expected.shape[2:]]
        size = [
            int(rng.integers(1, n - c + 1)) for n, c in zip(expected.shape[2:], coords, strict=True)
        ]
        patch = stack.extract_patch(sample, None, coords, size)
        window = tuple(slice(c, c + n) for c, n in zip(coords, size, strict=True))
        np.testing.assert_array_equal(patch, expected[(sample, slice(None), *window)])
        assert patch.dtype == image.dtype


@every_order
def test_blocks_are_their_patches(name, axes, tmp_path):
    image = image_of(axes)
    stack = opened(name, tmp_path, image, axes)
    if not hasattr(stack, "extract_block"):
        assert name == "own class"
        return
    n_samples, n_channels, *sizes = stack.data_shape
    rng = np.random.default_rng(3)
    for _ in range(6):
        first = int(rng.integers(n_samples))
        samples = range(first, int(rng.integers(first + 1, n_samples + 1)))
        coords = [int(rng.integers(n)) for n in sizes]
        size = [int(rng.integers(1, n - c + 1)) for n, c in zip(sizes, coords, strict=True)]
        for channels in (None, [n_channels - 1, 0]):
            block = stack.extract_block(samples, coords, size, channels)
            patches = [stack.extract_patch(s, channels, coords, size) for s in samples]
            np.testing.assert_array_equal(block, np.stack(patches))


@every_case
def test_outside_of_the_image_is_zero(name, tmp_path):
    for axes in {some_order(name, wanted) for wanted in ("YX", "XYS", "SCZYX", "ZCYX", "YTXZ")}:
        image = image_of(axes)
        stack = opened(name, tmp_path, image, axes)
        expected = inside(name, image, axes)
        margin = 9
        around = [(0, 0), (0, 0), *[(margin, margin)] * (expected.ndim - 2)]
        surrounded = np.pad(expected, around)
        rng = np.random.default_rng(2)
        for _ in range(20):
            sample = int(rng.integers(expected.shape[0]))
            coords = [int(rng.integers(-margin, n + margin - 1)) for n in expected.shape[2:]]
            size = [
                int(rng.integers(1, n + margin - c + 1))
                for n, c in zip(expected.shape[2:], coords, strict=True)
            ]
            patch = stack.extract_patch(sample, None, coords, size)
            window = tuple(
                slice(c + margin, c + margin + n) for c, n in zip(coords, size, strict=True)
            )
            np.testing.assert_array_equal(patch, surrounded[(sample, slice(None), *window)])


@every_case
@pytest.mark.parametrize("channels", [[0], [2, 3], [3, 0, 1]])
def test_channels_are_chosen_in_order(name, channels, tmp_path):
    for axes in {some_order(name, wanted, "SCYX") for wanted in ("CYX", "YXC", "TZCYX")}:
        image = image_of(axes)
        stack = opened(name, tmp_path, image, axes)
        expected = inside(name, image, axes)
        coords, size = (1, 2, 3)[-(expected.ndim - 2) :], (3, 5, 6)[-(expected.ndim - 2) :]
        patch = stack.extract_patch(0, channels, coords, size)
        window = tuple(slice(c, c + n) for c, n in zip(coords, size, strict=True))
        np.testing.assert_array_equal(patch, expected[(0, channels, *window)])


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name in NAMES for dtype in CASES[name].dtypes]
)
def test_pixels_keep_their_type_and_value(name, dtype, tmp_path):
    axes = some_order(name, "YX")
    image = (image_of(axes) % 2 if dtype == "bool" else image_of(axes)).astype(dtype)
    stack = opened(name, tmp_path, image, axes)
    expected = inside(name, image, axes)
    patch = stack.extract_patch(0, None, (0,) * (expected.ndim - 2), expected.shape[2:])
    np.testing.assert_array_equal(patch, expected[0])
    assert np.dtype(stack.data_dtype).newbyteorder("=") == np.dtype(dtype).newbyteorder("=")


@every_case
def test_axes_that_do_not_fit_are_refused_at_opening(name, tmp_path):
    axes = some_order(name, "ZYX")
    source = CASES[name].make(tmp_path, image_of(axes), axes)
    with pytest.raises(ValueError, match="axes='YX"):
        (CASES[name].load or FORMATS[name].load)(source, "YX")


@every_case
def test_samples_and_channels_out_of_range_are_refused(name, tmp_path):
    axes = some_order(name, "CYX", "SCYX")
    stack = opened(name, tmp_path, image_of(axes), axes)
    place = (0,) * (len(stack.data_shape) - 2)
    size = (1,) * len(place)
    for sample, channels in ((stack.data_shape[0], None), (0, [4])):
        with pytest.raises(IndexError):
            stack.extract_patch(sample, channels, place, size)


@every_case
def test_stack_survives_pickling(name, tmp_path):
    axes = some_order(name, "TYX")
    image = image_of(axes)
    stack = opened(name, tmp_path, image, axes)
    expected = inside(name, image, axes)
    copy = pickle.loads(pickle.dumps(stack))
    whole = ((0,) * (expected.ndim - 2), expected.shape[2:])
    np.testing.assert_array_equal(copy.extract_patch(1, None, *whole), expected[1])
    assert copy.source == stack.source


@every_case
def test_no_pixels_are_read_at_opening(name, tmp_path):
    case = CASES[name]
    load = case.load or FORMATS[name].load
    axes = some_order(name, "TYX")
    source = case.make(tmp_path, np.zeros([SIZES[axis] for axis in axes], np.uint16), axes)
    load(source, axes)  # whatever is imported for it
    sizes = {"Y": 512, "X": 512}
    large = np.ones([sizes.get(axis, SIZES[axis]) for axis in axes], np.uint16)
    (tmp_path / "large").mkdir()
    source = case.make(tmp_path / "large", large, axes)
    tracemalloc.start()
    try:
        (stack,) = load(source, axes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (peak < large.nbytes / 4) == case.lazy
    assert stack.extract_patch(1, None, (500, 500), (9, 9)).any()


@every_case
def test_the_door_opens_and_describes_it(name, tmp_path):
    if CASES[name].load:
        return
    axes = some_order(name, "TYX")
    source = CASES[name].make(tmp_path, image_of(axes), axes)
    (stack,) = open_stacks(source, name, axes)
    (info,) = inspect(source, name)
    if name != "czi":  # which knows its axes
        assert info.shape == tuple(stack.original_data_shape)
    assert info.source == stack.source
    assert info.dtype == stack.data_dtype
    if name != "array":
        assert open_stacks(tmp_path, name, axes)[0].source == stack.source


# -- arrays ---------------------------------------------------------------------------------------


class Watched:
    """Sliced like an array; tells what it was asked for, and cannot be converted."""

    def __init__(self, array):
        self.shape, self.dtype, self.asked, self._array = array.shape, array.dtype, [], array

    def __getitem__(self, key):
        self.asked.append(key)
        return self._array[key]

    def __array__(self, *args, **kwargs):
        raise AssertionError("the whole array was converted")


def test_an_array_is_neither_copied_nor_read_before_it_is_asked():
    array = Watched(image_of("TYX"))
    (stack,) = FORMATS["array"].load(array, "TYX")
    assert array.asked == []
    stack.extract_patch(1, None, (3, 4), (8, 9))
    assert array.asked == [(slice(1, 2), slice(3, 11), slice(4, 13))]


def test_of_channels_that_lie_apart_the_span_is_asked_for():
    array = Watched(image_of("CYX"))
    patch = ArrayStack(array, "CYX").extract_patch(0, [3, 1], (0, 0), (2, 2))
    assert array.asked == [(slice(1, 4), slice(0, 2), slice(0, 2))]
    np.testing.assert_array_equal(patch, array._array[[3, 1], :2, :2])


def test_patches_of_numpy_are_views():
    image = image_of("TYX")
    patch = ArrayStack(image, "TYX").extract_patch(1, None, (2, 3), (4, 5))
    assert np.shares_memory(patch, image)


def mapped(folder, image):
    array = np.memmap(folder / "raw", image.dtype, "w+", shape=image.shape)
    array[:] = image
    return array


def in_hdf5(folder, image):
    return h5py.File(folder / "a.h5", "w").create_dataset("x", data=image, chunks=(1, 2, 5, 6))


ARRAYS = {
    "numpy": lambda folder, image: image,
    "memmap": mapped,
    "read-only": lambda folder, image: np.broadcast_to(image, image.shape),
    "dask": lambda folder, image: dask.array.from_array(image, chunks=(1, 2, 5, 6)),
    "zarr": lambda folder, image: zarr.create_array(
        folder / "a.zarr", data=image, chunks=(1, 2, 5, 6)
    ),
    "xarray": lambda folder, image: xarray.DataArray(image, dims=("T", "C", "Y", "X")),
    "lazy xarray": lambda folder, image: xarray.DataArray(
        dask.array.from_array(image, chunks=(1, 2, 5, 6)), dims=("t", "channel", "y", "x")
    ),
    "h5py": in_hdf5,
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_any_array_will_do(kind, tmp_path):
    image = image_of("TCYX")
    array = ARRAYS[kind](tmp_path, image)
    (stack,) = open_stacks(array, "array", "TCYX")
    reference = ArrayStack(image, "TCYX")
    for channels in (None, [2], [1, 2], [3, 0]):
        for coords, size in (((0, 0), (11, 13)), ((3, 4), (5, 6)), ((-2, 9), (6, 8))):
            patch = stack.extract_patch(2, channels, coords, size)
            assert isinstance(patch, np.ndarray)
            np.testing.assert_array_equal(patch, reference.extract_patch(2, channels, coords, size))
    chunked = kind in ("dask", "zarr", "lazy xarray", "h5py")
    assert stack.chunk_shape == ((1, 2, 5, 6) if chunked else None)
    if "xarray" in kind:
        assert inspect(array)[0].axes == "TCYX"
    if kind == "h5py":
        array.file.close()


def test_a_colour_picture_has_its_channels_last():
    picture = image_of("YXC", np.uint8)
    (stack,) = open_stacks(picture, "array", "YXC")
    np.testing.assert_array_equal(
        stack.extract_patch(0, None, (0, 0), (11, 13)), np.moveaxis(picture, -1, 0)
    )


class Levels(Sequence):
    """Looks like the data of a multiscale layer in napari."""

    def __init__(self, levels):
        self._levels = levels
        self.shape, self.dtype = levels[0].shape, levels[0].dtype
        self.shapes = tuple(level.shape for level in levels)

    def __len__(self):
        return len(self._levels)

    def __getitem__(self, key):
        return self._levels[key]


def test_of_a_pyramid_the_finest_level_is_taken():
    image = image_of("YX")
    (stack,) = open_stacks(Levels([image, image[::2, ::2]]), "array", "YX")
    assert stack.data_shape == (1, 1, 11, 13)
    np.testing.assert_array_equal(stack.extract_patch(0, None, (0, 0), (11, 13))[0], image)


def test_the_pyramid_of_napari_is_one():
    napari = pytest.importorskip("napari.layers._multiscale_data", exc_type=ImportError)
    image = image_of("YX")
    (stack,) = open_stacks(napari.MultiScaleData([image, image[::2, ::2]]), "array", "YX")
    np.testing.assert_array_equal(stack.extract_patch(0, None, (0, 0), (11, 13))[0], image)


def test_a_list_of_arrays_means_several_images():
    image = image_of("YX")
    stacks = open_stacks([image, image[::2, ::2]], "array", "YX")
    assert [stack.data_shape for stack in stacks] == [(1, 1, 11, 13), (1, 1, 6, 7)]


def test_pixels_of_a_type_that_numpy_does_not_know_are_refused():
    import torch

    with pytest.raises(SettingsError, match=r"pixels of a Tensor are of type torch\.float32"):
        open_stacks(torch.zeros(4, 4), "array", "YX")


def test_padding_nothing_returns_the_patch_itself():
    patch = np.ones((1, 3, 4))
    assert pad_patch((2, 2), (3, 4), (1, 1, 8, 8), patch) is patch


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_blocks_of_any_order_are_their_patches(data):
    """Samples of the merged axis may begin and end anywhere in S and T."""
    others = data.draw(st.lists(st.sampled_from("STCZ"), unique=True))
    axes = "".join(data.draw(st.permutations([*others, "Y", "X"])))
    sizes = {axis: data.draw(st.integers(1, 5), label=axis) for axis in axes}
    shape = [sizes[axis] for axis in axes]
    image = np.arange(np.prod(shape)).reshape(shape)
    stack = ArrayStack(image, axes)
    n_samples, _, *spatial = stack.data_shape
    first = data.draw(st.integers(0, n_samples - 1))
    samples = range(first, data.draw(st.integers(first + 1, n_samples)))
    coords = [data.draw(st.integers(0, n - 1)) for n in spatial]
    size = [data.draw(st.integers(1, n - start)) for n, start in zip(spatial, coords, strict=True)]
    patches = [stack.extract_patch(s, None, coords, size) for s in samples]
    np.testing.assert_array_equal(stack.extract_block(samples, coords, size), np.stack(patches))


def test_a_format_is_imported_when_it_is_asked_for():
    code = """
import sys
import careamist.config
from careamist.dataset.image_stack import FORMATS

def imported():
    return {name for name in FORMATS if f"careamist.dataset.image_stack.{name}" in sys.modules}

assert imported() <= {"array"}, imported()
assert not {"tifffile", "zarr", "pylibCZIrw"} & set(sys.modules)
assert FORMATS["tiff"] is FORMATS["tiff"]
assert ".tif" in FORMATS["tiff"].EXTENSIONS
assert imported() <= {"array", "tiff"}, imported()
assert [name for name, module in FORMATS.items() if not module.load] == []
assert imported() == set(FORMATS)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
