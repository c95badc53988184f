"""Tiled prediction equals one pass of the network over the whole image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.normalization import MeanStd
from careamist.dataset.tiling import Tiling
from careamist.errors import SettingsError
from careamist.events import RegionPredicted
from careamist.models.unet import UNetModel
from careamist.prediction.predictor import plan_tiling, predict_stacks, predict_tiles
from careamist.prediction.sinks import ArraySink
from careamist.stop import StopRequested, StopSignal

NORMALIZATION = MeanStd(input_means=(100.0,), input_stds=(20.0,))


def calibrated(depth: int, upsampling: str, dims: int = 2, dtype=torch.float64) -> UNetModel:
    """Return a random network whose batch statistics were measured on noise."""
    torch.manual_seed(depth)
    model = UNetModel(
        dims=dims, depth=depth, num_channels_init=4, upsampling=upsampling, linear_path=True
    ).to(dtype)
    torch.nn.init.normal_(model.linear_filter, std=0.05)
    model.train()
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(2, 1, *(4 * 2**depth,) * dims, dtype=dtype))
    return model.eval()


def reference(model: UNetModel, image: np.ndarray) -> np.ndarray:
    """One plain call of the network on the reflect-padded image, written independently."""
    grid = 2**model.depth
    padding = [(0, -size % grid) for size in image.shape]
    padded = torch.from_numpy(np.pad(image, padding, mode="reflect"))
    with torch.no_grad():
        out = model((padded[None, None] - 100.0) / 20.0)[0, 0].numpy() * 20.0 + 100.0
    return out[tuple(slice(0, size) for size in image.shape)]


def tiled(model: UNetModel, image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """Assemble the cores in float64, as `ArraySink` would in float32."""
    axes = "ZYX" if image.ndim == 3 else "YX"
    out = np.full(image.shape, np.nan)
    tiles = tiling.specs(0, (1, 1, *image.shape))
    stack = ArrayStack(image, axes)
    for region in predict_tiles(stack, tiles, model, NORMALIZATION, StopSignal()):
        specs = region.region_spec
        place = zip(specs["stitch_coords"], specs["crop_size"], strict=True)
        out[tuple(slice(start, start + size) for start, size in place)] = region.data[0]
    return out


def picture(*shape: int) -> np.ndarray:
    # float32 values, as the predictor reads them
    return np.random.default_rng(0).normal(100, 20, shape).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("upsampling", ["nearest", "linear"])
@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("extra", [0, 1, 5])
def test_tiles_equal_the_whole(depth: int, upsampling: str, extra: int) -> None:
    model = calibrated(depth, upsampling)
    (halo, _), step = model.halo, 2**depth
    window = 2 * halo + 2 * step
    image = picture(window + 3 * step + extra, window + extra)
    tiling = plan_tiling(model, (window, window))
    assert len(tiling.specs(0, (1, 1, *image.shape))) > 2
    expected = reference(model, image)
    np.testing.assert_allclose(tiled(model, image, tiling), expected, atol=1e-10 * expected.std())


@pytest.mark.parametrize("upsampling", ["nearest", "linear"])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_one_grid_step_less_of_halo_differs(depth: int, upsampling: str) -> None:
    model = calibrated(depth, upsampling)
    (halo, _), step = model.halo, 2**depth
    window = 2 * halo + 2 * step
    image = picture(2 * window, window)
    short = Tiling(model.grid, (halo - step,) * 2, (window - 2 * step,) * 2)
    expected = reference(model, image)
    assert np.abs(tiled(model, image, short) - expected).max() > 1e-10 * expected.std()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 2), (7, 9), (50, 3), (33, 65)])
def test_sizes_below_the_tile_and_below_the_grid(shape: tuple[int, int]) -> None:
    model = calibrated(3, "nearest")
    expected = reference(model, picture(*shape))
    for size in (None, (16, 16), "auto"):
        got = tiled(model, picture(*shape), plan_tiling(model, size))
        np.testing.assert_allclose(got, expected, atol=1e-10 * max(expected.std(), 1))


def test_volumes_are_exact_too() -> None:
    model = calibrated(1, "nearest", dims=3)
    window = tuple(2 * halo + 2 for halo in model.halo)
    image = picture(window[0] + 5, window[1] + 3, 7)
    expected = reference(model, image)
    got = tiled(model, image, plan_tiling(model, window))
    np.testing.assert_allclose(got, expected, atol=1e-10 * expected.std())


def test_float32_is_exact_to_its_precision() -> None:
    model = calibrated(2, "nearest", dtype=torch.float32)
    image = picture(150, 131)
    tiling = plan_tiling(model, (64, 64))
    sink = ArraySink()
    stack = ArrayStack(image, "YX")
    predict_stacks(
        sink, [stack], model, NORMALIZATION, tiling, "run", lambda _event: None, StopSignal()
    )
    expected = reference(model.double(), image)
    np.testing.assert_allclose(sink.arrays[0], expected, atol=1e-4 * expected.std())


def test_an_overlap_of_the_caller_is_used_as_given() -> None:
    model = calibrated(2, "linear")
    assert plan_tiling(model, (128, 128)).halo == (28, 28)
    assert plan_tiling(model, (128, 128), (48, 48)).halo == (24, 24)
    with pytest.raises(SettingsError, match="give 2 numbers"):
        plan_tiling(model, (128, 128), (48, 48, 48))
    with pytest.raises(SettingsError, match="not understood"):
        plan_tiling(model, "large")


@pytest.mark.parametrize("shape", [(27, 226, 186), (64, 256, 256), (5, 3000, 3000)])
def test_thin_volumes_are_not_cut_into_crumbs(shape: tuple[int, int, int]) -> None:
    model = UNetModel(dims=3)
    tiling = plan_tiling(model, "auto", data_shapes=[(1, 1, *shape)])
    tiles = tiling.specs(0, (1, 1, *shape))
    computed = sum(np.prod(tile["patch_size"]) for tile in tiles)
    assert computed < 2 * np.prod(shape)


def test_the_sink_comes_before_the_news() -> None:
    model, seen = calibrated(2, "nearest"), []
    sink = ArraySink()

    def listen(event: object) -> None:
        if isinstance(event, RegionPredicted):
            specs = event.specs
            corner = tuple(specs["stitch_coords"])
            seen.append(np.isfinite(sink.arrays[0][corner]))

    tiling = plan_tiling(model, (64, 64))
    predict_stacks(
        sink,
        [ArrayStack(picture(100, 100), "YX")],
        model,
        NORMALIZATION,
        tiling,
        "run",
        listen,
        StopSignal(),
    )
    assert seen
    assert all(seen)


def test_a_stop_between_tiles_keeps_what_is_done() -> None:
    model, stop, sink = calibrated(2, "nearest"), StopSignal(), ArraySink()

    def listen(event: object) -> None:
        if isinstance(event, RegionPredicted) and event.done == 2:
            stop.set()

    tiling = plan_tiling(model, (64, 64))
    stacks = [ArrayStack(picture(100, 100), "YX")]
    with pytest.raises(StopRequested):
        predict_stacks(sink, stacks, model, NORMALIZATION, tiling, "run", listen, stop)
    done = np.isfinite(sink.arrays[0])
    assert done.any()
    assert not done.all()


def test_stacks_of_samples_and_axes_come_back_as_they_were() -> None:
    model = calibrated(2, "nearest", dtype=torch.float32)
    frames = picture(3, 40, 30)
    for axes in itertools.permutations("TYX"):
        order = ["TYX".index(axis) for axis in axes]
        sink = ArraySink()
        stack = ArrayStack(frames.transpose(order), "".join(axes))
        predict_stacks(
            sink,
            [stack],
            model,
            NORMALIZATION,
            plan_tiling(model, None),
            "run",
            lambda _event: None,
            StopSignal(),
        )
        got = sink.arrays[0].transpose(np.argsort(order))
        for frame, image in zip(got, frames, strict=True):
            np.testing.assert_allclose(frame, reference(model, image.astype(np.float32)), atol=0.01)
