"""What the readers of files share."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from careamist.dataset.image_stack.file_utils import (
    PartCache,
    check_decoded_size,
    map_bytes,
    reading,
)
from careamist.errors import AxesError, UnreadableError


def part(nbytes):
    return lambda: np.zeros(nbytes, np.uint8)


def test_the_parts_used_last_are_kept():
    cache = PartCache(100)
    first = cache.get("a", part(40))
    cache.get("b", part(40))
    assert cache.get("a", pytest.fail) is first
    cache.get("c", part(40))  # b was used longest ago
    assert cache.nbytes == 80
    assert cache.get("a", pytest.fail) is first
    assert cache.get("b", part(41)).nbytes == 41


def test_a_part_larger_than_the_cache_is_kept_until_the_next():
    cache = PartCache(100)
    large = cache.get("large", part(1000))
    assert cache.get("large", pytest.fail) is large
    cache.get("small", part(10))
    assert cache.nbytes == 10


def test_threads_share_a_cache():
    cache, wrong = PartCache(300), []

    def use():
        for turn in range(2000):
            value = turn % 50
            if cache.get(value, lambda value=value: np.full(10, value, np.uint8))[0] != value:
                wrong.append(value)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.nbytes <= 300
    assert cache.nbytes == sum(kept.nbytes for kept in cache._parts.values())


@pytest.mark.parametrize("error", [IndexError("x"), ZeroDivisionError(), KeyError(1), OSError(5)])
def test_what_a_library_raises_is_told_in_our_words(error):
    with pytest.raises(UnreadableError, match=r"cells\.tif cannot be read as a TIFF \(.+\)"):
        fail(error)


def fail(error):
    with reading("cells.tif", "a TIFF"):
        raise error


def test_what_the_system_refuses_is_told_apart():
    with pytest.raises(UnreadableError, match=r"cells\.tif cannot be read \(Permission denied\)"):
        fail(PermissionError(13, "Permission denied"))


def test_our_own_errors_and_interrupts_pass():
    for error in (AxesError("no", "hint"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            fail(error)
        assert caught.value is error


def test_an_unknown_compression_says_so():
    with pytest.raises(UnreadableError, match="compressed in a way") as caught:
        fail(ImportError("no codec"))
    assert "imagecodecs" in caught.value.hint


@pytest.mark.parametrize(
    ("decoded", "stored", "refused"),
    [(2**28, 1, None), (2**29, 2**20, None), (2**29, 2**18, "damaged"), (2**50, 2**48, "memory")],
)
def test_parts_that_can_never_be_decoded_are_refused(decoded, stored, refused):
    if refused is None:
        check_decoded_size("a.tif", decoded, stored, 1100)
        return
    with pytest.raises(UnreadableError, match=refused):
        check_decoded_size("a.tif", decoded, stored, 1100)


def test_a_file_that_changed_is_mapped_anew(tmp_path):
    path = tmp_path / "a"
    for content in (b"one", b"three"):
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        mapped = map_bytes(str(path), path.stat().st_mtime_ns)
        assert mapped.tobytes() == content
        assert not mapped.flags.writeable
