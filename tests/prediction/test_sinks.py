"""Sinks: every region in its place, and files that others open as what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamist.dataset.image_stack import FORMATS
from careamist.dataset.image_stack.tiff import inspect
from careamist.dataset.normalization import MeanStd
from careamist.dataset.region import ImageRegionData
from careamist.dataset.tiling import Tiling
from careamist.errors import OutputExistsError
from careamist.events import ImageFinished, RunStarted
from careamist.models.network import UNet
from careamist.prediction.predictor import predict_stacks
from careamist.prediction.sinks import ArraySink, TiffSink
from careamist.prediction.writers import tiff as tiff_writer
from careamist.stop import StopSignal
from careamist.utils.reshape_array import AxesTransform

SIZES = {"S": 2, "T": 3, "C": 2, "Z": 6, "Y": 21, "X": 18}
ORDERS = ["YX", "XY", "TYX", "STYX", "CYX", "YXC", "ZYX", "XZY", "TZCYX", "STCZYX", "XCTYZS"]


def image_of(axes):
    shape = [SIZES[axis] for axis in axes]
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def stack_of(image, axes):
    (stack,) = FORMATS["array"].load(image, axes)
    return stack


def tiff_of(path, image, axes, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"photometric": "minisblack", "metadata": {"axes": axes}} | options
    tifffile.imwrite(path, image, **options)
    (stack,) = FORMATS["tiff"].load(path, axes)
    return stack


def fill(sink, index, stack, n_channels=None):
    """Write the image into the sink, tile by tile, in mixed order; add up channels or copy them."""
    samples, channels, *spatial = stack.data_shape
    n_channels = channels if n_channels is None else n_channels
    tiling = Tiling((4,) * len(spatial), (0,) * len(spatial), (8,) * len(spatial))
    specs = tiling.specs(index, stack.data_shape)
    started = sink.start(index, stack, n_channels)
    for place in np.random.default_rng(1).permutation(len(specs)):
        spec = specs[place]
        data = stack.extract_patch(
            spec["sample_idx"], None, spec["stitch_coords"], spec["crop_size"]
        )
        data = np.resize(data[:1], (n_channels, *data.shape[1:])) if n_channels > channels else data
        sink.write(
            ImageRegionData(
                data=data,
                source=stack.source,
                data_shape=(samples, n_channels, *spatial),
                dtype="float32",
                axes=stack.original_axes,
                original_data_shape=stack.original_data_shape,
                region_spec=spec,
            )
        )
    return started


@pytest.mark.parametrize("axes", ORDERS)
def test_array_sink_puts_every_region_in_its_place(axes):
    image, sink = image_of(axes), ArraySink()
    assert fill(sink, 3, stack_of(image, axes)) == (image.shape, axes)
    np.testing.assert_array_equal(sink.view(3), image)
    assert sink.arrays[3].dtype == np.float32
    assert sink.finish(3) is None
    assert set(sink.arrays) == {3}


def test_several_channels_get_an_axis_where_the_image_had_none():
    image, sink = image_of("TYX"), ArraySink()
    assert fill(sink, 0, stack_of(image, "TYX"), n_channels=3) == ((3, 3, 21, 18), "TCYX")
    for channel in range(3):
        np.testing.assert_array_equal(sink.arrays[0][:, channel], image)


def test_what_is_still_missing_is_nan():
    image, sink = image_of("YX"), ArraySink()
    sink.start(0, stack_of(image, "YX"), 1)
    assert np.isnan(sink.view(0)).all()


def test_images_in_memory_are_kept_apart():
    images, sink = [image_of("YX"), image_of("TYX")], ArraySink()
    for index, (image, axes) in enumerate(zip(images, ["YX", "TYX"], strict=True)):
        fill(sink, index, stack_of(image, axes))
    for index, image in enumerate(images):
        np.testing.assert_array_equal(sink.arrays[index], image)


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ORDERS)
def test_written_tiff_has_the_pixels_and_the_axes(axes, tmp_path):
    image, sink = image_of(axes), TiffSink(tmp_path / "out" / "deep")
    stack = tiff_of(tmp_path / "cells.tif", image, axes)
    sink.check([stack])
    fill(sink, 0, stack)
    written = Path(sink.finish(0))
    assert written == tmp_path / "out" / "deep" / "cells.tiff"
    with tifffile.TiffFile(written) as tif:
        assert tif.series[0].axes == axes
        np.testing.assert_array_equal(tif.asarray(), image)
        assert tif.series[0].dtype == np.float32
    assert inspect(written)[0].axes == axes  # our own reader agrees
    assert sink.arrays == {}


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
    image, sink = image_of(axes), TiffSink(tmp_path / "out")
    options = {"imagej": True, "resolution": (8, 4), "metadata": {"axes": axes, **metadata}}
    stack = tiff_of(tmp_path / "cells.tif", image, axes, **options)
    fill(sink, 0, stack)
    (given,), (written,) = inspect(stack.source), inspect(sink.finish(0))
    expected = {"Y": 0.25, "X": 0.125, **pixel_size}
    assert written.pixel_size == pytest.approx(expected, rel=1e-6)
    assert written.units == given.units
    assert written.axes == axes


def test_imagej_is_told_the_range_of_the_pixels(tmp_path):
    image = image_of("YX")
    image[0, 0] = np.nan
    path = tmp_path / "a.tiff"
    tiff_writer.write(path, image, "YX")
    with tifffile.TiffFile(path) as tif:
        shown = tif.imagej_metadata
    assert shown["min"] == pytest.approx(np.nanmin(image), rel=1e-5)
    assert shown["max"] == pytest.approx(np.nanmax(image), rel=1e-5)


def test_an_image_of_nothing_but_nan_is_written(tmp_path):
    tiff_writer.write(tmp_path / "a.tiff", np.full((4, 5), np.nan, np.float32), "YX")
    assert np.isnan(tifffile.imread(tmp_path / "a.tiff")).all()


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_is_left_when_writing_fails(error, tmp_path, monkeypatch):
    def write_half(path, *args, **kwargs):
        Path(path).write_bytes(b"half")
        raise error

    sink = TiffSink(tmp_path / "out")
    fill(sink, 0, stack_of(image_of("YX"), "YX"))
    monkeypatch.setattr(tifffile, "imwrite", write_half)
    with pytest.raises(type(error)):
        sink.finish(0)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_existing_file_survives_a_failed_replacement(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    (tmp_path / "array_0.tiff").write_text("old")
    sink = TiffSink(tmp_path, replace=True)
    fill(sink, 0, stack_of(image_of("YX"), "YX"))
    monkeypatch.setattr(tifffile, "imwrite", fail)
    with pytest.raises(OSError, match="disk full"):
        sink.finish(0)
    assert (tmp_path / "array_0.tiff").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("cells.tif", "cells.tiff"),
        ("cells.TIFF", "cells.tiff"),
        ("day.3.well.A1.tif", "day.3.well.A1.tiff"),
        ("plate.ome.tif", "plate.ome.tiff"),
        ("scan.v2", "scan.v2.tiff"),
        (".hidden.tif", ".hidden.tiff"),
    ],
)
def test_dots_in_names_survive(name, result, tmp_path):
    assert tiff_writer.file_path(tmp_path, f"/data/{name}", 0) == tmp_path / result


def test_arrays_are_numbered(tmp_path):
    assert tiff_writer.file_path(tmp_path, "array", 4) == tmp_path / "array_4.tiff"


def test_folders_of_the_sources_are_repeated(tmp_path):
    source = str(tmp_path / "in" / "day1" / "a.tif")
    path = tiff_writer.file_path(tmp_path / "out", source, 0, tmp_path / "in")
    assert path == tmp_path / "out" / "day1" / "a.tiff"
    elsewhere = tiff_writer.file_path(tmp_path / "out", source, 0, tmp_path / "other")
    assert elsewhere == tmp_path / "out" / "a.tiff"


# -- before the first pixel ----------------------------------------------------------------------


def predict(sink, stacks):
    """Predict with a small network; return the events and the number of passes."""
    network = UNet(depth=1, num_channels_init=4).build(2, 1, 1).eval()
    passes, events = [], []
    network.register_forward_pre_hook(lambda *_: passes.append(True))
    statistics = MeanStd(input_means=(0.5,), input_stds=(0.3,))
    tiling = Tiling(network.grid, network.halo, (32, 32))
    try:
        predict_stacks(
            sink, stacks, network, statistics, tiling, "run", events.append, StopSignal()
        )
    finally:
        sink.passes = len(passes)
    return events


def test_an_existing_file_is_refused_before_any_pixel_is_computed(tmp_path):
    stacks = [tiff_of(tmp_path / f"{name}.tif", image_of("YX"), "YX") for name in "ab"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.tiff").write_text("precious")
    sink = TiffSink(tmp_path / "out")
    with pytest.raises(OutputExistsError, match=r"b\.tiff is already there"):
        predict(sink, stacks)
    assert sink.passes == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.tiff"]
    assert (tmp_path / "out" / "b.tiff").read_text() == "precious"


def test_an_existing_file_is_replaced_on_request(tmp_path):
    stack = tiff_of(tmp_path / "a.tif", image_of("YX"), "YX")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.tiff").write_text("old")
    events = predict(TiffSink(tmp_path / "out", replace=True), [stack])
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], ImageFinished)
    assert events[-1].written_to == str(tmp_path / "out" / "a.tiff")
    assert tifffile.imread(tmp_path / "out" / "a.tiff").shape == (21, 18)


@pytest.mark.parametrize("replace", [True, False])
def test_two_images_never_share_a_file(replace, tmp_path):
    stacks = [tiff_of(tmp_path / day / "a.tif", image_of("YX"), "YX") for day in ("one", "two")]
    sink = TiffSink(tmp_path / "out", replace=replace)
    with pytest.raises(OutputExistsError, match=r"one.a\.tif and .*two.a\.tif would both"):
        predict(sink, stacks)
    assert sink.passes == 0
    apart = TiffSink(tmp_path / "out", replace=replace, root=tmp_path)
    predict(apart, stacks)
    assert {path.parent.name for path in (tmp_path / "out").rglob("*.tiff")} == {"one", "two"}


def test_the_image_itself_is_never_replaced(tmp_path):
    stack = tiff_of(tmp_path / "a.tiff", image_of("YX"), "YX")
    before = (tmp_path / "a.tiff").read_bytes()
    with pytest.raises(OutputExistsError, match="is the image that is restored"):
        predict(TiffSink(tmp_path, replace=True), [stack])
    assert (tmp_path / "a.tiff").read_bytes() == before


def test_layout_of_the_sink_is_that_of_the_axes_algebra():
    image = image_of("XCTYZS")
    layout = AxesTransform("XCTYZS", image.shape)
    shape, axes = ArraySink().start(0, stack_of(image, "XCTYZS"), 2)
    assert (shape, axes) == (layout.restored_shape(2), layout.restored_axes(2))
