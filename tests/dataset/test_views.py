"""Stacks made of others: some channels of them, or their pixels held."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from careamist.dataset.image_stack import ImageStack
from careamist.dataset.image_stack.array import ArrayStack
from careamist.dataset.image_stack.image import ImageFileStack
from careamist.dataset.image_stack.views import ChannelsView, HeldStack
from careamist.utils.reshape_array import AxesTransform

IMAGE = np.random.default_rng(0).integers(0, 255, (5, 12, 14, 4)).astype(np.uint8)
INSIDE = AxesTransform("TYXC", IMAGE.shape).transform(IMAGE)


class Counted:
    """A stack without anything that is not asked of it; counts how often it is read."""

    def __init__(self, chunk_shape=None):
        self._stack = ArrayStack(IMAGE, "TYXC", "counted")
        self.source, self.original_axes = "counted", "TYXC"
        self.data_shape, self.data_dtype = INSIDE.shape, IMAGE.dtype
        self.original_data_shape = IMAGE.shape
        self.reads = 0
        if chunk_shape is not None:
            self.chunk_shape = chunk_shape
            self.extract_block = self._block

    def extract_patch(self, *where):
        self.reads += 1
        return self._stack.extract_patch(*where)

    def _block(self, *where):
        self.reads += 1
        return self._stack.extract_block(*where)


VIEWS = {
    "channels": (lambda stack: ChannelsView(stack, [2, 0]), INSIDE[:, [2, 0]]),
    "held": (HeldStack, INSIDE),
    "held channels": (lambda stack: HeldStack(ChannelsView(stack, [3])), INSIDE[:, [3]]),
    "channels of held": (lambda stack: ChannelsView(HeldStack(stack), [3, 1]), INSIDE[:, [3, 1]]),
    "channels of channels": (
        lambda stack: ChannelsView(ChannelsView(stack, [3, 2, 1]), [2, 0]),
        INSIDE[:, [1, 3]],
    ),
}


@pytest.mark.parametrize("chunk_shape", [None, (2, 4, 12, 14)])
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_a_stack(name, chunk_shape):
    make, expected = VIEWS[name]
    stack = make(Counted(chunk_shape))
    assert isinstance(stack, ImageStack)
    assert stack.data_shape == expected.shape
    assert (stack.source, stack.original_axes) == ("counted", "TYXC")
    assert tuple(stack.original_data_shape) == IMAGE.shape
    assert stack.data_dtype == np.uint8
    around = np.pad(expected, [(0, 0), (0, 0), (9, 9), (9, 9)])
    for coords, size in (
        ((0, 0), (12, 14)),
        ((3, 4), (5, 6)),
        ((-4, 9), (8, 9)),
        ((-9, 5), (3, 3)),
    ):
        window = tuple(slice(c + 9, c + 9 + n) for c, n in zip(coords, size, strict=True))
        for channels in (None, [0]):
            patch = stack.extract_patch(3, channels, coords, size)
            chosen = around[3] if channels is None else around[3, channels]
            np.testing.assert_array_equal(patch, chosen[(slice(None), *window)])
            assert patch.dtype == np.uint8
    for channels in (None, [0]):
        block = stack.extract_block(range(1, 4), (3, 4), (5, 6), channels)
        chosen = expected if channels is None else expected[:, channels]
        np.testing.assert_array_equal(block, chosen[1:4, :, 3:8, 4:10])


def test_nothing_is_held_before_it_is_asked_for_and_then_it_is_read_once():
    stack = Counted()
    held = HeldStack(stack)
    assert stack.reads == 0
    for _ in range(3):
        held.extract_patch(1, None, (0, 0), (4, 4))
    assert stack.reads == 5  # one for each sample
    assert held.chunk_shape is None  # any pixel is equally cheap now


def test_samples_that_are_decoded_together_are_read_together():
    stack = Counted(chunk_shape=(2, 4, 12, 14))
    HeldStack(stack).extract_patch(4, None, (0, 0), (4, 4))
    assert stack.reads == 3


def test_a_held_stack_is_sent_to_other_processes_without_its_pixels(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((512, 512)))
    held = HeldStack(ImageFileStack(tmp_path / "a.npy", "YX"))
    held.extract_patch(0, None, (0, 0), (4, 4))
    sent = pickle.dumps(held)
    assert len(sent) < 10_000
    assert pickle.loads(sent).extract_patch(0, None, (0, 0), (2, 2)).tolist() == [[[1, 1], [1, 1]]]


def test_pixels_keep_their_type():
    image = IMAGE.astype(">f4")
    assert HeldStack(ArrayStack(image, "TYXC")).pixels.dtype == np.dtype(">f4")


def test_what_the_file_says_is_kept():
    stack = ArrayStack(IMAGE, "TYXC")
    assert ChannelsView(stack, [1]).info is stack.info
    assert HeldStack(Counted()).info is None
