"""A function of the user's own that writes: called once, by name, with the whole image."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from written import mixed, nothing, output_of, pixels_of, write

from careamist.errors import DiskFullError, SettingsError
from careamist.prediction.disk_sink import DiskSink
from careamist.prediction.writers import writer_of
from careamist.prediction.writers.custom import CustomWriter
from careamist.prediction.writers.protocol import WriteOptions

IMAGE = pixels_of((41, 50, 3))


def save_to_np(file_path: Path, img: np.ndarray, *args, **kwargs) -> None:
    np.save(file_path, img, *args, **kwargs)


def saved(tmp_path, writer, image=IMAGE, axes="YXC"):
    """Write an image as a sink does, up to the moment when it gets its name."""
    output, part = output_of(image, axes), tmp_path / f"a{writer.EXTENSION}.part"
    file = writer.create(part, output, WriteOptions())
    write(file, output, image, mixed(output))
    return file, part


def left(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_function_gets_the_image_and_its_path_by_name(tmp_path):
    calls = []

    def keep(*args, **kwargs):
        calls.append((args, kwargs))
        save_to_np(kwargs["file_path"], kwargs["img"])

    file, part = saved(tmp_path, CustomWriter(keep, ".npy", {"level": 3}))
    assert calls == []
    file.complete(nothing)
    ((args, kwargs),) = calls
    assert args == ()
    assert set(kwargs) == {"file_path", "img", "level"}
    assert kwargs["level"] == 3
    assert isinstance(kwargs["file_path"], Path)
    assert kwargs["file_path"].name == "a.npy"
    assert type(kwargs["img"]) is np.ndarray
    np.testing.assert_array_equal(kwargs["img"], IMAGE)
    with part.open("rb") as content:
        np.testing.assert_array_equal(np.load(content), IMAGE)
    assert left(tmp_path) == ["a.npy.part"]


def test_arguments_for_the_function_are_passed_on(tmp_path):
    file, part = saved(tmp_path, CustomWriter(save_to_np, ".npy", {"allow_pickle": False}))
    file.complete(nothing)
    with part.open("rb") as content:
        np.testing.assert_array_equal(np.load(content), IMAGE)


def test_what_is_still_missing_is_seen_as_such(tmp_path):
    output = output_of(IMAGE, "YXC")
    file = CustomWriter(save_to_np, ".npy").create(tmp_path / "part", output)
    assert np.isnan(file.view()).all()
    write(file, output, IMAGE, mixed(output)[:2])
    assert 0 < np.isfinite(file.view()).sum() < IMAGE.size


@pytest.mark.parametrize(
    ("function", "extension", "said"),
    [
        (None, ".npy", "without write_func"),
        (save_to_np, None, "without write_extension"),
        (save_to_np, "", "without write_extension"),
        (None, None, "without write_func and write_extension"),
        ("save", ".npy", "cannot be called"),
    ],
)
def test_what_is_missing_is_told(function, extension, said):
    with pytest.raises(SettingsError, match=said):
        writer_of("custom", function, extension)


def test_an_ending_without_a_dot_gets_one():
    assert CustomWriter(save_to_np, "npy").EXTENSION == ".npy"
    assert CustomWriter(save_to_np, "_denoised.npy").EXTENSION == "_denoised.npy"


def test_a_function_that_raises_leaves_nothing_and_is_told_in_our_words(tmp_path):
    def half(file_path, img):
        file_path.write_bytes(b"half")
        raise KeyError("no such codec")

    file, _ = saved(tmp_path, CustomWriter(half, ".npy"))
    with pytest.raises(SettingsError, match=r"a\.npy could not be written by half .*KeyError"):
        file.complete(nothing)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stays_a_full_disk(tmp_path):
    def full(file_path, img):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file, _ = saved(tmp_path, CustomWriter(full, ".npy"))
    with pytest.raises(OSError, match="No space") as raised:
        file.complete(nothing)
    assert raised.value.errno == errno.ENOSPC


def test_a_function_that_writes_elsewhere_is_told(tmp_path):
    file, _ = saved(tmp_path, CustomWriter(save_to_np, ".raw"))  # numpy adds .npy
    with pytest.raises(SettingsError, match=r"was to write a\.raw, but wrote a\.raw\.npy"):
        file.complete(nothing)
    assert list(tmp_path.iterdir()) == []

    file, _ = saved(tmp_path, CustomWriter(lambda file_path, img: None, ".raw"))
    with pytest.raises(SettingsError, match="but wrote nothing"):
        file.complete(nothing)


def test_a_file_beside_the_result_is_kept(tmp_path):
    def with_header(file_path, img):
        img.tofile(file_path)
        file_path.with_suffix(".hdr").write_text(str(img.shape))

    file, part = saved(tmp_path, CustomWriter(with_header, ".img"))
    file.complete(nothing)
    assert part.stat().st_size == IMAGE.nbytes
    assert (tmp_path / "a.hdr").read_text() == "(41, 50, 3)"
    assert left(tmp_path) == ["a.hdr", "a.img.part"]


def test_completing_may_be_put_off(tmp_path):
    def stop():
        raise KeyError

    file, part = saved(tmp_path, CustomWriter(save_to_np, ".npy"))
    with pytest.raises(KeyError):
        file.complete(stop)
    assert list(tmp_path.iterdir()) == []
    file.complete(nothing)
    assert part.exists()


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    (tmp_path / "a.npy.part.d").mkdir()
    (tmp_path / "a.npy.part.d" / "a.npy").write_bytes(b"half")
    file, _ = saved(tmp_path, CustomWriter(save_to_np, ".npy"))
    assert left(tmp_path) == []
    file.complete(nothing)
    assert left(tmp_path) == ["a.npy.part"]


# -- with the sink -------------------------------------------------------------------------------


class Region:
    """As much of a region as a sink looks at."""

    def __init__(self, data, specs):
        self.data, self.region_spec, self.additional_metadata = data, specs, {}


def fill(sink, output, numbers):
    for number in numbers:
        specs = output.tiles[int(number)]
        data = output.stack.extract_patch(
            specs["sample_idx"], None, specs["stitch_coords"], specs["crop_size"]
        )
        sink.write(Region(data, specs))


def test_a_result_gets_its_name_when_it_is_complete(tmp_path):
    output = output_of(IMAGE, "YXC")
    folder = tmp_path / "deep" / "down"
    sink = DiskSink(folder, CustomWriter(save_to_np, ".npy"))
    sink.check([output])
    fill(sink, output, sink.start(output))
    assert "image.npy" not in left(tmp_path)
    assert sink.finish(0) == str(folder / "image.npy")
    np.testing.assert_array_equal(np.load(folder / "image.npy"), IMAGE)
    assert left(tmp_path) == ["image.npy"]


def test_a_file_that_is_there_survives_a_function_that_raises(tmp_path):
    def fails(file_path, img):
        file_path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "image.npy").write_text("old")
    output = output_of(IMAGE, "YXC")
    sink = DiskSink(tmp_path, CustomWriter(fails, ".npy"), overwrite="replace")
    sink.check([output])
    fill(sink, output, sink.start(output))
    with pytest.raises(DiskFullError) as raised:
        sink.finish(0)
    sink.leave(0, raised.value)
    assert (tmp_path / "image.npy").read_text() == "old"
    assert not {"image.npy.part", "image.npy.tiles"} & set(left(tmp_path))


def test_what_was_broken_off_is_begun_anew(tmp_path):
    output = output_of(IMAGE, "YXC", recipe={"identity": "1"})
    first = DiskSink(tmp_path, CustomWriter(save_to_np, ".npy"))
    first.check([output])
    fill(first, output, first.start(output)[:3])
    first.leave(0, KeyboardInterrupt())

    second = DiskSink(tmp_path, CustomWriter(save_to_np, ".npy"))
    second.check([output])
    numbers = second.start(output)
    assert len(numbers) == len(output.tiles)
    fill(second, output, numbers)
    second.finish(0)
    np.testing.assert_array_equal(np.load(tmp_path / "image.npy"), IMAGE)
    assert left(tmp_path) == ["image.npy"]


def test_what_was_written_but_has_no_name_is_not_made_again(tmp_path, monkeypatch):
    output = output_of(IMAGE, "YXC", recipe={"identity": "1"})
    first = DiskSink(tmp_path, CustomWriter(save_to_np, ".npy"))
    first.check([output])
    fill(first, output, first.start(output))
    monkeypatch.setattr("careamist.prediction.disk_sink._publish", killed)
    with pytest.raises(KeyboardInterrupt) as raised:
        first.finish(0)
    first.leave(0, raised.value)
    monkeypatch.undo()
    assert {"image.npy.part", "image.npy.tiles"} <= set(left(tmp_path))
    assert not (tmp_path / "image.npy").exists()

    second = DiskSink(tmp_path, CustomWriter(killed, ".npy"))
    second.check([output])
    assert len(second.start(output)) == 0
    second.finish(0)
    np.testing.assert_array_equal(np.load(tmp_path / "image.npy"), IMAGE)


def killed(*_, **__):
    raise KeyboardInterrupt
