"""The data of a prediction: images, and how they are to be restored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl

from careamist.dataset.image_stack.custom import as_loading

if TYPE_CHECKING:
    from careamist.config.prediction import PredictionConfig
    from careamist.dataset.image_stack.custom import Loading


class PredictDataModule(pl.LightningDataModule):
    """Images to predict, and how: give it to `CAREamist.predict` instead of the images.

    Parameters
    ----------
    pred_config : PredictionConfig
        Axes, format, tiles.
    pred_data : array, path, URI, or list of these
        The images.
    read_source_func : callable, optional
        Reads a file of the user's own format; short for ``loading=ReadFuncLoading(...)``.
    extension_filter : str
        Which files of a folder are of that format: ``"*.npy"``.
    loading : ReadFuncLoading or ImageStackLoading, optional
        How custom data are read.
    """

    def __init__(
        self,
        pred_config: PredictionConfig,
        pred_data: Any,
        read_source_func: Callable[..., Any] | None = None,
        extension_filter: str = "",
        *,
        loading: Loading | None = None,
    ) -> None:
        super().__init__()
        self.pred_config, self.pred_data = pred_config, pred_data
        self.loading = as_loading(loading, read_source_func, extension_filter)
