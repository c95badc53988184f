"""A short name for weights: the same numbers have the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def fingerprint(weights: Mapping[str, torch.Tensor]) -> str:
    """Return 16 hexadecimal digits made from the names, types, shapes and values of weights.

    Parameters
    ----------
    weights : mapping of str to torch.Tensor
        A ``state_dict``, on any device.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(weights.items()):
        array = value.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
