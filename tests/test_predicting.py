"""What a trained model does with images: arrays, files, interrupted jobs, shares of a job."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import torch
import zarr

from careamist.errors import AxesError, OutputExistsError, SettingsError, SomeFailedError
from careamist.events import ImageFailed, ImageFinished, RegionPredicted, RunFailed, RunStarted
from careamist.prediction.writers import WRITERS
from tiny import loaded, new, noise, small, small_care

if TYPE_CHECKING:
    from careamist import CAREamist

TILE = (32, 32)
ENDINGS = {"tiff": ".tiff", "zarr": ".zarr", "ome-zarr": ".ome.zarr"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    careamist = new(small(), folder)
    careamist.train(train_data=noise(64, 64))
    assert careamist.run_dir is not None
    return careamist.run_dir / "last.ckpt"


@pytest.fixture
def careamist(model: Path, tmp_path: Path) -> CAREamist:
    return loaded(model, tmp_path)


def read(path: Path) -> np.ndarray:
    if path.name.endswith(".tiff"):
        return tifffile.imread(path)
    found = zarr.open(path, mode="r")
    return np.asarray((found["0"] if isinstance(found, zarr.Group) else found)[:])


def folder_of(path: Path, count: int = 3) -> Path:
    path.mkdir()
    for number in range(count):
        tifffile.imwrite(path / f"{number}.tif", noise(70, 90, seed=number))
    return path


def tiles(events: list[Any]) -> int:
    return sum(isinstance(event, RegionPredicted) for event in events)


# -- the same pixels in every kind of file -------------------------------------------------------


@pytest.mark.parametrize("write_type", WRITERS)
@pytest.mark.parametrize("tile_size", [TILE, None, "auto"])
def test_files_hold_what_is_returned(
    careamist: CAREamist, tmp_path: Path, write_type: str, tile_size: Any
) -> None:
    image = noise(71, 90)
    (expected,), _ = careamist.predict(image, tile_size=tile_size)
    (path,) = careamist.predict_to_disk(image, tile_size=tile_size, write_type=write_type)
    assert path == tmp_path / "predictions" / f"array_0{ENDINGS[write_type]}"
    np.testing.assert_array_equal(read(path), expected)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_zarr_is_written_for_zarr(careamist: CAREamist, tmp_path: Path) -> None:
    for name in ("a", "b"):
        group = zarr.open_group(tmp_path / f"{name}.zarr", mode="w")
        for inner in ("x", "deep/x"):  # equal names everywhere
            group.create_array(inner, data=noise(40, 40, seed=len(name + inner)))
    stores = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    uris = [f"file://{store}/{inner}" for store in stores for inner in ("x", "deep/x")]
    written = careamist.predict_to_disk(uris)
    assert len(set(written)) == 4
    predictions, sources = careamist.predict(uris)
    assert sources == uris
    for path, prediction in zip(written, predictions, strict=True):
        np.testing.assert_array_equal(read(path), prediction)


@pytest.mark.parametrize("axes", ["YXS", "TYX", "STYX"])
def test_several_samples_become_one_file(careamist: CAREamist, axes: str, tmp_path: Path) -> None:
    sizes = {"S": 3, "T": 2, "Y": 40, "X": 50}
    image = noise(*(sizes[axis] for axis in axes))
    tifffile.imwrite(tmp_path / "day.1.well.tif", image, photometric="minisblack")
    (path,) = careamist.predict_to_disk(tmp_path / "day.1.well.tif", axes=axes)
    assert path.name == "day.1.well.tiff"
    (expected,), _ = careamist.predict(image, axes=axes)
    np.testing.assert_allclose(read(path), expected, atol=1e-3)
    assert expected.shape == image.shape


def test_pixels_of_the_type_of_the_image(careamist: CAREamist, tmp_path: Path) -> None:
    image = noise(40, 50).astype(np.uint16)
    (floats,), _ = careamist.predict(image)
    (whole,), _ = careamist.predict(image, dtype="input")
    (path,) = careamist.predict_to_disk(image, dtype="input", tile_size=None)
    assert floats.dtype == np.float32
    assert whole.dtype == read(path).dtype == np.uint16
    np.testing.assert_array_equal(whole, np.rint(floats).astype(np.uint16))
    np.testing.assert_array_equal(read(path), whole)


def test_flips_and_turns_are_averaged(careamist: CAREamist, tmp_path: Path) -> None:
    image = noise(50, 70)
    (plain,), _ = careamist.predict(image)
    turned, _ = careamist.predict([np.rot90(image, k) for k in range(4)])
    flipped, _ = careamist.predict([np.rot90(image[:, ::-1], k) for k in range(4)])
    all_eight = [np.rot90(one, -k) for k, one in enumerate(turned)]
    all_eight += [np.rot90(one, -k)[:, ::-1] for k, one in enumerate(flipped)]
    # sides that fit the grid are padded alike in every orientation
    predictions, spreads, sources = careamist.predict_with_spread(image)
    assert sources == []
    np.testing.assert_allclose(predictions[0], np.mean(all_eight, axis=0), atol=1e-3)
    np.testing.assert_allclose(spreads[0], np.std(all_eight, axis=0), atol=1e-3)
    assert np.abs(predictions[0] - plain).max() > 1e-3
    (older,), _ = careamist.predict(image, tta_transforms=True)
    np.testing.assert_array_equal(older, predictions[0])
    (path,) = careamist.predict_to_disk(image, tta="all", spread=True, tile_size=None)
    np.testing.assert_array_equal(read(path), predictions[0])
    np.testing.assert_array_equal(read(path.with_name("array_0_spread.tiff")), spreads[0])


def test_a_spread_needs_several_predictions(careamist: CAREamist) -> None:
    with pytest.raises(SettingsError, match="predict_with_spread"):
        careamist.predict(noise(40, 40), tta="all", spread=True)
    with pytest.raises(SettingsError, match="needs several predictions"):
        careamist.predict_to_disk(noise(40, 40), spread=True)


def test_the_order_of_the_axes_can_be_chosen(careamist: CAREamist) -> None:
    image = noise(3, 40, 50)
    (expected,), _ = careamist.predict(image, axes="TYX")
    (turned,), _ = careamist.predict(image, axes="TYX", output_axes="YXT")
    np.testing.assert_array_equal(turned, np.moveaxis(expected, 0, -1))
    (path,) = careamist.predict_to_disk(
        image, axes="TYX", output_axes="XTY", tile_size=None, write_type="zarr"
    )
    np.testing.assert_array_equal(read(path), expected.transpose(2, 0, 1))
    with pytest.raises(AxesError, match="does not fit array, whose result has the axes TYX"):
        careamist.predict(image, axes="TYX", output_axes="ZYX")


def test_channels_of_the_result_go_where_they_are_wanted(tmp_path: Path) -> None:
    config = small_care(3, axes="CYX", n_channels=1, n_channels_out=2)
    careamist = new(config, tmp_path)
    careamist.train(train_data=noise(1, 64, 64), train_data_target=noise(2, 64, 64, seed=1))
    image = noise(3, 40, 50)
    (first,), _ = careamist.predict(image, axes="TYX")
    (last,), _ = careamist.predict(image, axes="TYX", output_axes="TYXC")
    assert first.shape == (3, 2, 40, 50)
    np.testing.assert_array_equal(last, np.moveaxis(first, 1, -1))


# -- interrupted ---------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from careamist.events import RegionPredicted
from tiny import loaded

def die(event):
    if isinstance(event, RegionPredicted) and event.done == int(sys.argv[5]):
        os.kill(os.getpid(), signal.SIGKILL)

careamist = loaded(Path(sys.argv[2]), Path(sys.argv[3]), [die])
careamist.predict_to_disk(sys.argv[4], tile_size=(32, 32), write_type=sys.argv[6])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("write_type", WRITERS)
def test_a_killed_job_goes_on_tile_by_tile(model: Path, tmp_path: Path, write_type: str) -> None:
    source = folder_of(tmp_path / "in")
    events: list[Any] = []
    whole = loaded(model, tmp_path / "whole", [events.append])
    expected = whole.predict_to_disk(source, tile_size=TILE, write_type=write_type)
    per_image, done = tiles(events) // 3, tiles(events) // 2
    arguments = [str(Path(__file__).parent), model, tmp_path / "cut", source, done, write_type]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    died = subprocess.run(command, check=False, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    left = sorted(path.name for path in (tmp_path / "cut" / "predictions").iterdir())
    ending = ENDINGS[write_type]
    assert left == [f"0{ending}", f"1{ending}.part", f"1{ending}.tiles"]

    seen: list[Any] = []
    again = loaded(model, tmp_path / "cut", [seen.append])
    written = again.predict_to_disk(source, tile_size=TILE, write_type=write_type, overwrite="skip")
    assert tiles(seen) == 3 * per_image - done
    assert [path.name for path in written] == [f"{number}{ending}" for number in range(3)]
    assert sorted(path.name for path in written[0].parent.iterdir()) == sorted(
        path.name for path in expected[0].parent.iterdir()
    )
    for ours, theirs in zip(written, expected, strict=True):
        np.testing.assert_array_equal(read(ours), read(theirs))
        if ours.is_file():
            assert ours.read_bytes() == theirs.read_bytes()


def test_a_stopped_job_keeps_what_is_done(careamist: CAREamist, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", 1)
    (expected,), _ = careamist.predict(source, tile_size=TILE)

    def stop(event: Any) -> None:
        if isinstance(event, RegionPredicted) and event.done == 3:
            careamist.stop()

    careamist.listeners.append(stop)
    assert careamist.predict_to_disk(source, tile_size=TILE) == []
    names = sorted(path.name for path in (tmp_path / "predictions").iterdir())
    assert names == ["0.tiff.part", "0.tiff.tiles"]
    careamist.listeners[:] = [(events := []).append]
    # how it is computed may change meanwhile, what is computed may not
    (path,) = careamist.predict_to_disk(source, tile_size=TILE, num_workers=2, num_threads=1)
    started = next(event for event in events if isinstance(event, RunStarted))
    assert tiles(events) == started.total - 3
    np.testing.assert_array_equal(read(path), expected)


def test_another_image_under_the_same_name_is_begun_anew(
    careamist: CAREamist, tmp_path: Path
) -> None:
    source = folder_of(tmp_path / "in", 1)

    def stop(event: Any) -> None:
        if isinstance(event, RegionPredicted) and event.done == 3:
            careamist.stop()

    careamist.listeners.append(stop)
    careamist.predict_to_disk(source, tile_size=TILE)
    tifffile.imwrite(source / "0.tif", noise(70, 90, seed=9) + 1)
    careamist.listeners.clear()
    (path,) = careamist.predict_to_disk(source, tile_size=TILE)
    (expected,), _ = careamist.predict(source, tile_size=TILE)
    np.testing.assert_array_equal(read(path), expected)


# -- folders -------------------------------------------------------------------------------------


def test_a_bad_file_does_not_keep_the_others_from_being_restored(
    careamist: CAREamist, tmp_path: Path
) -> None:
    source = folder_of(tmp_path / "in")
    (source / "broken.tif").write_bytes(b"II*\0 this is no image")
    tifffile.imwrite(source / "volume.tif", np.zeros((5, 6, 40, 40), np.uint8))
    events: list[Any] = []
    careamist.listeners.append(events.append)
    with pytest.raises(SomeFailedError, match=r"2 of 5 images could not be restored") as raised:
        careamist.predict_to_disk(source)
    assert "broken.tif" in str(raised.value)
    assert "volume.tif" in str(raised.value)
    failed = [Path(event.source).name for event in events if isinstance(event, ImageFailed)]
    assert sorted(failed) == ["broken.tif", "volume.tif"]
    finished = [event for event in events if isinstance(event, ImageFinished)]
    assert len(finished) == 3
    assert isinstance(events[-1], RunFailed)
    written = sorted(path.name for path in (tmp_path / "predictions").iterdir())
    assert written == ["0.tiff", "1.tiff", "2.tiff"]


def test_a_single_bad_file_is_told_as_itself(careamist: CAREamist, tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(b"II*\0 this is no image")
    with pytest.raises(OSError, match=r"broken\.tif") as raised:
        careamist.predict_to_disk(tmp_path / "broken.tif")
    assert not isinstance(raised.value, SomeFailedError)
    assert not (tmp_path / "predictions").exists()


def test_the_tree_of_the_sources_is_repeated(careamist: CAREamist, tmp_path: Path) -> None:
    for day in ("one", "two"):
        (tmp_path / "in").mkdir(exist_ok=True)
        folder_of(tmp_path / "in" / day, 2)
    careamist.predict_to_disk(tmp_path / "in")
    out = tmp_path / "predictions"
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.tiff"))
    assert written == ["one/0.tiff", "one/1.tiff", "two/0.tiff", "two/1.tiff"]


def test_what_happens_where_a_file_is_there(careamist: CAREamist, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    out = tmp_path / "predictions"
    out.mkdir()
    (out / "1.tiff").write_text("precious")
    with pytest.raises(OutputExistsError, match=r"1\.tiff is already there"):
        careamist.predict_to_disk(source)
    assert [path.name for path in out.iterdir()] == ["1.tiff"]
    careamist.predict_to_disk(source, overwrite="skip")
    assert (out / "1.tiff").read_text() == "precious"
    assert len(list(out.iterdir())) == 3
    careamist.predict_to_disk(source, overwrite="replace")
    predictions, _ = careamist.predict(source, tile_size="auto")
    for number, prediction in enumerate(predictions):
        np.testing.assert_array_equal(read(out / f"{number}.tiff"), prediction)


# -- shares --------------------------------------------------------------------------------------


@pytest.mark.parametrize("write_type", ["tiff", "ome-zarr"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_workers_that_share_a_job_make_the_same_files(
    careamist: CAREamist, tmp_path: Path, write_type: str, order: tuple[int, ...]
) -> None:
    source = folder_of(tmp_path / "in")
    how: dict[str, Any] = {"tile_size": TILE, "write_type": write_type}
    expected = careamist.predict_to_disk(source, prediction_dir="whole", **how)
    for place in order:
        events: list[Any] = []
        careamist.listeners[:] = [events.append]
        written = careamist.predict_to_disk(source, share=(place, 3), **how, overwrite="skip")
        assert 0 < tiles(events) < 3 * 12
    assert [path.name for path in written] == [path.name for path in expected]
    for ours, theirs in zip(written, expected, strict=True):
        np.testing.assert_array_equal(read(ours), read(theirs))
    names = {path.name for path in written[0].parent.iterdir()}
    assert names == {path.name for path in expected[0].parent.iterdir()}


def test_workers_that_would_make_something_else_are_refused(
    careamist: CAREamist, tmp_path: Path
) -> None:
    source = folder_of(tmp_path / "in", 1)
    how: dict[str, Any] = {"tile_size": TILE, "write_type": "zarr"}
    careamist.predict_to_disk(source, share=(0, 2), **how)
    names = sorted(path.name for path in (tmp_path / "predictions").iterdir())
    with pytest.raises(SettingsError, match="in another way"):
        careamist.predict_to_disk(source, share=(1, 2), tta="all", **how)
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == names
    (path,) = careamist.predict_to_disk(source, share=(1, 2), **how)
    (expected,), _ = careamist.predict(source, tile_size=TILE)
    np.testing.assert_array_equal(read(path), expected)


def test_a_model_of_another_machine_predicts_on_this_one(
    careamist: CAREamist, model: Path, tmp_path: Path
) -> None:
    state = torch.load(model, weights_only=True)
    state["careamist"]["config"]["training_config"]["device"] = "cuda:7"
    torch.save(state, tmp_path / "elsewhere.ckpt")
    (expected,), _ = careamist.predict(noise(40, 40), device="cpu")
    (restored,), _ = loaded(tmp_path / "elsewhere.ckpt", tmp_path).predict(noise(40, 40))
    np.testing.assert_allclose(restored, expected, atol=1e-2)
    with pytest.raises(SettingsError, match="cuda:7"):
        careamist.predict(noise(40, 40), device="cuda:7")


def test_arrays_cannot_be_shared(careamist: CAREamist) -> None:
    with pytest.raises(SettingsError, match="no file"):
        careamist.predict_to_disk(noise(40, 40), share=(0, 2))
    with pytest.raises(SettingsError, match="no share 2 of 2"):
        careamist.predict_to_disk(noise(40, 40), share=(2, 2))
