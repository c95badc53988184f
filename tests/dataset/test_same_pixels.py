"""One image in every format: the same patches, the same model, the same prediction."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
import zarr
from pylibCZIrw import czi

from careamist import CAREamist
from careamist.config import N2V, Configuration, DataConfig, TrainingConfig, UNet
from careamist.dataset.sources import inspect, open_stacks
from careamist.lightning import TrainDataModule

AXES, SHAPE, CHUNKS = "CZYX", (2, 9, 70, 83), (1, 4, 32, 40)


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=SHAPE).cumsum(axis=-1)
    return (2000 + 40 * smooth + rng.normal(0, 30, SHAPE)).clip(0).astype(np.uint16)


def imagej(path, image):
    path = path.with_suffix(".tif")
    tifffile.imwrite(path, image.swapaxes(0, 1), imagej=True, metadata={"axes": "ZCYX"})
    return path, "ZCYX"


def ome_tiff(path, image):
    path = path.with_suffix(".ome.tif")
    tifffile.imwrite(path, image, ome=True, metadata={"axes": AXES}, tile=(32, 48), compression=8)
    return path, AXES


def plain_zarr(version):
    def write(path, image):
        path = path.with_suffix(".zarr")
        array = zarr.create_array(
            path / "image", shape=SHAPE, chunks=CHUNKS, dtype="uint16", zarr_format=version
        )
        array[:] = image
        zarr.open_group(path, mode="a", zarr_format=version)
        return path, AXES

    return write


def ome_zarr(version):
    def write(path, image):
        path = path.with_suffix(".ome.zarr")
        zarr_format = 2 if version == "0.4" else 3
        group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
        array = group.create_array("0", shape=SHAPE, chunks=CHUNKS, dtype="uint16")
        array[:] = image
        types = {"C": "channel", "Z": "space", "Y": "space", "X": "space"}
        axes = [{"name": axis.lower(), "type": types[axis]} for axis in AXES]
        scale = {"type": "scale", "scale": [1, 0.3, 0.1, 0.1]}
        datasets = [{"path": "0", "coordinateTransformations": [scale]}]
        multiscales = [{"version": version, "axes": axes, "datasets": datasets}]
        if version == "0.4":
            group.attrs["multiscales"] = multiscales
        else:
            group.attrs["ome"] = {"version": version, "multiscales": multiscales}
        return path, AXES

    return write


def zeiss(path, image):
    path = path.with_suffix(".czi")
    with czi.create_czi(str(path)) as file:
        for c, z in np.ndindex(SHAPE[:2]):
            plane = {"C": c, "Z": z, "T": 0}
            file.write(data=np.ascontiguousarray(image[c, z])[..., None], plane=plane, scene=0)
    return path, "SCZYX"


def numpy_file(path, image):
    path = path.with_suffix(".npy")
    np.save(path, image)
    return path, AXES


WRITERS = {
    "ImageJ TIFF": imagej,
    "OME-TIFF": ome_tiff,
    "Zarr 2": plain_zarr(2),
    "Zarr 3": plain_zarr(3),
    "OME-Zarr 0.4": ome_zarr("0.4"),
    "OME-Zarr 0.5": ome_zarr("0.5"),
    "CZI": zeiss,
    "npy": numpy_file,
}


def trained(folder, data, data_type, axes):
    config = Configuration(
        algorithm_config=N2V(model=UNet(depth=1, num_channels_init=4)),
        data_config=DataConfig(
            data_type=data_type, axes=axes, patch_size=(4, 16, 16), batch_size=4, n_val_patches=2
        ),
        training_config=TrainingConfig(num_steps=3),
    )
    careamist = CAREamist(config, work_dir=folder, enable_progress_bar=False)
    careamist.train(train_data=data)
    return careamist, careamist.predict(data, tile_size=(8, 48, 48))[0][0]


@pytest.fixture(scope="module")
def of_array(image, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("array"), image, "array", AXES)


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_pixels_make_the_same_model_and_prediction(name, image, of_array, tmp_path):
    path, axes = WRITERS[name](tmp_path / "image", image)
    (info,) = inspect(path)
    if info.axes is not None:
        assert info.axes == axes
    data_type = {".czi": "czi", ".zarr": "zarr", ".npy": "image"}.get(path.suffix, "tiff")
    config = of_array[0].config.data_config
    (ours,) = open_stacks(image, "array", AXES)
    (stack,) = open_stacks(path, data_type, axes)
    for coords, size in (((0, 0, 0), (9, 70, 83)), ((2, 31, 17), (4, 16, 40)), ((5, 60, 70),) * 2):
        np.testing.assert_array_equal(
            stack.extract_patch(0, None, coords, size), ours.extract_patch(0, None, coords, size)
        )
    changes = {"data_type": data_type, "axes": axes}
    module = TrainDataModule(config.model_copy(update=changes), path)
    reference = TrainDataModule(config, image)
    module.setup()
    reference.setup()
    batch = module.train_dataset.__getitems__(range(30))
    assert torch.equal(batch.inputs, reference.train_dataset.__getitems__(range(30)).inputs)
    careamist, restored = trained(tmp_path, path, data_type, axes)
    for key, value in of_array[0]._model.module.state_dict().items():
        assert torch.equal(careamist._model.module.state_dict()[key], value), key
    expected = of_array[1]
    if axes == "ZCYX":
        restored = restored.swapaxes(0, 1)
    np.testing.assert_array_equal(restored.reshape(expected.shape), expected)
