"""The benchmarks of speed: what they run, how they count, their tables."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
FOLDERS = [str(BENCHMARKS), str(BENCHMARKS / "adapters")]
FAKE = """
import json, sys
from pathlib import Path

order = json.loads(Path(sys.argv[1]).read_text())
with open({log!r}, "a") as log:
    log.write("{name} " + order.get("precision", "-") + ", ")
if order.get("width") == 13:
    sys.exit("out of luck")
Path(order["answer"]).write_text(json.dumps({answer!r}))
"""


@pytest.fixture(scope="module")
def modules():
    """Return the modules of the benchmarks by name."""
    sys.path[:0] = FOLDERS
    before = set(sys.modules)
    names = ("speed", "speed_plan", "gui", "measuring", "bare", "speed_ours")
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        for folder in FOLDERS:
            sys.path.remove(folder)
        for name in set(names) - before:
            sys.modules.pop(name, None)


@pytest.fixture
def bench(modules, tmp_path, monkeypatch):
    """Return a bench with adapters that answer at once, and the log of what they were asked."""
    speed, log = modules["speed"], tmp_path / "log"
    answers = {
        "ours": {"rate": 30.0, "precision": "bfloat16"},
        "peer": {"rate": 10.0},
        "bare": {"rate": 40.0},
    }
    (tmp_path / "adapters").mkdir()
    for name, answer in answers.items():
        code = FAKE.format(log=str(log), name=name, answer=answer)
        (tmp_path / "adapters" / speed.ADAPTERS[name]).write_text(code)
    monkeypatch.setattr(speed, "HERE", tmp_path)
    return speed.Bench(dict.fromkeys(answers, sys.executable), tmp_path), log


def test_runs_are_interleaved_and_the_peer_runs_once_for_both_precisions(bench):
    made, log = bench
    order = {"task": "train", "precision": "auto"}
    for number in range(2):
        found = made.run(order, number)
    assert found["bare"]["rate"] == 40
    once = "ours auto, peer -, bare bfloat16, "
    assert log.read_text() == 2 * once, "the bound has the precision that ours chose"
    made.run(order, 1)
    made.run(order | {"precision": "float32"}, 0)
    assert log.read_text() == 2 * once + "ours float32, bare float32, "
    assert set(made.run({"task": "reads"}, 0)) == {"ours", "peer"}
    assert set(made.run({"task": "memory", "libraries": ("ours",)}, 0)) == {"ours"}


def test_values_by_library_and_what_fails(bench, modules):
    made, _ = bench
    per_library = modules["speed"]._for("peer", {"patches": {"ours": 9, "peer": 4}}, None)
    assert per_library == {"patches": 4}
    found = made.run({"task": "train", "precision": "float32", "width": 13}, 0)
    assert "out of luck" in found["ours"]["failed"]
    line = modules["speed_plan"].Line("label", "MPix/s", {}, "rate")
    assert modules["speed"].row(line, [found]).endswith("failed")


def test_code_is_run_in_a_fresh_interpreter(bench, modules):
    made, _ = bench
    code = modules["speed_plan"].IMPORT.format(name="careamist")
    found = made.run({"code": {"ours": code}}, 0)
    assert set(found) == {"ours"}
    assert found["ours"]["torch"] is False
    assert 0 < found["ours"]["seconds"] < 1


def test_rows(modules):
    speed, plan = modules["speed"], modules["speed_plan"]

    def cells(line, *runs):
        return speed.row(line, runs)[44:].split()

    runs = [
        {
            "ours": {"rate": rate, "precision": "bfloat16"},
            "peer": {"rate": 10},
            "bare": {"rate": 40},
        }
        for rate in (20, 90, 30)
    ]
    more = plan.Line("x", "y", {"precision": "auto"}, "rate", over_peer=2.2, over_bare=0.95)
    expected = ["30", "10", "40", "3", "≥", "2.2", "0.75", "≥", "0.95", "bfloat16"]
    assert cells(more, *runs) == expected
    less = plan.Line("x", "s", {}, "rate", less=True, over_peer=7, limit=20)
    assert cells(less, *runs) == ["30", "10", "40", "0.333", "≥", "7", "1.33", "≤", "20"]
    host = plan.Line("x", "ms", {}, "rate", less=True, limit=3, above_bare=True)
    one = {"ours": {"rate": 42.5}, "peer": {"rate": 50}, "bare": {"rate": 40}}
    assert cells(host, one) == ["2.5", "10", "-", "4", "-", "≤", "3"]
    assert cells(more, {"ours": {"skipped": "why"}}) == ["not", "there"]
    alone = ["1234", "-", "-", "-", "≥", "2.2", "-", "≥", "0.95"]
    assert cells(more, {"ours": {"rate": 1234.5}}) == alone


def test_every_line_can_be_asked_for(modules):
    plan, ours = modules["speed_plan"], modules["speed_ours"]
    for what in plan.TABLES:
        full, short = plan.plan(what, short=False), plan.plan(what, short=True)
        assert [line.label for line in full] == [line.label for line in short]
        for line in (*full, *short):
            json.dumps(dict(line.order))
            assert "code" in line.order or callable(getattr(ours, line.order["task"]))
    (host,) = [line for line in plan.plan("train", short=False) if line.above_bare]
    assert host.limit == 3


def test_all_train_the_same_network(modules):
    bare, ours = modules["bare"], modules["speed_ours"]

    def size(network):
        return sum(parameter.numel() for parameter in network.parameters())

    built = ours.PeerUNet(depth=2, num_channels_init=32, upsampling="linear", linear_path=False)
    assert size(built.build(2, 1, 1)) == size(bare.Net(2, 2, 32)) == 333_729
    assert size(built.build(3, 1, 1)) == size(bare.Net(3, 2, 32))


def test_the_bound_and_ours_answer(modules):
    order = {"patch": (16, 16), "batch": 2, "steps": 5, "depth": 1, "width": 4}
    order |= {"image": (64, 64), "precision": "float32"}
    for adapter in (modules["bare"], modules["speed_ours"]):
        found = adapter.train(order)
        assert found["rate"] == pytest.approx(1000 * 2 / found["ms"])
        assert found["first"] > 0
    where = {"shape": (64, 96), "calls": 2, "seconds": 0.01} | order
    assert modules["speed_ours"].predict(where)["rate"] > 0


def test_reads_are_counted(modules, tmp_path):
    measuring, ours = modules["measuring"], modules["speed_ours"]
    store = tmp_path / "image.zarr"
    noise = np.random.default_rng(0).integers(0, 2**16, (512, 512)).astype(np.uint16)
    array = zarr.create_group(store).create_array("image", data=noise, chunks=(64, 64))
    stored = measuring.bytes_of(str(store))
    assert stored == pytest.approx(noise.nbytes, rel=0.1)
    with measuring.Reads() as reads:
        array[:256]
    once = reads.n_bytes
    assert once == pytest.approx(stored / 2, rel=0.1)
    array[:]
    assert reads.n_bytes == once, "only while it is entered"
    order = {"store": str(store), "patches": 64, "pixels": noise.size}
    found = ours.reads(order)
    assert found["share"] == 1
    assert found["reads"] == pytest.approx(1, abs=0.1)
    assert ours.statistics(order)["seconds"] > 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is of Linux")
def test_memory_is_counted(modules):
    def act():
        block = np.ones(2**23)  # 64 MiB
        assert block.sum() == 2**23

    found = modules["measuring"].peak_memory(act, 2**23)
    assert found["mib"] == pytest.approx(64, abs=4)
    assert found["per_pixel"] == pytest.approx(8, abs=0.5)


def test_table_of_the_window(modules):
    gui = modules["gui"]
    runs = [
        {
            "first_step": first,
            **{phase: {"p99": first / 100, "worst": first} for phase in gui.PHASES},
        }
        for first in (1.0, 2.0, 9.0)
    ]
    lines = gui.table(runs).splitlines()
    assert lines[1].split()[-5:] == ["2.00s", "9.00s", "≤", "3", "s"]
    assert lines[-1].split()[-9:] == ["20", "ms", "9000", "ms", "≤", "50,", "≤", "250", "ms"]
    assert [line.split() for line in lines if line.startswith("idle")] == [
        ["idle", "control", "20", "ms", "9000", "ms"]
    ]
