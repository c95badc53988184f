"""Checkpoints: tensors and JSON types only, so that they load with ``weights_only=True``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from careamist import __version__
from careamist.config.configuration import Configuration, explain
from careamist.errors import CheckpointError, SourceNotFoundError
from careamist.lightning.module import RestorationModule

BEST, LAST = "best.ckpt", "last.ckpt"
_FORMAT = 1


def save(module: RestorationModule, path: Path) -> Path:
    """Write all that is needed to predict with a module or to train it on.

    The file appears under its name only when it is complete.
    """
    state = {
        "careamist": {
            "format": _FORMAT,
            "version": __version__,
            "config": module.config.model_dump(mode="json"),
            "steps_done": module.steps_done,
            "samples_done": module.samples_done,
            "segment": list(module.segment),
            "epoch_steps": module.epoch_steps,
            "history": module.history,
            "loss_sum": float(module.loss_sum),
            "loss_count": module.loss_count,
            "ema_updates": module.ema_updates,
        },
        "state_dict": module.averaged.state_dict(),
        "raw_state_dict": module.model.state_dict(),
        "optimizer_state": module.optimizer_state,
        "scaler_state": module.scaler_state,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        torch.save(state, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def load(path: str | Path) -> RestorationModule:
    """Return the module that was saved, on the CPU.

    Raises
    ------
    SourceNotFoundError
        If there is no such file.
    CheckpointError
        If it is no checkpoint of ours, is broken, or comes from a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise SourceNotFoundError(f"There is no checkpoint {path}.", "Check the path.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        info: dict[str, Any] = state["careamist"]
        is_newer, version = info["format"] > _FORMAT, info["version"]
    except Exception as error:  # pickle, zip and key errors of foreign or broken files
        raise _not_ours(path, error) from error
    if is_newer:
        raise CheckpointError(
            f"{path} was written by careamist {version}, which is newer than this one.",
            "Update careamist.",
        )
    try:
        return _restored(state, info)
    except ValidationError as error:
        raise CheckpointError(f"{path}: {explain(error)}", "Train the model again.") from error
    except Exception as error:
        raise _not_ours(path, error) from error


def _not_ours(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a careamist checkpoint, or it is damaged ({type(error).__name__}).",
        "Choose a .ckpt file that careamist wrote.",
    )


def _restored(state: dict[str, Any], info: dict[str, Any]) -> RestorationModule:
    module = RestorationModule(Configuration.model_validate(info["config"]))
    module.averaged.load_state_dict(state["state_dict"])
    module.model.load_state_dict(state["raw_state_dict"])
    module.ema_updates = info["ema_updates"]
    module.optimizer_state = state["optimizer_state"]
    module.scaler_state = state.get("scaler_state")  # not in early files
    module.steps_done, module.samples_done = info["steps_done"], info["samples_done"]
    module.segment = (info["segment"][0], info["segment"][1])
    module.epoch_steps = info["epoch_steps"]
    module.history = info["history"]
    module.loss_sum, module.loss_count = torch.tensor(info["loss_sum"]), info["loss_count"]
    return module


def find(path: str | Path) -> Path:
    """Return a checkpoint file: the path itself, or the newest one below a folder.

    That is the ``last.ckpt`` of the last run, or what a killed run had kept. The ``best.ckpt`` of
    a run is only taken where there is nothing else.

    Raises
    ------
    SourceNotFoundError
        If there is none.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return path
    found = sorted(path.rglob("*.ckpt"), key=lambda file: (file.name != BEST, file.stat().st_mtime))
    if not found:
        raise SourceNotFoundError(
            f"There is no model in {path}.",
            "Give a .ckpt file, or the folder that a training wrote to.",
        )
    return found[-1]
