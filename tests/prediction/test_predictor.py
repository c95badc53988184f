"""Tiled prediction equals one pass of the network over the whole image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.normalization import MeanStd
from careamist.dataset.symmetry import ALL, IDENTITY
from careamist.dataset.tiling import Tiling
from careamist.errors import SettingsError
from careamist.events import Noticed, RegionPredicted
from careamist.models.folded import folded
from careamist.models.unet import UNetModel
from careamist.prediction.output import SPREAD, Output
from careamist.prediction.plan import plan_tiling
from careamist.prediction.predictor import Predictor
from careamist.prediction.run import Telling, predict_outputs
from careamist.prediction.sinks import ArraySink
from careamist.stop import StopRequested, StopSignal

NORMALIZATION = MeanStd(input_means=(100.0,), input_stds=(20.0,))


def calibrated(
    depth: int, upsampling: str, dims: int = 2, dtype=torch.float64, **network
) -> UNetModel:
    """Return a random network whose batch statistics were measured on noise."""
    torch.manual_seed(depth)
    model = UNetModel(
        dims=dims,
        depth=depth,
        num_channels_init=4,
        upsampling=upsampling,
        linear_path=True,
        **network,
    ).to(dtype)
    torch.nn.init.normal_(model.linear_filter, std=0.05)
    model.train()
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(2, 1, *(4 * 2**depth,) * dims, dtype=dtype))
    return model.eval()


def reference(model: UNetModel, image: np.ndarray) -> np.ndarray:
    """One plain call of the network on the reflect-padded image, written independently."""
    padding = [(0, -size % grid) for size, grid in zip(image.shape, model.grid, strict=True)]
    padded = torch.from_numpy(np.pad(image, padding, mode="reflect"))
    with torch.no_grad():
        out = model((padded[None, None] - 100.0) / 20.0)[0, 0].numpy() * 20.0 + 100.0
    return out[tuple(slice(0, size) for size in image.shape)]


def run(sink, stacks, model, tiling, listen=lambda _event: None, stop=None, **how) -> None:
    """Predict stacks into a sink."""
    predictor = Predictor(model, NORMALIZATION, stop=stop or StopSignal())
    outputs = [
        Output(index, stack, tiling.specs(index, stack.data_shape), **how)
        for index, stack in enumerate(stacks)
    ]
    predict_outputs(sink, outputs, predictor, Telling("run", listen, lambda e: (str(e), "")))


def tiled(model: UNetModel, image: np.ndarray, tiling: Tiling, **how) -> np.ndarray:
    """Assemble the cores in float64, as `ArraySink` would in float32."""
    axes = "ZYX" if image.ndim == 3 else "YX"
    out = np.full(image.shape, np.nan)
    tiles = tiling.specs(0, (1, 1, *image.shape))
    stack = ArrayStack(image, axes)
    for region in Predictor(model, NORMALIZATION, **how).regions(stack, tiles):
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


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("is_folded", [False, True])
def test_the_network_of_n2v2_is_exact_too(depth: int, is_folded: bool) -> None:
    model = calibrated(depth, "nearest", n2v2=True)
    (halo, _), step = model.halo, 2**depth
    window = 2 * halo + 2 * step
    image = picture(2 * window + 1, window)
    expected = reference(model, image)
    short = Tiling(model.grid, (halo - step,) * 2, (window - 2 * step,) * 2)
    ready = folded(model) if is_folded else model
    got = tiled(ready, image, plan_tiling(ready, (window, window)))
    np.testing.assert_allclose(got, expected, atol=1e-10 * expected.std())
    assert np.abs(tiled(ready, image, short) - expected).max() > 1e-10 * expected.std()


@pytest.mark.parametrize("symmetry", [(IDENTITY,), ALL], ids=["plain", "averaged"])
def test_volumes_that_are_not_pooled_along_z_are_exact_too(symmetry) -> None:
    model = calibrated(2, "nearest", dims=3, pool_z=False)
    assert model.grid == (1, 4, 4)
    window = tuple(2 * halo + 2 * step for halo, step in zip(model.halo, model.grid, strict=True))
    image = picture(window[0] + 3, window[1] + 5, 7)
    got = tiled(model, image, plan_tiling(model, window), symmetries=symmetry)
    if len(symmetry) == 1:
        expected = reference(model, image)
    else:
        expected, _ = averaged(model, image)
    np.testing.assert_allclose(got, expected, atol=1e-10 * expected.std())


def test_float32_is_exact_to_its_precision() -> None:
    model = calibrated(2, "nearest", dtype=torch.float32)
    image = picture(150, 131)
    tiling = plan_tiling(model, (64, 64))
    sink = ArraySink()
    stack = ArrayStack(image, "YX")
    run(sink, [stack], model, tiling)
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
    run(sink, [ArrayStack(picture(100, 100), "YX")], model, tiling, listen)
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
        run(sink, stacks, model, tiling, listen, stop)
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
        run(sink, [stack], model, plan_tiling(model, None))
        got = sink.arrays[0].transpose(np.argsort(order))
        for frame, image in zip(got, frames, strict=True):
            np.testing.assert_allclose(frame, reference(model, image.astype(np.float32)), atol=0.01)


# -- averaged over flips and turns ---------------------------------------------------------------


def averaged(model: UNetModel, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread over the eight orientations of the padded image, written independently."""
    padding = [(0, -size % grid) for size, grid in zip(image.shape, model.grid, strict=True)]
    padded = np.pad(image, padding, mode="reflect")
    found = []
    for turns, flip in itertools.product(range(4), (False, True)):
        turned = np.rot90(padded, turns, (-2, -1))
        turned = turned[..., ::-1] if flip else turned
        inputs = torch.from_numpy(np.ascontiguousarray((turned - 100.0) / 20.0))
        with torch.no_grad():
            out = model(inputs[None, None])[0, 0].numpy() * 20.0 + 100.0
        out = out[..., ::-1] if flip else out
        found.append(np.rot90(out, -turns, (-2, -1))[tuple(slice(0, n) for n in image.shape)])
    return np.mean(found, axis=0), np.std(found, axis=0)


@pytest.mark.parametrize("shape", [(150, 131), (5, 90)])
def test_averaged_tiles_equal_the_averaged_whole(shape: tuple[int, int]) -> None:
    model = calibrated(2, "nearest")
    image = picture(*shape)
    mean, spread = averaged(model, image)
    got = tiled(model, image, plan_tiling(model, (64, 64)), symmetries=ALL, batch_size=3)
    np.testing.assert_allclose(got, mean, atol=1e-10 * mean.std())
    stack = ArrayStack(image, "YX")
    tiles = plan_tiling(model, None).specs(0, (1, 1, *shape))
    predictor = Predictor(model, NORMALIZATION, symmetries=ALL, spread=True)
    (region,) = predictor.regions(stack, tiles)
    np.testing.assert_allclose(region.data[0], mean, atol=1e-10 * mean.std())
    np.testing.assert_allclose(region.additional_metadata[SPREAD][0], spread, atol=1e-9)
    assert spread.max() > 0


def test_averaged_volumes_are_turned_in_the_plane_only() -> None:
    model = calibrated(1, "nearest", dims=3)
    image = picture(9, 21, 16)
    mean, _ = averaged(model, image)
    got = tiled(model, image, plan_tiling(model, (8, 16, 16)), symmetries=ALL)
    np.testing.assert_allclose(got, mean, atol=1e-10 * mean.std())


# -- tiles in batches, pixels that are no number, types, order -------------------------------------


@pytest.mark.parametrize("batch_size", [2, 5, 100])
def test_batches_of_tiles_change_nothing(batch_size: int) -> None:
    model = calibrated(2, "nearest")
    image = picture(170, 131)
    expected = reference(model, image)
    got = tiled(model, image, plan_tiling(model, (64, 64)), batch_size=batch_size)
    np.testing.assert_allclose(got, expected, atol=1e-10 * expected.std())


def test_missing_pixels_stay_missing_and_do_not_spread() -> None:
    model = calibrated(2, "nearest")
    image = picture(100, 80)
    image[20:25, 30] = np.nan
    image[70, 70] = np.inf
    told, sink = [], ArraySink()
    run(sink, [ArrayStack(image, "YX")], model, plan_tiling(model, (64, 64)), told.append)
    np.testing.assert_array_equal(np.isnan(sink.arrays[0]), ~np.isfinite(image))
    (notice,) = [event.message for event in told if isinstance(event, Noticed)]
    assert "6 of 8000 pixels are no numbers and stay so" in notice
    filled = np.where(np.isfinite(image), image, image[np.isfinite(image)].mean())
    near, far = np.s_[20:25, 31], np.s_[95:, :10]
    expected = reference(model, filled)
    np.testing.assert_allclose(sink.arrays[0][near], expected[near], atol=0.05 * expected.std())
    np.testing.assert_allclose(sink.arrays[0][far], expected[far], atol=1e-4 * expected.std())


def test_pixels_of_the_type_of_the_image_are_rounded_and_clipped() -> None:
    model = calibrated(2, "nearest")
    image = np.clip(picture(60, 60), 0, 127).astype(np.int8)
    stack, told = ArrayStack(image, "YX"), []
    as_float, as_input = ArraySink(), ArraySink()
    tiling = plan_tiling(model, (64, 64))
    run(as_float, [stack], model, tiling)
    run(as_input, [stack], model, tiling, told.append, result_type="input")
    exact, got = as_float.arrays[0], as_input.arrays[0]
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got, np.clip(np.rint(exact), -128, 127))
    outside = int(((np.rint(exact) < -128) | (np.rint(exact) > 127)).sum())
    assert outside > 0
    (notice,) = [event.message for event in told if isinstance(event, Noticed)]
    assert f"{outside} of 3600 pixels were outside the range of int8" in notice


def test_the_tile_that_is_looked_at_comes_first_and_a_user_may_move() -> None:
    model, seen = calibrated(2, "nearest"), []
    image = picture(3, 200, 200)
    places = iter([(1, 195, 195)] * 3)  # then the top left of the last frame
    tiling = plan_tiling(model, (64, 64))
    output = Output(0, ArrayStack(image, "TYX"), tiling.specs(0, (3, 1, 200, 200)))

    def listen(event: object) -> None:
        if isinstance(event, RegionPredicted):
            seen.append((event.specs["sample_idx"], *event.specs["stitch_coords"]))

    predict_outputs(
        ArraySink(),
        [output],
        Predictor(model, NORMALIZATION),
        Telling("run", listen, lambda e: (str(e), "")),
        wanted_first=lambda _index: next(places, (2, 0, 0)),
    )
    edge = max(corner for _, corner, _ in seen)
    assert seen[0] == (1, edge, edge)
    assert all(sample == 1 for sample, _, _ in seen[:3])
    assert seen[3] == (2, 0, 0)
    assert len(set(seen)) == len(seen) == len(output.tiles)  # every tile once
