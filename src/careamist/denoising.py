"""One call for one image."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from careamist.careamist import CAREamist
from careamist.config.advanced import create_advanced_n2v_config
from careamist.config.factories import fitting_patch
from careamist.config.presets import apply_preset
from careamist.errors import AxesError, DataError
from careamist.models.network import UNet
from careamist.utils.reshape_array import AxesTransform


def denoise(
    image: Any,
    model: CAREamist | str | Path | None = None,
    axes: str | None = None,
    *,
    preset: str = "quick",
) -> NDArray[np.float32]:
    """Return a restored image: with a model, or with one that is trained on the image itself.

    Parameters
    ----------
    image : array
        2D or 3D, with channels, time or samples as `axes` say.
    model : CAREamist or path, optional
        What to restore it with; Noise2Void is trained on the image when not given.
    axes : str, optional
        One letter of ``STCZYX`` for each dimension; those of the model, or ``YX`` and ``ZYX``
        for images of two and three dimensions.
    preset : str
        Effort of the training: ``"quick"``, ``"standard"`` or ``"thorough"``.

    Returns
    -------
    numpy.ndarray
        float32, in the axes, shape and units of the image.

    Raises
    ------
    AxesError
        If the axes must be told, or do not fit the image.
    CareamistError
        If nothing can be learnt from the image, or it does not fit the model.
    """
    if isinstance(image, (str, Path)):
        raise DataError(
            f"A path was given ({image}), an array is expected.",
            "Read the image first, or restore files with CAREamist.predict_to_disk.",
        )
    if not hasattr(image, "shape"):
        image = np.asarray(image)
    if isinstance(model, CAREamist):
        return model.predict(image, tile_size="auto", axes=axes)[0][0]
    with TemporaryDirectory(prefix="careamist") as folder:
        if model is not None:
            careamist = CAREamist(checkpoint_path=model, work_dir=folder)
        else:
            axes = axes or {2: "YX", 3: "ZYX"}.get(image.ndim)
            if axes is None:
                raise AxesError(
                    f"An image of {image.ndim} dimensions was given without axes.",
                    "Say what they are, for example axes='TCYX'.",
                )
            sizes = AxesTransform(axes, image.shape).transformed_shape[2:]
            network = UNet()
            if len(sizes) == 3 and sizes[0] < 2 * network.grid:  # too few planes to halve
                network = UNet(pool_z=False)
            patch = fitting_patch(sizes, network.grid_for(len(sizes)))
            config = create_advanced_n2v_config(
                "denoise", "array", axes, patch, 16, model_params={"pool_z": network.pool_z}
            )
            careamist = CAREamist(apply_preset(config, preset), work_dir=folder)
            careamist.train(train_data=image)
        return careamist.predict(image, tile_size="auto", axes=axes)[0][0]
