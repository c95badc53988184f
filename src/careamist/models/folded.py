"""A network made ready to predict: the same numbers in fewer operations."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from careamist.models.network import memory_format

if TYPE_CHECKING:
    from careamist.models.unet import UNetModel


def folded(network: UNetModel) -> UNetModel:
    """Return a copy of a trained network that only predicts.

    Batch normalisation, a multiplication and an addition with numbers that no longer change,
    becomes part of the convolution before it; activations are computed in place; weights lie as
    the convolutions read them fastest (channels last). Grid and halo stay.

    Parameters
    ----------
    network : UNetModel
        Not changed.
    """
    ready: Any = copy.deepcopy(network).eval().requires_grad_(False)
    for blocks in (ready.encoder, [ready.bottleneck], ready.decoder):
        for block in blocks:
            _fold(block)
    laid_out: UNetModel = ready.to(memory_format=memory_format(network.dims))
    return laid_out


def _fold(block: nn.Module) -> None:
    layers: list[Any] = []
    for layer in block.children():
        if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        elif isinstance(layer, nn.ReLU):
            layers.append(nn.ReLU(inplace=True))
        else:
            layers.append(layer)
    block._modules = dict(nn.Sequential(*layers).named_children())
