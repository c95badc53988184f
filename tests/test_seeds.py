"""The examples of the CAREamics documentation run here, with the package renamed.

Code marked with a row (S0-01, ...) is taken from the documentation of CAREamics, © CAREamics
contributors, BSD-3-Clause, https://careamics.github.io. Indentation that was lost is restored;
names that the pages leave open (``careamist``, ``pred_data``, ``root``) are fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import DTypeLike, NDArray

from careamist import CAREamist, ImageStackLoading, ReadFuncLoading
from careamist.config import PredictionConfig, create_n2v_configuration
from careamist.config.factories import create_n2v_config
from careamist.dataset.image_stack import ImageStack
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.image_stack.image_utils import pad_patch
from careamist.errors import SettingsError
from careamist.lightning import PredictDataModule, TrainDataModule
from careamist.utils.reshape_array import AxesTransform, get_patch_slices, reshape_patch


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> CAREamist:
    config = create_n2v_configuration(
        experiment_name="n2v_2D",
        data_type="array",
        axes="YX",
        patch_size=[64, 64],
        batch_size=1,
        num_epochs=1,
    )
    careamist = CAREamist(config, work_dir=tmp_path_factory.mktemp("work"))
    careamist.train(train_data=image(128, 128))
    return careamist


@pytest.fixture
def careamist(trained: CAREamist, root: Path) -> CAREamist:
    """A model trained on arrays of axes YX, at work in `root`."""
    trained.work_dir = root
    return trained


def image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


@pytest.fixture
def pred_data() -> np.ndarray:
    """An image whose sides fit neither the network nor the tiles."""
    return image(150, 171, seed=1)


# -- predicting -----------------------------------------------------------------------------


def test_predict_returns_arrays_and_sources(careamist: CAREamist, root: Path) -> None:
    images = [image(64, 64), image(70, 65)]
    pred_data = [root / "a.tif", root / "b.tif"]
    for path, array in zip(pred_data, images, strict=True):
        tifffile.imwrite(path, array)
    # S0-01, S0-02
    pred_arrays, sources = careamist.predict(
        pred_data=pred_data,
    )
    assert sources == [str(path) for path in pred_data]
    assert isinstance(pred_arrays, list)
    assert [array.shape for array in pred_arrays] == [(64, 64), (70, 65)]
    from_files, pred_data = pred_arrays, images
    # S0-03
    pred_arrays, _ = careamist.predict(
        pred_data=pred_data,
    )
    assert _ == []
    for from_array, from_file in zip(pred_arrays, from_files, strict=True):
        np.testing.assert_array_equal(from_array, from_file)


def test_predict_with_a_checkpoint(careamist: CAREamist, pred_data: np.ndarray) -> None:
    (expected,), _ = careamist.predict(pred_data=pred_data)  # S0-05: those of the last step
    # S0-07
    pred_arrays, sources = careamist.predict(
        pred_data=pred_data,
        checkpoint="last",  # or "best"
    )
    np.testing.assert_array_equal(pred_arrays[0], expected)
    assert sources == []
    # S0-06
    assert careamist.run_dir is not None
    (same,), _ = careamist.predict(pred_data=pred_data, checkpoint=careamist.run_dir / "last.ckpt")
    np.testing.assert_array_equal(same, expected)
    # S0-08
    with pytest.raises(ValueError, match="no best checkpoint"):
        careamist.predict(pred_data=pred_data, checkpoint="best")


def test_predict_in_tiles(careamist: CAREamist, pred_data: np.ndarray) -> None:
    # S0-09, S0-11
    pred_arrays, sources = careamist.predict(
        pred_data=pred_data,
        tile_size=(128, 128),
        tile_overlap=(48, 48),
    )
    assert sources == []
    assert pred_arrays[0].shape == (150, 171)
    # S0-10
    (optional,), _ = careamist.predict(pred_data=pred_data, tile_size=(128, 128))
    np.testing.assert_array_equal(optional, pred_arrays[0])
    # S0-12: any size is accepted without tiles
    (whole,), _ = careamist.predict(pred_data=pred_data)
    np.testing.assert_allclose(whole, pred_arrays[0], atol=1e-5)
    # S0-15
    with pytest.raises(ValueError, match="tile_size"):
        careamist.predict(pred_data=pred_data, tile_size=(64, 128, 128))


def test_predict_other_axes_from_a_file(careamist: CAREamist, root: Path) -> None:
    pred_data_path = root / "time.tif"
    frames = image(5, 64, 72)
    tifffile.imwrite(pred_data_path, frames)
    # S0-17, S0-18
    pred_arrays, sources = careamist.predict(
        pred_data=pred_data_path,
        axes="SYX",
        data_type="tiff",
    )
    assert sources == [str(pred_data_path)]
    assert pred_arrays[0].shape == (5, 64, 72)
    for frame, predicted in zip(frames, pred_arrays[0], strict=True):
        (expected,), _ = careamist.predict(pred_data=frame)
        np.testing.assert_allclose(predicted, expected, atol=1e-5)
    # S0-19
    with pytest.raises(SettingsError, match="3 spatial axes"):
        careamist.predict(pred_data=pred_data_path, axes="ZYX", data_type="tiff")


def test_predict_one_of_several_channels(careamist: CAREamist) -> None:
    channels = image(3, 64, 72)
    # S0-20
    (predicted,), _ = careamist.predict(pred_data=channels, axes="CYX", channels=[1])
    (expected,), _ = careamist.predict(pred_data=channels[1])
    np.testing.assert_array_equal(predicted.squeeze(), expected)


def test_predict_to_disk(careamist: CAREamist, root: Path) -> None:
    pred_data = root / "noisy"
    pred_data.mkdir()
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(pred_data / name, image(64, 64))
    # S0-21
    careamist.predict_to_disk(
        pred_data=pred_data,
        prediction_dir=root / "my_predictions",
    )
    written = sorted((root / "my_predictions").iterdir())
    assert [path.name for path in written] == ["a.tiff", "b.tiff"]  # S0-23
    (expected, _), _ = careamist.predict(pred_data=pred_data)
    np.testing.assert_allclose(tifffile.imread(written[0]), expected, atol=1e-5)
    # S0-21, S0-22: the default folder; tiles and checkpoint as in predict
    careamist.predict_to_disk(
        pred_data=pred_data,
        tile_size=(128, 128),
        tile_overlap=(48, 48),
        checkpoint="last",
    )
    assert len(list((root / "predictions").iterdir())) == 2


def test_predict_with_other_loading(careamist: CAREamist, pred_data: np.ndarray) -> None:
    # S0-16
    pred_arrays, sources = careamist.predict(
        pred_data=pred_data,
        batch_size=4,
        num_workers=0,
    )
    (expected,), _ = careamist.predict(pred_data=pred_data)
    np.testing.assert_allclose(pred_arrays[0], expected, atol=1e-5)
    assert sources == []


def test_predict_to_disk_in_another_format(careamist: CAREamist, root: Path) -> None:
    pred_data = root / "noisy.tif"
    tifffile.imwrite(pred_data, image(64, 80))
    (expected,), _ = careamist.predict(pred_data=pred_data)
    # S0-26
    careamist.predict_to_disk(
        pred_data=pred_data,
        write_type="tiff",  # (1)!
    )
    np.testing.assert_allclose(
        tifffile.imread(root / "predictions/noisy.tiff"), expected, atol=1e-5
    )
    careamist.predict_to_disk(pred_data=pred_data, write_type="zarr", tile_size=None)  # S0-25
    written = zarr.open_array(root / "predictions" / "noisy.zarr", mode="r")
    np.testing.assert_allclose(written[:], expected, atol=1e-5)


def test_predict_to_disk_by_a_function(careamist: CAREamist, root: Path) -> None:
    pred_data = root / "noisy.tif"
    tifffile.imwrite(pred_data, image(64, 80))

    # S0-27, S0-28
    def save_to_np(file_path: Path, img: np.ndarray, *args: Any, **kwargs: Any) -> None:  # (1)!
        """Custom write function to save predictions to disk as .npy files."""
        np.save(file_path, img, *args, **kwargs)

    careamist.predict_to_disk(
        pred_data=pred_data,
        write_type="custom",  # (2)!
        write_extension=".npy",  # (3)!
        write_func=save_to_np,  # (4)!
        write_func_kwargs={"allow_pickle": False},  # (5)!
    )
    (expected,), _ = careamist.predict(pred_data=pred_data)
    assert [path.name for path in (root / "predictions").iterdir()] == ["noisy.npy"]
    np.testing.assert_allclose(np.load(root / "predictions/noisy.npy"), expected, atol=1e-5)
    # S0-29
    for missing in ({"write_func": save_to_np}, {"write_extension": ".npy"}):
        with pytest.raises(SettingsError, match="write_"):
            careamist.predict_to_disk(pred_data, write_type="custom", **missing)


def test_predict_czi_to_disk(root: Path) -> None:
    # S0-24 and beyond: CZI images are written like any other
    czi = next((Path(__file__).parent / "data" / "czi").glob("*.czi"))
    careamist = CAREamist(
        create_n2v_config("n2v", "array", "YX", [16, 16], 4, num_epochs=1), work_dir=root
    )
    careamist.train(train_data=image(64, 64))
    for write_type in ("tiff", "zarr"):
        written = careamist.predict_to_disk(
            czi, axes="SCYX", data_type="czi", channels=[0], write_type=write_type
        )
        assert written
        assert all(path.exists() for path in written)


# -- data -----------------------------------------------------------------------------------


def new(data_type: str) -> CAREamist:
    config = create_n2v_configuration(
        experiment_name="n2v_2D",
        data_type=data_type,
        axes="YX",
        patch_size=[32, 32],
        batch_size=4,
        num_epochs=1,
    )
    return CAREamist(config)


@pytest.mark.parametrize("as_list", [False, True])
def test_train_on_arrays(as_list: bool) -> None:
    # S1-02
    careamist = new("array")
    careamist.train(train_data=[image(64, 64), image(70, 65)] if as_list else image(64, 64))
    assert careamist.is_trained


@pytest.mark.parametrize("kind", ["path", "list", "directory"])
def test_train_on_tiffs(root: Path, kind: str) -> None:
    folder = root / "data"
    folder.mkdir()
    paths = [folder / "a.tif", folder / "b.tiff"]
    for path in paths:
        tifffile.imwrite(path, image(64, 64))
    # S1-04
    careamist = new("tiff")
    train_data = {"path": paths[0], "list": paths, "directory": folder}[kind]
    careamist.train(train_data=train_data)
    _, sources = careamist.predict(train_data)
    assert sources == [str(path) for path in (paths[:1] if kind == "path" else paths)]


def test_configure_for_czi() -> None:
    # S1-05, S1-07
    # create a configuration
    config = create_n2v_config(
        experiment_name="n2v_czi",
        data_type="czi",
        axes="SCZYX",
        patch_size=[16, 64, 64],
        batch_size=8,
        num_epochs=30,
        n_channels=1,
    )
    assert config.data_config.data_type == "czi"
    assert config.data_config.spatial_axes == "ZYX"
    assert config.training_config.num_epochs == 30
    # S1-05, S1-06: T is depth, too; both are not possible
    for axes in ("SCTYX", "SCYX"):
        size = [64, 64] if axes == "SCYX" else [16, 64, 64]
        create_n2v_config("n2v_czi", "czi", axes, size, 8, n_channels=1)
    for axes in ("YX", "CYX", "SCTZYX", "SYXC"):
        with pytest.raises(ValueError, match="expected one of SCYX, SCTYX, SCZYX"):
            create_n2v_config("n2v_czi", "czi", axes, [64, 64], 8)
    with pytest.raises(ValueError, match="expected 3 numbers in the order ZYX"):
        create_n2v_config("n2v_czi", "czi", "SCTYX", [64, 64], 8)


def write_czi(path: Path, pixels: NDArray) -> Path:
    """Write an image of SCYX."""
    from pylibCZIrw.czi import create_czi

    with create_czi(str(path)) as file:
        for s, c in np.ndindex(*pixels.shape[:2]):
            file.write(pixels[s, c], (0, 0), {"T": s, "C": c}, scene=0)
    return path


@pytest.mark.parametrize("kind", ["path", "list", "directory"])
def test_train_on_czi(root: Path, kind: str) -> None:
    # S1-09: a directory is accepted as well
    (root / "data").mkdir()
    paths = [write_czi(root / "data" / f"{name}.czi", image(2, 1, 40, 48)) for name in "ab"]
    config = create_n2v_config("n2v_czi", "czi", "SCYX", [32, 32], 4, num_epochs=1, n_channels=1)
    careamist = CAREamist(config)
    given = {"path": paths[0], "list": paths, "directory": root / "data"}[kind]
    careamist.train(train_data=given)
    predictions, sources = careamist.predict(given)
    assert [Path(source.partition("@")[0]) for source in sources] == (
        paths[:1] if kind == "path" else paths
    )
    assert predictions[0].shape == (2, 1, 40, 48)


def test_train_from_zarr(root: Path) -> None:
    # S1-14, S1-15
    # create a toy example
    # - train_data.zarr"
    #     - root_array_1: (128, 128)
    #     - root_array_2: (128, 128)
    #     - others
    #         - array_2: (128, 128)
    #         - array_3: (128, 128)
    zarr_path = Path("train_data.zarr")

    zarr_file = zarr.open(zarr_path, mode="w")
    array_root_1 = zarr_file.create_array("array_1", data=np.random.rand(128, 128))
    array_root_2 = zarr_file.create_array("array_2", data=np.random.rand(128, 128))

    group = zarr_file.create_group("others")
    array_2 = group.create_array("array_2", data=np.random.rand(128, 128))
    array_3 = group.create_array("array_3", data=np.random.rand(128, 128))

    # different ways to specify training data
    train_from_zarr = zarr_path
    train_from_group = str(group.store_path)
    train_from_array = str(array_root_1.store_path)
    train_from_list = [
        str(array_root_1.store_path),
        str(array_root_2.store_path),
        str(array_2.store_path),
        str(array_3.store_path),
    ]
    assert train_from_group == "file://train_data.zarr/others"  # relative, as zarr prints it

    # S1-10, S1-11, S1-12, S1-15
    config = create_n2v_configuration(
        "n2v_zarr", "zarr", "YX", [64, 64], batch_size=4, num_epochs=1
    )
    every = [array_root_1, array_root_2, array_2, array_3]
    for train_data, expected in (
        (train_from_zarr, every[:2]),
        (str(root / zarr_path), every[:2]),
        ([zarr_path, str(zarr_path)], every[:2] * 2),
        (train_from_group, every[2:]),
        (train_from_array, every[:1]),
        (train_from_list, every),
        ([train_from_group, train_from_array], [*every[2:], every[0]]),
    ):
        data_module = TrainDataModule(config.data_config, train_data)
        data_module.setup()
        assert len(data_module.train_stacks) == len(expected)
        for stack, array in zip(data_module.train_stacks, expected, strict=True):
            np.testing.assert_array_equal(
                stack.extract_patch(0, None, (0, 0), (128, 128))[0], array[:]
            )

    # S1-13
    for mixed in ([zarr_path, train_from_group], [train_from_array, str(zarr_path)]):
        with pytest.raises(SettingsError, match="Paths and URIs were given together"):
            TrainDataModule(config.data_config, mixed).setup()

    careamist = CAREamist(config)
    careamist.train(train_data=train_from_list)
    predictions, sources = careamist.predict(train_from_group)
    assert [prediction.shape for prediction in predictions] == [(128, 128)] * 2
    assert len(set(sources)) == 2


def test_train_from_ome_zarr(root: Path) -> None:
    # S1-16: the image itself is accepted, and its finest level is taken
    pixels = image(2, 64, 64)
    group = zarr.create_group(root / "image.ome.zarr")
    group.create_array("0", data=pixels)
    group.create_array("1", data=pixels[:, ::2, ::2])
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    levels = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [1, 0.5 * step, 0.5 * step]}],
        }
        for level, step in enumerate((1, 2))
    ]
    multiscales = [{"axes": axes, "datasets": levels}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    config = create_n2v_config("n2v", "zarr", "CYX", [32, 32], 4, num_epochs=1, n_channels=2)
    for train_data in (root / "image.ome.zarr", str(group["0"].store_path)):
        data_module = TrainDataModule(config.data_config, train_data)
        data_module.setup()
        (stack,) = data_module.train_stacks
        assert stack.data_shape == (1, 2, 64, 64)
        assert stack.info.pixel_size == {"Y": 0.5, "X": 0.5}


# -- datasets -------------------------------------------------------------------------------


def test_simplest_data_module(capsys: pytest.CaptureFixture[str]) -> None:
    # S2-01, S2-02
    train_array = np.random.rand(128, 128)

    config = create_n2v_configuration(
        experiment_name="n2v_2D",
        data_type="array",
        axes="YX",
        patch_size=[64, 64],
        batch_size=1,
        num_epochs=1,
    )

    data_module = TrainDataModule(data_config=config.data_config, train_data=train_array)
    # S2-14
    data_module.prepare_data()
    data_module.setup()

    # check dataset output
    dataloader = data_module.train_dataloader()
    print(dataloader.dataset[0][0].shape)
    assert capsys.readouterr().out == "(1, 64, 64)\n"
    patch = dataloader.dataset[0][0]
    windows = np.lib.stride_tricks.sliding_window_view(train_array.astype(np.float32), (64, 64))
    assert (windows == patch[0]).all(axis=(2, 3)).any()  # it is cut from the image


def test_train_with_a_data_module(root: Path) -> None:
    train_array = np.random.rand(128, 128)
    config = create_n2v_configuration(
        experiment_name="n2v_2D",
        data_type="array",
        axes="YX",
        patch_size=[32, 32],
        batch_size=1,
        num_epochs=1,
    )
    data_module = TrainDataModule(
        data_config=config.data_config,
        train_data=train_array,
    )
    # S2-15
    # CAREamist
    careamist = CAREamist(source=config)

    # Train
    careamist.train(datamodule=data_module)
    data_module.setup()
    assert careamist.steps_done == len(data_module.train_dataset)
    assert (root / "checkpoints" / "n2v_2D_1" / "last.ckpt").is_file()


def test_separate_validation_and_no_augmentations() -> None:
    # S2-03, S2-11
    config = create_n2v_configuration(
        "n2v_2D", "array", "YX", [32, 32], batch_size=1, num_epochs=1, augmentations=[]
    )
    assert config.data_config.augmentations == ()
    data_module = TrainDataModule(
        data_config=config.data_config, train_data=image(64, 64), val_data=image(64, 32)
    )
    data_module.setup()
    assert len(data_module.val_dataset) == 2


def test_train_with_targets_and_all_the_parameters(root: Path) -> None:
    # S2-03, S2-08
    config = create_n2v_configuration("n2v_2D", "array", "YX", [32, 32], batch_size=4)
    train, val = image(128, 128), image(64, 64, seed=1)
    data_module = TrainDataModule(
        data_config=config.data_config,
        train_data=train,
        val_data=val,
        train_data_target=-train,
        val_data_target=-val,
        read_source_func=None,
        extension_filter="",
        val_percentage=0.1,
        val_minimum_split=5,
        use_in_memory=True,
    )
    data_module.setup()
    for batch in (*data_module.train_dataloader(), *data_module.val_batches()):
        np.testing.assert_array_equal(batch.targets, -batch.inputs)
    # S2-05
    data_module = TrainDataModule(config.data_config, train, val_percentage=0.1)
    data_module.setup()
    assert len(data_module.val_dataset) == 5


def read_npy(
    path: Path,
    *args: Any,
    **kwargs: Any,
) -> np.ndarray:
    return np.load(path)


def test_read_custom_data_types(capsys: pytest.CaptureFixture[str]) -> None:
    # S2-12, S2-13
    # example data
    train_array = np.random.rand(128, 128)
    np.save("train_array.npy", train_array)

    # configuration
    config = create_n2v_configuration(
        experiment_name="n2v_2D",
        data_type="custom",
        axes="YX",
        patch_size=[32, 32],
        batch_size=1,
        num_epochs=1,
    )

    data_module = TrainDataModule(
        data_config=config.data_config,
        train_data="train_array.npy",
        read_source_func=read_npy,
        extension_filter="*.npy",
    )
    data_module.prepare_data()
    data_module.setup()

    # check dataset output
    dataloader = data_module.train_dataloader()
    print(dataloader.dataset[0][0].shape)
    assert capsys.readouterr().out == "(1, 32, 32)\n"


def test_train_on_custom_data_types() -> None:
    # S1-18, S2-12, S2-15
    # example data
    train_array = np.random.rand(128, 128)
    np.save("train_array.npy", train_array)

    # configuration
    config = create_n2v_configuration(
        experiment_name="n2v_2D",
        data_type="custom",
        axes="YX",
        patch_size=[32, 32],
        batch_size=1,
        num_epochs=1,
    )

    # Data module for custom types
    data_module = TrainDataModule(
        data_config=config.data_config,
        train_data="train_array.npy",
        read_source_func=read_npy,
        extension_filter="*.npy",
    )

    # CAREamist
    careamist = CAREamist(source=config)

    # Train
    careamist.train(datamodule=data_module)
    assert careamist.is_trained
    # S1-18: the same function predicts
    loading = ReadFuncLoading(read_npy, extension_filter="*.npy")
    (prediction,), sources = careamist.predict(".", loading=loading)
    assert prediction.shape == (128, 128)
    assert sources == ["train_array.npy"]
    (expected,), _ = careamist.predict(train_array)
    np.testing.assert_allclose(prediction, expected, atol=1e-5)


def test_subclass_the_data_module() -> None:
    # S2-17
    class OnlyOnes(TrainDataModule):
        def setup(self, stage: str | None = None) -> None:
            super().setup(stage)
            self.train_dataset.stacks = [ArrayStack(image(64, 64, seed=5), "YX")]

    config = create_n2v_configuration("n2v_2D", "array", "YX", [32, 32], 4, num_epochs=1)
    careamist = CAREamist(config)
    careamist.train(datamodule=OnlyOnes(config.data_config, image(64, 64)))
    assert careamist.is_trained


@pytest.mark.parametrize(("axes", "shape"), [("TYX", (3, 64, 64)), ("STYX", (2, 3, 64, 64))])
def test_time_is_a_sample_axis(axes: str, shape: tuple[int, ...]) -> None:
    # S2-09
    config = create_n2v_configuration("n2v_2D", "array", axes, [32, 32], 4)
    data_module = TrainDataModule(data_config=config.data_config, train_data=image(*shape))
    data_module.setup()
    assert data_module.train_stacks[0].data_shape[0] == np.prod(shape[:-2])


# -- image stacks ---------------------------------------------------------------------------


def test_axes_transform(capsys: pytest.CaptureFixture[str]) -> None:
    # S4-04
    original_axes = "YXC"
    original_data_shape = (512, 620, 2)
    data_shape = AxesTransform(original_axes, original_data_shape).transformed_shape

    print(data_shape)
    assert capsys.readouterr().out == "(1, 2, 512, 620)\n"


# S4-10
class HDF5ImageStack:
    def __init__(self, image_data: h5py.Dataset, axes: str):
        self._image_data = image_data
        self.original_axes = axes
        self.original_data_shape = image_data.shape
        self.data_shape = AxesTransform(axes, self.original_data_shape).transformed_shape

    @property
    def data_dtype(self) -> DTypeLike:
        return self._image_data.dtype

    @property
    def source(self) -> str:
        return "#".join([self._image_data.file.filename, str(self._image_data.name)])

    def extract_patch(
        self,
        sample_idx: int,
        channels: Sequence[int] | None,
        coords: Sequence[int],
        patch_size: Sequence[int],
    ) -> NDArray:
        """Extract a patch for a given sample and channels within the image stack.

        Parameters
        ----------
        sample_idx : int
            Sample index.
        channels : sequence of int or None
            Channel indices to extract. If `None`, all channels will be extracted.
        coords : sequence of int
            Spatial coordinates of the top-left corner of the patch.
        patch_size : sequence of int
            Size of the patch in each spatial dimension.

        Returns
        -------
        numpy.ndarray
            A patch of the image data from a particular sample with dimensions C(Z)YX.
        """
        patch_slice = get_patch_slices(
            self.original_axes,
            self.original_data_shape,
            sample_idx,
            channels,
            coords,
            patch_size,
        )
        patch_data = self._image_data[patch_slice]
        patch_data = reshape_patch(patch_data, self.original_axes)
        patch = pad_patch(coords, patch_size, self.data_shape, patch_data)
        return patch  # noqa: RET504


@pytest.fixture
def h5(root: Path) -> Iterator[h5py.File]:
    with h5py.File(root / "images.h5", "w") as file:
        yield file


def test_a_stack_of_hdf5_describes_itself(h5: h5py.File) -> None:
    # S4-01 to S4-06
    data = h5.create_dataset("group/image_0", data=image(20, 24, 2))
    stack = HDF5ImageStack(data, "YXC")
    assert isinstance(stack, ImageStack)
    assert stack.source == f"{h5.filename}#/group/image_0"
    assert tuple(stack.data_shape) == (1, 2, 20, 24)
    assert np.dtype(stack.data_dtype) == np.float32
    assert (stack.original_axes, stack.original_data_shape) == ("YXC", (20, 24, 2))


def test_train_and_predict_with_hdf5(h5: h5py.File) -> None:
    # S1-19, S4-10
    for number in range(2):
        h5.create_dataset(f"image_{number}", data=image(70, 64, 2, seed=number))

    def load(names: list[str], axes: str) -> list[HDF5ImageStack]:
        return [HDF5ImageStack(h5[name], axes) for name in names]

    config = create_n2v_config("hdf5", "custom", "YXC", [32, 32], 4, num_epochs=1, n_channels=2)
    careamist = CAREamist(config)
    names = ["image_1", "image_0"]
    careamist.train(train_data=names, loading=ImageStackLoading(load))
    predictions, sources = careamist.predict(names, loading=ImageStackLoading(load))
    assert sources == [f"{h5.filename}#/{name}" for name in names]
    for prediction, name in zip(predictions, names, strict=True):
        (expected,), _ = careamist.predict(h5[name][:], axes="YXC")
        assert prediction.shape == (70, 64, 2)
        np.testing.assert_array_equal(prediction, expected)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("YX", (20, 24)),
        ("XY", (24, 20)),
        ("YXC", (20, 24, 3)),
        ("CYX", (3, 20, 24)),
        ("TYX", (5, 20, 24)),
        ("STCYX", (2, 3, 3, 20, 24)),
        ("YXTS", (20, 24, 3, 2)),
        ("ZYX", (9, 20, 24)),
        ("CZTYX", (3, 9, 2, 20, 24)),
    ],
)
def test_patches_of_hdf5(h5: h5py.File, axes: str, shape: tuple[int, ...]) -> None:
    # S4-07, S4-08, S4-09
    pixels = image(*shape)
    stack = HDF5ImageStack(h5.create_dataset("image", data=pixels), axes)
    canonical = AxesTransform(axes, shape).transform(pixels)
    padded = np.pad(canonical, [(0, 0), (0, 0)] + [(40, 40)] * (canonical.ndim - 2))
    depth = canonical.ndim - 4
    regions = [  # inside, a corner, across the end, before the start, larger than the image
        ((3,) * depth + (4, 5), (4,) * depth + (8, 8)),
        ((0,) * depth + (0, 0), (1,) * depth + (1, 1)),
        ((6,) * depth + (16, 20), (8,) * depth + (8, 8)),
        ((-2,) * depth + (-3, -4), (8,) * depth + (8, 8)),
        ((-1,) * depth + (-5, -7), (16,) * depth + (32, 64)),
    ]
    wanted = [None, [0]] + ([[1], [0, 2], [1, 2]] if "C" in axes else [])
    for sample in range(canonical.shape[0]):
        for coords, size in regions:
            place = tuple(slice(40 + c, 40 + c + n) for c, n in zip(coords, size, strict=True))
            for channels in wanted:
                patch = stack.extract_patch(sample, channels, coords, size)
                chosen = slice(None) if channels is None else channels
                np.testing.assert_array_equal(patch, padded[sample][chosen][(..., *place)])
                ours = ArrayStack(pixels, axes).extract_patch(sample, channels, coords, size)
                np.testing.assert_array_equal(patch, ours)


def test_predict_custom_data_types(careamist: CAREamist, root: Path) -> None:
    # S1-18: the same mechanism when training and predicting
    (root / "files").mkdir()
    for name in "ab":
        np.save(root / "files" / f"{name}.npy", image(64, 64, seed=ord(name)))
    pred_arrays, sources = careamist.predict(
        "files", read_source_func=read_npy, extension_filter="*.npy"
    )
    loading = ReadFuncLoading(read_npy, extension_filter="*.npy")
    same, _ = careamist.predict("files", loading=loading)
    assert [Path(source).name for source in sources] == ["a.npy", "b.npy"]
    for ours, other in zip(pred_arrays, same, strict=True):
        np.testing.assert_array_equal(ours, other)
    careamist.predict_to_disk("files", read_source_func=read_npy, extension_filter="*.npy")
    assert len(list((root / "predictions").iterdir())) == 2


def test_predict_with_a_data_module(careamist: CAREamist, root: Path) -> None:
    # S2-16
    np.save(root / "movie.npy", image(2, 64, 70))
    data_module = PredictDataModule(
        pred_config=PredictionConfig(data_type="custom", axes="TYX", tile_size=(64, 64)),
        pred_data="movie.npy",
        read_source_func=read_npy,
        extension_filter="*.npy",
    )
    (restored,), sources = careamist.predict(data_module)
    assert sources == ["movie.npy"]
    (expected,), _ = careamist.predict(np.load("movie.npy"), axes="TYX", tile_size=(64, 64))
    np.testing.assert_array_equal(restored, expected)
