"""The shell: train, predict, errors in one line, the interrupt key."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from careamist import CAREamist, __version__, cli
from careamist.cli import main
from careamist.config.presets import PRESETS, apply_preset
from careamist.dataset.image_stack import tiff

create_czi = pytest.importorskip("pylibCZIrw.czi").create_czi

QUICK = ("--steps", "2", "--patch", "16", "--batch", "2", "--device", "cpu")


def write(path: Path, *shape: int, seed: int = 0, axes: str = "YX") -> Path:
    """A float32 TIFF with pixels of 0.25 µm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)
    options = {"imagej": True, "resolution": (4, 4), "metadata": {"axes": axes, "unit": "um"}}
    tifffile.imwrite(path, image, **options)
    return path


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines on stderr but for the progress bar and what it writes above itself."""
    lines = re.split(r"[\r\n]+", capsys.readouterr().err)
    passed = r"(train|predict): +\d+%\||\d+ instead of \d+ patches| *$"
    return [line for line in lines if not re.match(passed, line)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, trained through the shell."""
    folder = tmp_path_factory.mktemp("trained")
    image = write(folder / "noisy.tif", 48, 40)
    assert main(["train", str(image), "-o", str(folder / "model"), *QUICK]) == 0
    return folder / "model"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with one image."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.tif", 48, 40)
    return tmp_path


# -- help and version -----------------------------------------------------------------------


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"careamist {__version__}\n"


def help_text(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as info:
        main(arguments)
    assert info.value.code == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_help_names_the_commands_and_is_what_no_arguments_give(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = help_text(capsys, "--help")
    assert text.startswith("usage: careamist ")
    for command in ("info", "train", "predict", "demo"):
        assert re.search(rf"^    {command} +[A-Z]", text, re.MULTILINE)
    assert help_text(capsys) == text


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("info", "--axes --data-type --no-pixels"),
        (
            "train",
            "--axes --data-type --channels --algorithm --target --val --val-target -o --name "
            "--preset --steps --epochs --minutes --patch --batch --seed --device",
        ),
        (
            "predict",
            "-o --axes --data-type --channels --tile --batch --format --compression --dtype --tta "
            "--spread --precision --device --overwrite --share",
        ),
        ("demo", "--output --seed --steps --close"),
    ],
)
def test_help_of_a_command_explains_every_option(
    capsys: pytest.CaptureFixture[str], command: str, options: str
) -> None:
    text = help_text(capsys, command, "--help")
    explained = re.findall(r"^  (--?[a-z-]+)", text, re.MULTILINE)
    assert explained == ["-h", *options.split()]
    assert not re.search(r"None|null|JSON", text)
    assert all(len(line) <= 82 for line in text.splitlines())


# -- train and predict ----------------------------------------------------------------------


def test_train_then_predict(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "a.tif", "-o", "model", "--name", "my model", *QUICK]) == 0
    assert told(capsys) == [f"Model after 2 steps: {Path('model/checkpoints/my_model_1')}"]
    checkpoint = here / "model" / "checkpoints" / "my_model_1" / "last.ckpt"
    assert checkpoint.is_file()

    assert main(["predict", "model", "a.tif", "-o", "out"]) == 0
    assert told(capsys) == ["Results: out"]
    assert [path.name for path in (here / "out").iterdir()] == ["a.tiff"]
    info = tiff.inspect(here / "out" / "a.tiff")[0]
    assert (info.shape, info.dtype, info.axes) == ((48, 40), np.float32, "YX")
    assert info.pixel_size == {"Y": 0.25, "X": 0.25}
    assert info.units == {"Y": "µm", "X": "µm"}

    assert main(["predict", str(checkpoint), "a.tif", "--output", "same"]) == 0
    same = tifffile.imread(here / "same" / "a.tiff")
    np.testing.assert_array_equal(same, tifffile.imread(here / "out" / "a.tiff"))
    careamist = CAREamist(checkpoint_path=checkpoint, enable_progress_bar=False)
    (expected,), _ = careamist.predict(here / "a.tif", tile_size="auto")
    np.testing.assert_array_equal(same, expected)


def test_every_option_of_train_reaches_the_order_form(here: Path) -> None:
    write(here / "z.tif", 16, 24, 24, axes="ZYX")
    arguments = "train z.tif -o m --axes zyx --algorithm n2v --name n --epochs 1 --patch 16"
    assert main([*arguments.split(), "--batch", "3", "--seed", "5", "--device", "cpu"]) == 0
    config = CAREamist(checkpoint_path=here / "m").config
    data, training = config.data_config, config.training_config
    assert config.experiment_name == "n"
    assert (data.data_type, data.axes, data.patch_size) == ("tiff", "ZYX", (16, 16, 16))
    assert (data.batch_size, data.seed) == (3, 5)
    assert (training.num_steps, training.num_epochs, training.device) == (None, 1, "cpu")


def test_defaults_are_those_of_the_order_form(here: Path) -> None:
    write(here / "large.tif", 64, 64)
    config = cli.Train(data=["large.tif"], output="m").configuration("tiff", "YX")
    assert config == cli.Configuration(data_config={"data_type": "tiff"})


@pytest.mark.parametrize("name", PRESETS)
def test_presets_and_what_is_typed_instead(name: str) -> None:
    def order(**typed: object) -> cli.Configuration:
        command = cli.Train(data=["a.tif"], output="m", preset=name, patch=64, **typed)
        return command.configuration("tiff", "YX")

    plain = cli.Configuration(data_config={"data_type": "tiff"})
    assert order() == apply_preset(plain, name)
    assert order(batch=3).data_config.batch_size == 3
    assert order(steps=5).training_config.num_steps == 5
    epochs, minutes = order(epochs=7).training_config, order(minutes=1.5).training_config
    assert (epochs.num_steps, epochs.num_epochs, epochs.max_minutes) == (None, 7, None)
    assert (minutes.num_steps, minutes.max_minutes) == (None, 1.5)


def test_the_patch_fits_the_smallest_image(here: Path) -> None:
    write(here / "small.tif", 30, 70)
    order = cli.Train(data=["a.tif", "small.tif"], output="m").configuration("tiff", "YX")
    assert order.data_config.patch_size == (28, 28)


def test_several_files_and_folders(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "in" / "b.tif", 32, 32, seed=1)
    write(here / "in" / "deep" / "c.tiff", 32, 48, seed=2)
    assert main(["train", "a.tif", "in", "-o", "model", *QUICK]) == 0
    assert main(["predict", "model", "a.tif", "in", "-o", "flat"]) == 0
    assert sorted(path.name for path in (here / "flat").iterdir()) == [
        "a.tiff",
        "b.tiff",
        "c.tiff",
    ]
    assert main(["predict", "model", "in", "-o", "tree"]) == 0
    assert tiff.inspect(here / "tree" / "deep" / "c.tiff")[0].shape == (32, 48)
    assert (here / "tree" / "b.tiff").is_file()
    assert told(capsys)[1:] == ["Results: flat", "Results: tree"]


@pytest.mark.parametrize(
    "name", ["a, b", "x[1]", "[x]", "{x}", '"q"', 'a"b', "a b", "1", "None", "null", "a=b", "%s"]
)
def test_paths_are_taken_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    seen: list[cli.Train | cli.Predict] = []
    monkeypatch.setattr(cli.Train, "run", lambda self: seen.append(self) or 0)
    monkeypatch.setattr(cli.Predict, "run", lambda self: seen.append(self) or 0)
    assert main(["train", name, "-o", name]) == 0
    assert main(["predict", name, "z.tif", name, "-o", name, "--channels", "2,0"]) == 0
    train, predict = seen
    assert (train.data, train.output) == ([name], Path(name))
    assert (predict.model, predict.output) == (Path(name), Path(name))
    assert predict.data == ["z.tif", name]
    assert predict.channels == [2, 0]
    assert main(["train", f"none, {name}", "-o", "m", "--batch", f"1,{name}"]) == 2
    assert capsys.readouterr().err == f"careamist: --batch 1,{name} should be a valid integer.\n"


def test_other_axes_and_channels(here: Path, model: Path) -> None:
    image = write(here / "tcyx.tif", 2, 3, 24, 20, axes="TCYX")
    arguments = ["predict", str(model), str(image), "-o", "out", "--axes", "TCYX"]
    assert main([*arguments, "--channels", "1"]) == 0
    assert tiff.inspect(here / "out" / "tcyx.tiff")[0].shape in {(2, 1, 24, 20), (2, 24, 20)}
    (expected,), _ = CAREamist(checkpoint_path=model, enable_progress_bar=False).predict(
        tifffile.imread(image)[:, 1], axes="TYX"
    )
    got = tifffile.imread(here / "out" / "tcyx.tiff").reshape(expected.shape)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_existing_results_are_replaced_only_on_request(
    here: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", str(model), "a.tif", "-o", "out"]
    assert main(arguments) == 0
    first = (here / "out" / "a.tiff").read_bytes()
    write(here / "a.tif", 48, 40, seed=9)
    capsys.readouterr()
    assert main(arguments) == 1
    (line,) = told(capsys)
    assert re.fullmatch(r"careamist: .*a\.tiff is already there\. .+", line)
    assert (here / "out" / "a.tiff").read_bytes() == first
    assert main([*arguments, "--overwrite", "replace"]) == 0
    assert (here / "out" / "a.tiff").read_bytes() != first


def test_a_second_training_keeps_the_first(here: Path) -> None:
    for _ in range(2):
        assert main(["train", "a.tif", "-o", "model", *QUICK]) == 0
    assert len(list((here / "model").rglob("last.ckpt"))) == 2


def test_the_environment_is_not_read(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("TRAIN", "PREDICT", "DEMO", "VERSION"):
        monkeypatch.setenv(name, "1")
    assert main(["train", "a.tif", "-o", "model", *QUICK]) == 0
    assert told(capsys) == [f"Model after 2 steps: {Path('model/checkpoints/careamist_1')}"]


# -- every format ---------------------------------------------------------------------------


def noise(*shape: int, dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(list(shape)).poisson(100, shape).astype(dtype)


@pytest.fixture
def formats(here: Path) -> Path:
    """The current folder, with an image of each format."""
    write(here / "volume.tif", 9, 24, 24, axes="ZYX")
    group = zarr.open_group(here / "store.zarr", mode="w")
    for name in ("one", "two"):
        group.create_array(name, data=noise(40, 40), chunks=(16, 16), dimension_names=("y", "x"))
    group.create_group("deep").create_array("three", data=noise(3, 32, 32), chunks=(1, 32, 32))
    np.save(here / "array.npy", noise(40, 32))
    (here / "picture.png").write_bytes(imagecodecs.png_encode(noise(40, 40, dtype="uint8")))
    with create_czi(str(here / "scenes.czi")) as file:
        for scene, t in np.ndindex(2, 3):
            file.write(noise(40, 40), (scene * 100, 0), {"T": t}, scene=scene)
    return here


@pytest.mark.parametrize(
    ("source", "axes", "results"),
    [
        ("store.zarr", "YX", ["store_one.zarr", "store_two.zarr"]),
        ("file://{here}/store.zarr/two", "YX", ["store_two.zarr"]),
        ("array.npy", "YX", ["array.tiff"]),
        ("picture.png", "YX", ["picture.tiff"]),
        ("scenes.czi", "SCYX", ["scenes_0.tiff", "scenes_1.tiff"]),
        ("scenes.czi@1", "SCYX", ["scenes_1.tiff"]),
    ],
)
def test_each_format_trains_and_predicts(
    formats: Path, source: str, axes: str, results: list[str]
) -> None:
    source = source.format(here=formats.as_posix())
    assert main(["train", source, "-o", "m", *QUICK]) == 0
    assert CAREamist(checkpoint_path=formats / "m").config.data_config.axes == axes
    assert main(["predict", "m", source, "-o", "out"]) == 0
    assert sorted(path.name for path in (formats / "out").iterdir()) == results


def test_time_as_depth_makes_volumes(formats: Path) -> None:
    assert main(["train", "scenes.czi", "--axes", "SCTYX", "-o", "m", *QUICK]) == 1  # 3 planes
    with create_czi(str(formats / "long.czi")) as file:
        for t in range(9):
            file.write(noise(24, 24), (0, 0), {"T": t})
    assert main(["train", "long.czi", "--axes", "SCTYX", "-o", "m", *QUICK]) == 0
    assert CAREamist(checkpoint_path=formats / "m").config.data_config.patch_size == (8, 16, 16)


@pytest.mark.parametrize(("method", "channels"), [("care", (1,)), ("n2n", (1, 0))])
def test_targets_and_validation_images(here: Path, method: str, channels: tuple[int, ...]) -> None:
    for folder in ("noisy", "clean", "val", "val_clean"):
        for name in ("a.tif", "b.tif"):
            write(here / folder / name, 2, 24, 24, seed=len(folder), axes="CYX")
    arguments = f"train noisy -o m --algorithm {method} --target clean --channels".split()
    arguments.append(",".join(map(str, channels)))
    val = ["--val", "val", "--val-target", "val_clean"]
    assert main([*arguments, *val, *QUICK]) == 0
    config = CAREamist(checkpoint_path=here / "m").config
    assert config.algorithm_config.algorithm == method
    assert config.data_config.channels == channels


# -- info -----------------------------------------------------------------------------------


def test_info_tells_of_each_image(formats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "volume.tif", "scenes.czi", "array.npy", "picture.png"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    volume, first, second, array, picture = captured.out.strip().split("\n\n")
    lines = volume.splitlines()
    assert lines[0] == "volume.tif"
    assert "  Format      TIFF" in lines
    assert "  Shape       9 × 24 × 24 (ZYX)" in lines
    assert "  Pixel size  0.25 × 0.25 µm (YX)" in lines
    assert any(re.fullmatch(r"  Intensity   \S+ to \S+, mean \S+", line) for line in lines)
    assert first.startswith("scenes.czi@0\n")
    assert second.startswith("scenes.czi@1\n")
    assert "3 × 1 × 40 × 40 (SCYX)" in second
    assert "NumPy" in array
    assert "PNG" in picture
    assert all(len(line) <= 80 for line in captured.out.splitlines())


def test_info_lists_what_can_be_chosen(formats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "store.zarr"]) == 0
    *images, others = capsys.readouterr().out.strip().split("\n\n")
    assert [text.splitlines()[0].rpartition("/")[2] for text in images] == ["one", "two"]
    assert re.search(r"  file://store\.zarr/deep/three  \(3 × 32 × 32\)$", others)
    group = zarr.open_group(formats / "empty.zarr", mode="w")
    assert main(["info", "empty.zarr"]) == 1
    assert "Nothing else is there" in capsys.readouterr().err
    group.create_group("a").create_array("b", data=noise(8, 8))
    assert main(["info", "empty.zarr"]) == 0
    assert "none directly in it" in (text := capsys.readouterr().out)
    assert re.search(r"empty\.zarr/a/b  \(8 × 8\)", text)


def test_info_goes_on_after_a_bad_file(formats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (formats / "text.tif").write_text("no pixels")
    (formats / "cut.npy").write_bytes((formats / "array.npy").read_bytes()[:200])
    assert main(["info", "none.tif", "text.tif", "cut.npy", "a.tif", "notes.doc"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("a.tif\n")
    errors = captured.err.splitlines()
    assert len(errors) == 4
    for name, line in zip(("none.tif", "text.tif", "cut.npy", "notes.doc"), errors, strict=True):
        assert line.startswith("careamist: ")
        assert name in line


def test_info_on_a_folder_of_several_formats(
    formats: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (formats / "broken.czi").write_bytes(b"no")
    assert main(["info", ".", "--no-pixels"]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "broken.czi" in captured.err
    titles = [text.splitlines()[0] for text in captured.out.strip().split("\n\n")]
    assert [Path(title).name for title in titles][:3] == ["a.tif", "array.npy", "picture.png"]
    assert "Intensity" not in captured.out


def test_info_shows_where_pixels_are_broken(
    formats: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (chunk,) = (formats / "store.zarr" / "one" / "c" / "0").glob("0")
    chunk.write_bytes(b"broken")
    assert main(["info", "store.zarr/one"]) == 1
    text = capsys.readouterr().out
    assert "40 × 40 (YX)" in text
    assert "Attention" in text
    assert "c/0/0" in text.replace("\n", "").replace(" ", "")


def test_info_takes_axes(formats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "volume.tif", "--axes", "TYX"]) == 0
    assert "9 × 24 × 24 (TYX)" in capsys.readouterr().out
    assert main(["info", "scenes.czi@0", "--axes", "SCTYX"]) == 0
    assert "1 × 1 × 3 × 40 × 40 (SCTYX)" in capsys.readouterr().out
    assert main(["info", "a.tif", "volume.tif", "--axes", "TYX"]) == 1
    captured = capsys.readouterr()
    assert re.fullmatch(r"careamist: a\.tif: --axes 'TYX' names 3 .*\n", captured.err)
    assert captured.out.startswith("volume.tif")


def test_info_prints_what_a_terminal_cannot(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (here / "out.txt").open("w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert main(["info", "a.tif"]) == 0
    assert "48 ? 40 (YX)" in (here / "out.txt").read_text("ascii")


# -- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        # what cannot be used
        ("train a.tif", 2, r"the following arguments are required: -o/--output\. .*train --help"),
        ("train -o m", 2, r"the following arguments are required: DATA\. .*train --help"),
        ("train a.tif -o", 2, r"argument -o/--output: expected one argument\. .*"),
        ("predict m", 2, r".*required: DATA, -o/--output\. Try: careamist predict --help"),
        ("train a.tif -o m --nope 3", 2, r"unrecognized arguments: --nope 3\. .*train --help"),
        ("--nope", 2, r"unrecognized arguments: --nope\. Try: careamist --help"),
        ("bogus", 2, r".*invalid choice: 'bogus'.*train.*predict.*demo.*"),
        ("train a.tif -o m --batch 0", 2, r"--batch 0 should be greater than or equal to 1\."),
        ("train a.tif -o m --batch x", 2, r"--batch x should be a valid integer\."),
        ("train a.tif -o m --batch=1.5", 2, r"--batch 1\.5 should be a valid integer\."),
        ("train a.tif -o m --steps 0", 2, r"--steps 0 should be greater than or equal to 1\."),
        ("train a.tif -o m --epochs -1", 2, r"--epochs -1 should be greater .* 1\."),
        (
            "train a.tif -o m --steps 3 --epochs 2",
            2,
            r"Give only one of --steps, --epochs and --minutes\.",
        ),
        ("train a.tif -o m --patch 4", 2, r"--patch 4 should be greater than or equal to 8\."),
        ("train a.tif -o m --patch 9", 2, r"--patch \(9, 9\) does not fit .* multiple of 4 .*\."),
        ("train a.tif -o m --seed -1 --batch 0", 2, r"--batch 0 [^-]*\. --seed -1 [^-]*\."),
        ("train a.tif -o m --seed 9999999999", 2, r"--seed 9999999999 should be less than 2147.*"),
        ("train a.tif -o m --axes YYX", 2, r"--axes 'YYX' names an axis twice: expected .*\."),
        ("train a.tif -o m --axes YQ", 2, r"--axes 'YQ' has unknown letters Q: expected .*\."),
        ("train a.tif -o m --name a/b", 2, r"--name a/b does not fit\. Letters, digits.*\."),
        ("train a.tif -o m --device gpu", 2, r"--device gpu does not fit\. .*cpu, cuda.*\."),
        ("train a.tif -o m --algorithm best", 2, r"--algorithm best .*'n2v', 'care' or 'n2n'\."),
        (
            "predict m a.tif -o p --overwrite yes",
            2,
            r"--overwrite yes .*'error', 'skip' or 'replace'\.",
        ),
        ("predict m a.tif -o p --channels 0,x", 2, r"--channels x should be a valid integer\."),
        # what fails
        ("train none.tif -o m", 1, r"There is no file or folder none\.tif\. .+"),
        ("train a.tif -o m --preset x", 2, r"--preset x should be 'quick', .*\."),
        ("train a.tif -o m --minutes 0", 2, r"--minutes 0 should be greater than 0\."),
        ("train a.tif -o m --data-type x", 2, r"--data-type x should be 'tiff', .*\."),
        ("train empty -o m", 1, r"empty holds no file of a format that is known \(.*\)\. .+"),
        (
            "train empty -o m --data-type zarr",
            1,
            r"The folder empty holds no zarr files \(\.zarr\)\. .+",
        ),
        ("train mixed -o m", 1, r"mixed holds files of several .* --data-type \.\.\., .*"),
        ("train a.tif none.npy -o m", 1, r"There is no file or folder none\.npy\. .+"),
        ("train z.npy -o m", 1, r"z\.npy does not say what its axes are \(4 × 24 × 24\)\. .+"),
        ("train a.tif rgb.tif -o m", 1, r".*different axes \(a\.tif: YX, rgb\.tif: CYX\)\. .+"),
        ("train a.tif -o m --algorithm care --patch 16", 1, r".*target.*"),
        (
            "train a.tif -o m --target a.tif --val a.tif --patch 16",
            1,
            r".*Give --val-target with --val if .*--target.*",
        ),
        ("train a.tif -o m --channels 0 --patch 16", 2, r"--channels \(0,\) needs a C in .*"),
        ("train text.tif -o m", 1, r"text\.tif cannot be read as a TIFF .*\. .+"),
        ("train a.tif -o m --axes ZYX", 1, r"--axes 'ZYX' names 3 axes but the image has 2\. .+"),
        ("train a.tif -o m --patch 64", 1, r".*\(48, 40\) .*smaller than the patch .+"),
        (
            "train a.tif -o m --patch 16 --device cuda:9",
            1,
            r"--device 'cuda:9' was asked for, .*\. .+",
        ),
        ("train a.tif -o a.tif --patch 16", 1, r"[A-Z][a-z ]+: a\.tif.*careamist_1\."),
        ("predict empty a.tif -o p", 1, r"There is no model in empty\. Give a \.ckpt file.*"),
        ("predict none a.tif -o p", 1, r"There is no model in none\. Give a \.ckpt file.*"),
        ("predict text.tif a.tif -o p", 1, r"text\.tif is not a careamist checkpoint.*"),
        ("predict MODEL none.tif -o p", 1, r"There is no file or folder none\.tif\. .+"),
        ("predict MODEL a.tif -o p --axes CYX", 1, r"--axes 'CYX' names 3 axes .* has 2\. .+"),
        ("predict MODEL rgb.tif -o p --axes CYX", 1, r"rgb\.tif has 3 channels.* --channels .*"),
    ],
)
def test_an_error_is_one_line(
    here: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    code: int,
    line: str,
) -> None:
    (here / "empty").mkdir()
    (here / "text.tif").write_text("no pixels")
    write(here / "rgb.tif", 3, 24, 24, axes="CYX")
    write(here / "in" / "a.tif", 24, 24)
    write(here / "mixed" / "a.tif", 24, 24)
    np.save(here / "mixed" / "b.npy", np.zeros((24, 24)))
    np.save(here / "z.npy", np.zeros((4, 24, 24)))
    given = [str(model) if word == "MODEL" else word for word in arguments.split()]
    capsys.readouterr()  # of the fixture
    assert main(given) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert re.fullmatch("careamist: " + line, captured.err.rstrip("\n"))
    assert not list(here.rglob("*.ckpt"))
    assert not (here / "p").exists()


def test_a_line_break_in_a_name_stays_within_the_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "no\nfile.tif", "-o", "m"]) == 1
    assert capsys.readouterr().err == (
        "careamist: There is no file or folder no file.tif. Check the path.\n"
    )


# -- the interrupt key ----------------------------------------------------------------------


def test_an_interrupt_outside_a_run_has_its_code(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.Train, "run", interrupted)
    assert main(["train", "a.tif", "-o", "model"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_the_interrupt_key_ends_a_training_and_keeps_the_model(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here / "big.tif", 256, 256)
    command = "train big.tif -o model --steps 100000 --patch 32 --batch 4 --device cpu"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits SIG_IGN
    try:
        with (here / "err.txt").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "careamist", *command.split()], stderr=err
            )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        patience = time.monotonic() + 120  # torch is slow to import where others compute
        while not re.search(r"[3-9]/100000 ", (here / "err.txt").read_text("utf-8")):
            assert process.poll() is None
            assert time.monotonic() < patience
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait()
    last = (here / "err.txt").read_text("utf-8").rstrip("\n").split("\n")[-1]
    stopped = re.fullmatch(
        r"Stopped\. Model after (\d+) steps: model/checkpoints/careamist_1", last
    )
    assert stopped
    (checkpoint,) = (here / "model").rglob("last.ckpt")
    assert CAREamist(checkpoint_path=checkpoint).steps_done == int(stopped[1]) >= 3
    assert "Traceback" not in (here / "err.txt").read_text("utf-8")
    assert main(["predict", "model", "big.tif", "-o", "out"]) == 0
    assert np.isfinite(tifffile.imread(here / "out" / "big.tiff")).all()


def test_options_of_a_prediction(here: Path) -> None:
    write(here / "in" / "a.tif", 40, 40, axes="YX")
    (here / "in" / "broken.tif").write_bytes(b"II*\0 nothing")
    assert main(["train", "in/a.tif", "-o", "m", *QUICK]) == 0
    typed = "--format ome-zarr --dtype input --tta all --spread --tile 32,32 --precision float32"
    assert main(["predict", "m", "in/a.tif", "-o", "out", *typed.split()]) == 0
    assert sorted(path.name for path in (here / "out").iterdir()) == [
        "a.ome.zarr",
        "a_spread.ome.zarr",
    ]
    for place in ("1/2", "2/2"):
        shared = ["--share", place, "--format", "zarr", "--overwrite", "skip"]
        assert main(["predict", "m", "in/a.tif", "-o", "shared", "--tile", "32,32", *shared]) == 0
    assert [path.name for path in (here / "shared").iterdir()] == ["a.zarr"]


def test_a_folder_with_a_bad_file_fails_after_the_others(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here / "in" / "a.tif", 40, 40, axes="YX")
    assert main(["train", "in", "-o", "m", *QUICK]) == 0
    (here / "in" / "broken.tif").write_bytes(b"II*\0 nothing")
    assert main(["predict", "m", "in", "-o", "out"]) == 1
    assert "1 of 2 images could not be restored" in capsys.readouterr().err
    assert [path.name for path in (here / "out").iterdir()] == ["a.tiff"]


@pytest.mark.parametrize("typed", ["4", "0/4", "5/4", "a/b", "1/"])
def test_a_share_is_one_of_several(capsys: pytest.CaptureFixture[str], typed: str) -> None:
    assert main(["predict", "m", "a.tif", "-o", "p", "--share", typed]) == 2
    assert "1/4, the first of four" in capsys.readouterr().err
