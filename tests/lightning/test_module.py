"""The module by itself: copies, a trainer of the user's own, and what it averages."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import pytorch_lightning as pl
import torch

from careamist import CAREamist
from careamist.events import StepDone
from careamist.lightning import TrainDataModule
from careamist.lightning.module import RestorationModule
from careamist.models.folded import memory_format
from tiny import (
    assert_same_state,
    loaded,
    module_of,
    new,
    noise,
    small,
    small_care,
    stopping_after,
    waves,
)


def data_for(config, **options):
    data = TrainDataModule(config.data_config, noise(64, 64), **options)
    data.setup()
    return data


def resolved(config, data):
    return config.model_copy(update={"data_config": data.resolved()})


def trainer(**options):
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


@pytest.fixture(autouse=True)
def _quiet():
    """Lightning gives advice on loaders."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        yield


# -- a trainer of the user's own -----------------------------------------------------------------


@pytest.mark.parametrize("supervised", [False, True])
def test_a_trainer_of_the_users_own_trains_validates_and_counts(supervised):
    config = (small_care if supervised else small)()
    data = data_for(config, train_data_target=waves(64, 64) if supervised else None)
    module = RestorationModule(resolved(config, data))
    module.prepare(data.train_dataset)
    before = {name: value.clone() for name, value in module.averaged.state_dict().items()}
    mine = trainer(max_epochs=3)
    mine.fit(module, datamodule=data)
    steps = 3 * len(data.train_dataloader())
    assert (module.steps_done, module.samples_done) == (steps, 4 * steps)
    assert module.segment == (0, steps)
    assert module.epoch_steps == steps // 3
    assert module.ema_updates == steps
    assert any(
        not torch.equal(value, before[name]) for name, value in module.averaged.state_dict().items()
    )
    # the validation loss is logged, and is that of the averaged network
    logged = float(mine.callback_metrics["val_loss"])
    assert logged == pytest.approx(module.evaluate(data.val_batches()), rel=1e-5)
    assert [step for step, _ in module.history["val_loss"]] == [steps // 3 * i for i in (1, 2, 3)]
    assert module.history["val_loss"][-1][1] == pytest.approx(logged)


def test_the_rate_follows_the_schedule_of_the_whole_training():
    config = small(training={"lr_schedule": {"name": "StepLR", "step_size": 1, "gamma": 0.1}})
    data = data_for(config)
    module = RestorationModule(resolved(config, data))
    rates = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer(max_epochs=2, callbacks=[Watch()]).fit(module, datamodule=data)
    half = len(rates) // 2
    assert rates == pytest.approx([0.003] * half + [0.0003] * half)


def test_a_trainer_that_counts_steps():
    config = small()
    data = data_for(config)
    module = RestorationModule(resolved(config, data))
    trainer(max_steps=3, max_epochs=-1).fit(module, datamodule=data)
    assert module.steps_done == 3
    assert module.segment == (0, 3)


def test_without_validation_patches_nothing_is_validated():
    config = small(n_val_patches=0)
    data = data_for(config)
    mine = trainer(max_epochs=1)
    module = RestorationModule(resolved(config, data))
    mine.fit(module, datamodule=data)
    assert module.steps_done > 0
    assert "val_loss" not in mine.callback_metrics
    assert module.history["val_loss"] == []


def test_validation_alone():
    config = small()
    data = data_for(config)
    module = RestorationModule(resolved(config, data))
    (found,) = trainer().validate(module, datamodule=data, verbose=False)
    assert found["val_loss"] == pytest.approx(module.evaluate(data.val_batches()), rel=1e-5)


# -- copies ----------------------------------------------------------------------------------------


def test_it_can_be_copied_and_pickled_after_a_training(tmp_path):
    careamist = new(small(3), tmp_path)
    careamist.train(train_data=noise(64, 64))
    module = module_of(careamist)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert twin.steps_done == 3
        assert twin.history == module.history
        for name, value in module.state_dict().items():
            assert torch.equal(twin.state_dict()[name], value)
            assert twin.state_dict()[name].data_ptr() != value.data_ptr()


def test_it_can_be_copied_in_the_middle_of_a_training(tmp_path):
    copies = []

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            copies.append(copy.deepcopy(pl_module))

    careamist = CAREamist(
        small(3), work_dir=tmp_path, callbacks=[Keep()], enable_progress_bar=False
    )
    careamist.train(train_data=noise(64, 64))
    assert [twin.steps_done for twin in copies] == [1, 2, 3]


def reachable(value, seen):
    """Yield all that a module holds."""
    if id(value) in seen:
        return
    seen[id(value)] = value
    yield value
    inner = []
    if isinstance(value, dict):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, set)):
        inner = value
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        inner = vars(value).values()
    for item in inner:
        yield from reachable(item, seen)


def test_it_holds_no_data_no_listener_and_no_lock(tmp_path):
    def listener(event):
        pass

    careamist = new(small(2), tmp_path, [listener])
    careamist.train(train_data=noise(64, 64))
    held = list(reachable(module_of(careamist), {}))
    assert len(held) > 100
    names = {f"{type(item).__module__}.{type(item).__qualname__}" for item in held}
    assert not {name for name in names if "data_modules" in name or "patch_dataset" in name}
    assert not {name for name in names if name.startswith(("_thread", "threading", "queue"))}
    assert not {name for name in names if name.startswith("careamist.stop")}
    assert not any(item is listener for item in held)


# -- parts -----------------------------------------------------------------------------------------


def test_the_average_is_between_its_past_and_the_weights(tmp_path):
    careamist = new(small(4, training={"ema_decay": 0.0}), tmp_path)
    careamist.train(train_data=noise(64, 64))
    module = module_of(careamist)
    for ours, raw in zip(module.averaged.parameters(), module.model.parameters(), strict=True):
        assert torch.equal(ours, raw)
    slow = new(small(4, training={"ema_decay": 0.999}), tmp_path)
    slow.train(train_data=noise(64, 64))
    assert not torch.equal(
        module_of(slow).averaged.state_dict()["head.weight"],
        module_of(slow).model.state_dict()["head.weight"],
    )


def test_the_average_is_the_formula(tmp_path):
    kept = []
    careamist = new(small(5, training={"ema_decay": 0.5}), tmp_path)

    def listen(event):
        if isinstance(event, StepDone):
            kept.append(module_of(careamist).model.state_dict()["head.weight"].clone())

    careamist.listeners.append(listen)
    careamist.train(train_data=noise(64, 64))
    average = kept[0]  # the first one is taken as it is
    for seen, current in enumerate(kept[1:], start=1):
        decay = min(0.5, (1 + seen) / (10 + seen))
        average = decay * average + (1 - decay) * current
    torch.testing.assert_close(module_of(careamist).averaged.state_dict()["head.weight"], average)


@pytest.mark.parametrize(("axes", "patch"), [("CYX", (16, 16)), ("CZYX", (8, 16, 16))])
def test_weights_lie_as_convolutions_read_them_fastest(axes, patch):
    config = small(1, axes=axes, patch_size=patch, n_channels=2)
    layout = memory_format(len(patch))
    module = RestorationModule(config)
    for twin in (module, copy.deepcopy(module)):
        for network in (twin.model, twin.averaged):
            assert network.bottleneck[0].weight.is_contiguous(memory_format=layout)
    # which changes results by rounding at most
    images = torch.randn(2, 2, *patch, generator=torch.Generator().manual_seed(0))
    plain = copy.deepcopy(module.model).to(memory_format=torch.contiguous_format)
    assert plain.bottleneck[0].weight.is_contiguous()
    torch.testing.assert_close(module.model(images), plain(images))


def test_an_optimizer_goes_on_with_a_state_of_another_layout(tmp_path):
    """Like that of a model which was trained elsewhere; a fused one would mix up its numbers."""
    first = stopping_after(new(small(6), tmp_path), 3)
    first.train(train_data=noise(64, 64))
    path = first.run_dir / "last.ckpt"
    state = torch.load(path, weights_only=True)
    changed = 0
    for kept in state["optimizer_state"]["state"].values():
        for name, value in kept.items():
            kept[name] = value.contiguous()
            changed += kept[name].stride() != value.stride()
    assert changed
    for group in state["optimizer_state"]["param_groups"]:
        group["fused"] = None
    torch.save(state, tmp_path / "other.ckpt")
    trained = [loaded(file, tmp_path) for file in (path, tmp_path / "other.ckpt")]
    for careamist in trained:
        careamist.train(train_data=noise(64, 64))
    assert_same_state(*trained)


def test_a_new_module_depends_on_its_seed_alone():
    config = small(1)
    one, other = RestorationModule(config), RestorationModule(config)
    for name, value in one.model.state_dict().items():
        assert torch.equal(other.model.state_dict()[name], value)
    seeded = RestorationModule(small(1, seed=7))
    assert not torch.equal(
        seeded.model.state_dict()["head.weight"], one.model.state_dict()["head.weight"]
    )


def test_validation_is_the_same_whenever_it_is_measured():
    config = small(1)
    data = data_for(config)
    module = RestorationModule(resolved(config, data))
    assert module.evaluate(data.val_batches()) == module.evaluate(data.val_batches())
    assert module.evaluate([]) is None
