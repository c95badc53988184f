"""The quality benchmark: its pictures, its results that are kept, its tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skimage")

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
ADAPTER = """
import json, sys
from pathlib import Path
import numpy as np

order = json.loads(Path(sys.argv[1]).read_text())
folder, images = Path(order["folder"]), np.load(order["images"])
with open({log!r}, "a") as log:
    log.write("run ")
if order["seed"] == 9:
    sys.exit("out of luck")
np.save(folder / "a.npy", images["test"])
np.save(folder / "b.npy", images["test"] / 2 + np.roll(images["test"], 1) / 2)
run = dict(seconds=order["seconds"][0], cpu_seconds=1.5, steps=7, cpu_per_step=0.2)
answer = dict(runs=[run | dict(restored=["a.npy", "b.npy"])])
(folder / "answer.json").write_text(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import pictures
        import quality
        import runs

        yield pictures, runs, quality
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in ("pictures", "runs", "quality"):
            sys.modules.pop(name, None)


def test_pictures_and_their_noise(modules):
    pictures, _, _ = modules
    assert set(pictures.HELD_OUT) < set(pictures.PICTURES)
    assert not {"camera", "coins"} & set(pictures.HELD_OUT)
    for name in pictures.PICTURES:
        clean = pictures.clean_picture(name)
        assert clean.dtype == np.float32
        assert 0 <= clean.min() < 10 < 240 < clean.max() <= 255
        assert clean.shape[0] % 32 == 0
        assert clean.shape[1] % 32 == 0
        noisy = pictures.with_noise(clean, name, 1, 0)
        assert (noisy - clean).std() == pytest.approx(pictures.SIGMA, rel=0.02)
        assert noisy.min() < 0, "nothing is clipped"
        assert np.array_equal(noisy, pictures.with_noise(clean, name, 1, 0))
        for other in (
            pictures.with_noise(clean, name, 2, 0),
            pictures.with_noise(clean, name, 1, 1),
        ):
            correlation = np.corrcoef((noisy - clean).ravel(), (other - clean).ravel())[0, 1]
            assert abs(correlation) < 0.02


def test_nothing_is_learnt_from_targets_of_the_half_that_is_scored(modules):
    pictures, _, _ = modules
    clean = pictures.clean_picture("coins")
    half = len(clean) // 2
    for algorithm in ("care", "n2n"):
        images = pictures.images_for(algorithm, "coins", 1)
        assert images["target"].shape == images["train"].shape == (half, clean.shape[1])
    assert np.array_equal(pictures.images_for("care", "coins", 1)["target"], clean[:half])
    assert set(pictures.images_for("n2v", "coins", 1)) == {"train", "test"}
    spoilt = clean.copy()
    spoilt[:half] = 0
    assert pictures.scores(clean, spoilt)["psnr255"] == np.inf
    spoilt[half:] += 25.5
    assert pictures.scores(clean, spoilt)["psnr255"] == pytest.approx(20, abs=1e-3)
    assert pictures.scores(clean, spoilt)["si_psnr"] > 100, "an offset does not count there"


def test_references_are_better_than_the_noisy_picture(modules):
    pictures, _, _ = modules
    found = pictures.reference_scores("coins", 1)
    noisy, *better = (found[row]["psnr255"] for row in pictures.REFERENCES)
    assert noisy == pytest.approx(20.17, abs=0.1)
    assert min(better) > noisy + 4


def test_a_result_is_kept_until_something_changes(modules, tmp_path):
    pictures, runs, _ = modules
    log = tmp_path / "log"
    adapter = tmp_path / "adapter.py"
    adapter.write_text(ADAPTER.format(log=str(log)))
    results = tmp_path / "results"

    def do(job, code="abc"):
        return runs.result_of(job, results, code, sys.executable, adapter)

    job = runs.Job("ours", "n2v", "defaults", "coins", 1, (60,))
    first = do(job)
    clean = pictures.clean_picture("coins")
    noisy = pictures.scores(clean, pictures.with_noise(clean, "coins", 1, 0))
    assert first["runs"][0]["psnr255"] > noisy["psnr255"], "the better of two restorations counts"
    assert first["runs"][0]["steps"] == 7
    assert do(job)["runs"] == first["runs"]
    assert log.read_text() == "run "
    do(job, code="abd")
    do(runs.Job("ours", "n2v", "defaults", "coins", 2, (60,)))
    assert log.read_text() == "run run run "
    with pytest.raises(RuntimeError, match=r"coins, seed 9: out of luck"):
        do(runs.Job("ours", "n2v", "defaults", "coins", 9, (60,)))
    assert len(list(results.iterdir())) == 3, "nothing is kept of what failed"


def test_the_hash_is_of_what_trains(modules, tmp_path):
    _, runs, _ = modules
    ours = {file.relative_to(BENCHMARKS.parent).as_posix() for file in runs.sources("ours")}
    assert {"src/careamist/lightning/fit.py", "src/careamist/algorithms/n2v.py"} < ours
    assert {"benchmarks/adapters/ours.py", "benchmarks/pictures.py"} < ours
    assert not [file for file in ours if "gui/" in file]
    peer = [file.name for file in runs.sources("peer")]
    assert peer == ["pictures.py", "peer.py"]
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("1")
    other.write_text("2")
    before = runs.hash_of([one, other])
    assert before == runs.hash_of([one, other])
    assert before != runs.hash_of([one, other], "more")
    other.write_text("3")
    assert before != runs.hash_of([one, other])
    assert runs.code_of("ours", sys.executable) == runs.code_of("ours", sys.executable)


def fake_results(quality, jobs):
    """Scores as in a dream; the peer is 1.2 dB below, and all rise by 0.1 dB from seed to seed."""
    results = {}
    for job in jobs:
        shift = 0.1 * job.seed
        if job.library == "reference":
            rows = zip(("noisy", "best Gaussian", "NLM"), (20.0, 26.0, 27.0), strict=True)
            results[job] = {"references": {k: {"psnr255": v, "si_psnr": v} for k, v in rows}}
            continue
        level = 28.0 + shift - (1.2 if job.library == "peer" else 0)
        score = {"psnr255": level, "si_psnr": level - 0.25}
        used = {"cpu_seconds": 59.0, "steps": 345, "cpu_per_step": 0.17}
        results[job] = {"runs": [{"seconds": s, **used, **score} for s in job.seconds]}
    return results


def test_tables_and_verdicts(modules):
    _, _, quality = modules
    jobs = quality.plan(short=False, with_peer=True)
    assert len(set(jobs)) == len(jobs)
    minutes = sum(max(job.seconds, default=0) for job in jobs) / 60
    assert minutes / 2 < 4 * 60, "it must fit into four hours on two cores"
    results = fake_results(quality, jobs)
    text = quality.table(results, "motorcycle")
    lines = {line[:34].strip(): line[34:].split() for line in text.splitlines()}
    assert "held out" in text
    assert "held out" not in quality.table(results, "camera")
    assert lines["noisy"] == ["3", "20.00", "±", "0.00", "20.00", "±", "0.00"]
    ours = ["3", "59.0", "345", "170", "28.20", "±", "0.10", "27.95", "±", "0.10"]
    assert lines["N2V 1 min, ours"] == ours
    assert lines["N2N 3 min, peer"][4:7] == ["27.00", "±", "0.10"]
    cosine = [label for label in lines if "cosine" in label]
    assert cosine == [f"{name} 3 min, peer, cosine" for name in ("N2V", "N2N", "CARE")]
    assert lines["N2V 3 min, peer, cosine"][0] == "1"
    verdicts = quality.summary(results, ("camera", "motorcycle")).splitlines()[2:]
    assert len(verdicts) == 6
    assert [line.endswith("  met") for line in verdicts] == [False, True, True, True, True, True]
    assert verdicts[0].endswith("missed on 2 of 2")
    assert "+1.20" in verdicts[0]


def test_one_picture_is_enough_to_miss(modules):
    _, _, quality = modules
    results = fake_results(quality, quality.plan(short=True, with_peer=False))
    verdicts = quality.summary(results, quality.HELD_OUT).splitlines()
    assert verdicts[-1].endswith("  met")
    assert verdicts[2].endswith("not run"), "without a peer"
    low = next(job for job in results if job.library == "ours" and job.algorithm == "n2v")
    results[low]["runs"][0]["psnr255"] = 25.0
    assert quality.summary(results, quality.HELD_OUT).endswith("missed on 1 of 2")


def test_it_resumes_from_what_is_there(modules, tmp_path):
    _, runs, quality = modules
    jobs = quality.plan(short=True, with_peer=False)
    code = runs.code_of("ours", sys.executable)
    for job, result in fake_results(quality, jobs).items():
        kind = runs.code_of("reference", sys.executable) if job.library == "reference" else code
        job.file_in(tmp_path, kind).write_text(json.dumps(result))
    command = [sys.executable, str(BENCHMARKS / "quality.py"), "--short", "--results", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "motorcycle" in done.stdout
    assert "28.10" in done.stdout
    assert "one seed" in done.stdout
    assert "1/6" in done.stderr
