"""The examples of the CAREamics documentation run here, with the package renamed.

Code marked with a row (S0-01, ...) is taken from the documentation of CAREamics, © CAREamics
contributors, BSD-3-Clause, https://careamics.github.io. Indentation that was lost is restored;
names that the pages leave open (``careamist``, ``pred_data``, ``root``) are fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from numpy.typing import DTypeLike, NDArray

from careamist import CAREamist
from careamist.config import create_n2v_configuration
from careamist.dataset.image_stack import ImageStack
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.image_stack.image_utils import pad_patch
from careamist.errors import SettingsError
from careamist.lightning import TrainDataModule
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
