"""Results as TIFF files: complete under their name or not there, and gone on with."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamist.dataset.image_stack import FORMATS
from careamist.dataset.image_stack.tiff import inspect
from careamist.dataset.normalization import MeanStd
from careamist.dataset.region import ImageRegionData
from careamist.dataset.tiling import Tiling
from careamist.errors import DiskFullError, OutputExistsError
from careamist.events import ImageFinished, RunStarted
from careamist.models.network import UNet
from careamist.prediction.disk_sink import DiskSink
from careamist.prediction.output import SPREAD, Output
from careamist.prediction.predictor import Predictor
from careamist.prediction.run import Telling, predict_outputs
from careamist.prediction.writers import tiff
from careamist.prediction.writers.protocol import WriteOptions
from careamist.stop import StopSignal

SIZES = {"S": 2, "T": 3, "C": 2, "Z": 6, "Y": 41, "X": 38}
RECIPE = {"identity": "image 1", "model": "abc"}


def image_of(axes):
    return np.random.default_rng(0).random([SIZES[axis] for axis in axes], dtype=np.float32)


def tiff_of(path, image, axes, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"photometric": "minisblack", "metadata": {"axes": axes}} | options
    tifffile.imwrite(path, image, **options)
    (stack,) = FORMATS["tiff"].load(path, axes)
    return stack


def output_of(stack, index=0, **more):
    dims = len(stack.data_shape) - 2
    tiles = Tiling((4,) * dims, (0,) * dims, (8,) * dims).specs(index, stack.data_shape)
    return Output(index, stack, tiles, stack.data_shape[1], recipe=RECIPE, **more)


def region_of(output, number):
    specs = output.tiles[int(number)]
    data = output.stack.extract_patch(
        specs["sample_idx"], None, specs["stitch_coords"], specs["crop_size"]
    )
    return ImageRegionData(
        data=data,
        source=output.source,
        data_shape=output.stack.data_shape,
        dtype=str(data.dtype),
        axes=output.stack.original_axes,
        original_data_shape=output.stack.original_data_shape,
        region_spec=specs,
        additional_metadata={SPREAD: data / np.float32(2)},
    )


def begin(folder, output, **options):
    """Return a sink that has begun a result, and the tiles that it wants."""
    sink = DiskSink(folder, tiff, **options)
    sink.check([output])
    return sink, sink.start(output)


def put(sink, output, numbers):
    for number in numbers:
        sink.write(region_of(output, number))


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("axes", ["YX", "TYX", "YXC", "XZY", "STCZYX"])
@pytest.mark.parametrize("options", [None, WriteOptions("zlib")])
def test_a_result_is_called_like_its_source(tmp_path, axes, options):
    image = image_of(axes)
    output = output_of(tiff_of(tmp_path / "in" / "a.b.tif", image, axes))
    folder = tmp_path / "out" / "deep"
    sink, numbers = begin(folder, output, options=options)
    put(sink, output, numbers[::-1])
    np.testing.assert_array_equal(sink.view(0), image)
    assert not (folder / "a.b.tiff").exists()
    assert sink.finish(0) == str(folder / "a.b.tiff")
    assert left(tmp_path / "out") == ["a.b.tiff"]
    (info,) = inspect(folder / "a.b.tiff")
    assert (info.axes, info.shape, info.dtype) == (axes, image.shape, np.float32)
    np.testing.assert_array_equal(tifffile.imread(folder / "a.b.tiff"), image)


@pytest.mark.parametrize(
    ("axes", "metadata", "pixel_size"),
    [
        ("YX", {"unit": "um"}, {}),
        ("TYX", {"unit": "nm", "finterval": 5.0}, {"T": 5.0}),
        ("ZYX", {"unit": "micron", "spacing": 0.7}, {"Z": 0.7}),
        ("TZCYX", {"unit": "um", "spacing": 2.0}, {"Z": 2.0}),
    ],
)
def test_pixel_size_of_the_source_is_carried_over(axes, metadata, pixel_size, tmp_path):
    options = {"imagej": True, "resolution": (8, 4), "metadata": {"axes": axes, **metadata}}
    stack = tiff_of(tmp_path / "cells.tif", image_of(axes), axes, **options)
    output = output_of(stack)
    sink, numbers = begin(tmp_path / "out", output)
    put(sink, output, numbers)
    (given,), (written,) = inspect(stack.source), inspect(sink.finish(0))
    assert written.pixel_size == pytest.approx({"Y": 0.25, "X": 0.125, **pixel_size}, rel=1e-6)
    assert written.units == given.units


def test_the_spread_gets_a_file_beside_the_result(tmp_path):
    image = (image_of("TYX") * 60_000).astype(np.uint16)
    stack = tiff_of(tmp_path / "a.tif", image, "TYX")
    output = output_of(stack, result_type="input", spread=True)
    sink, numbers = begin(tmp_path / "out", output)
    put(sink, output, numbers)
    sink.finish(0)
    assert left(tmp_path / "out") == ["a.tiff", "a_spread.tiff"]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "a.tiff"), image)
    spread = tifffile.imread(tmp_path / "out" / "a_spread.tiff")
    assert spread.dtype == np.float32
    np.testing.assert_array_equal(spread, image / np.float32(2))


# -- broken off ----------------------------------------------------------------------------------


def test_what_was_broken_off_is_gone_on_with(tmp_path):
    image, folder = image_of("TYX"), tmp_path / "out"
    output = output_of(tiff_of(tmp_path / "a.tif", image, "TYX"))
    first, numbers = begin(folder, output)
    put(first, output, numbers[::2])
    first.leave(0, KeyboardInterrupt())
    assert not (folder / "a.tiff").exists()

    second, missing = begin(folder, output)
    np.testing.assert_array_equal(missing, numbers[1::2])
    put(second, output, missing)
    second.finish(0)
    np.testing.assert_array_equal(tifffile.imread(folder / "a.tiff"), image)
    undisturbed, numbers = begin(tmp_path / "other", output)
    put(undisturbed, output, numbers)
    undisturbed.finish(0)
    assert (folder / "a.tiff").read_bytes() == (tmp_path / "other" / "a.tiff").read_bytes()
    assert left(folder) == ["a.tiff"]


def test_what_was_made_in_another_way_is_begun_anew(tmp_path):
    stack = tiff_of(tmp_path / "a.tif", image_of("YX"), "YX")
    output = output_of(stack)
    first, numbers = begin(tmp_path, output)
    put(first, output, numbers[::2])
    first.leave(0, KeyboardInterrupt())
    other = Output(0, stack, output.tiles, recipe={**RECIPE, "model": "xyz"})
    second, missing = begin(tmp_path, other)
    assert len(missing) == len(other.tiles)
    second.leave(0, KeyboardInterrupt())
    assert left(tmp_path) == ["a.tif"]  # nothing of it was there


def test_an_existing_file_survives_a_replacement_that_fails(tmp_path):
    (tmp_path / "a.tiff").write_text("old")
    output = output_of(tiff_of(tmp_path / "in" / "a.tif", image_of("YX"), "YX"))
    sink, numbers = begin(tmp_path, output, overwrite="replace")
    put(sink, output, numbers[:-1])
    sink.leave(0, RuntimeError())
    assert (tmp_path / "a.tiff").read_text() == "old"


def test_a_full_disk_is_told_in_our_words_and_given_back(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = tmp_path / "out"
    output = output_of(tiff_of(tmp_path / "a.tif", image_of("YX"), "YX"))
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    sink = DiskSink(folder, tiff)
    sink.check([output])
    with pytest.raises(DiskFullError, match=r"disk of .*out is full") as raised:
        sink.start(output)
    sink.leave(0, raised.value)
    assert left(folder) == []


# -- before the first pixel ----------------------------------------------------------------------


def predict(sink, stacks):
    """Predict with a small network; return the events and the number of passes."""
    network = UNet(depth=1, num_channels_init=4).build(2, 1, 1).eval()
    passes, events = [], []
    network.register_forward_pre_hook(lambda *_: passes.append(True))
    predictor = Predictor(
        network, MeanStd(input_means=(0.5,), input_stds=(0.3,)), stop=StopSignal()
    )
    tiling = Tiling(network.grid, network.halo, (32, 32))
    outputs = [
        Output(index, stack, tiling.specs(index, stack.data_shape))
        for index, stack in enumerate(stacks)
    ]
    telling = Telling("run", events.append, lambda error: (str(error), ""))
    try:
        predict_outputs(sink, outputs, predictor, telling)
    finally:
        sink.passes = len(passes)
    return events


def test_an_existing_file_is_refused_before_any_pixel_is_computed(tmp_path):
    stacks = [tiff_of(tmp_path / f"{name}.tif", image_of("YX"), "YX") for name in "ab"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.tiff").write_text("precious")
    sink = DiskSink(tmp_path / "out", tiff)
    with pytest.raises(OutputExistsError, match=r"b\.tiff is already there"):
        predict(sink, stacks)
    assert sink.passes == 0
    assert left(tmp_path / "out") == ["b.tiff"]
    assert (tmp_path / "out" / "b.tiff").read_text() == "precious"


def test_an_existing_file_is_replaced_on_request(tmp_path):
    stack = tiff_of(tmp_path / "a.tif", image_of("YX"), "YX")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.tiff").write_text("old")
    sink = DiskSink(tmp_path / "out", tiff, overwrite="replace")
    events = predict(sink, [stack])
    assert sink.passes > 0
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], ImageFinished)
    assert events[-1].written_to == str(tmp_path / "out" / "a.tiff")
    assert tifffile.imread(tmp_path / "out" / "a.tiff").shape == (41, 38)


def test_an_existing_file_is_kept_on_request(tmp_path):
    stacks = [tiff_of(tmp_path / f"{name}.tif", image_of("YX"), "YX") for name in "ab"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.tiff").write_text("old")
    predict(DiskSink(tmp_path / "out", tiff, overwrite="skip"), stacks)
    assert (tmp_path / "out" / "a.tiff").read_text() == "old"
    assert tifffile.imread(tmp_path / "out" / "b.tiff").shape == (41, 38)


@pytest.mark.parametrize("with_root", [False, True])
def test_two_images_never_share_a_file(with_root, tmp_path):
    stacks = [tiff_of(tmp_path / day / "a.tif", image_of("YX"), "YX") for day in ("one", "two")]
    predict(DiskSink(tmp_path / "out", tiff, root=tmp_path if with_root else None), stacks)
    found = [path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.tiff")]
    assert sorted(found) == [Path("one/a.tiff"), Path("two/a.tiff")]


def test_the_image_itself_is_never_replaced(tmp_path):
    stack = tiff_of(tmp_path / "a.tiff", image_of("YX"), "YX")
    before = (tmp_path / "a.tiff").read_bytes()
    sink = DiskSink(tmp_path, tiff, overwrite="replace")
    with pytest.raises(OutputExistsError, match="is the image that is restored"):
        predict(sink, [stack])
    assert sink.passes == 0
    assert (tmp_path / "a.tiff").read_bytes() == before
