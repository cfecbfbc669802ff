"""`vitscale convert`: what stands in the folder, what is resized, what is said and refused."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from safetensors import safe_open

from vitscale.commands.convert import Convert, run
from vitscale.fits.export import TARGETS as EMITTED
from vitscale.fits.export import Emission, ModelSpec, shape_from_json
from vitscale.scaling.models.resize import resize_positions
from vitscale.scaling.models.weights import (
    LAYOUTS,
    VitSpec,
    Weights,
    parameter_sizes,
    read_weights,
    write_npz,
)
from vitscale.scaling.shape import Shape

SHAPE = Shape(width=24, depth=2, mlp_dim=40, heads=3, patch=4)
SPEC = VitSpec(shape=SHAPE, image_size=12, readout="map", channels=2, classes=5)
RGB = dataclasses.replace(SPEC, channels=3)
TARGETS = get_args(get_type_hints(Convert)["to"])


@pytest.fixture
def source(tmp_path) -> Path:
    """A big_vision file, which says everything but the image size."""
    write_npz(tmp_path / "model.npz", LAYOUTS["big_vision"].write(random_weights(SPEC)))
    return tmp_path / "model.npz"


def random_weights(spec: VitSpec) -> Weights:
    random = np.random.default_rng(0)
    arrays = {
        name: random.standard_normal(size).astype(np.float32)
        for name, size in parameter_sizes(spec).items()
    }
    return Weights(spec=spec, arrays=arrays)


def convert(capsys, source: Path, target: Path, to: Any, **options) -> dict:
    """What the command prints as JSON."""
    assert run(Convert(source, target, to=to, json=True, **options)) == 0
    return json.loads(capsys.readouterr().out)


def test_there_is_a_target_for_every_layout():
    assert set(TARGETS) == set(LAYOUTS) | {"openclip"}


@pytest.mark.parametrize("to", TARGETS)
def test_the_folder_holds_weights_and_their_config(capsys, tmp_path, to: str):
    spec = RGB if to == "openclip" else SPEC
    source = tmp_path / "model.npz"
    write_npz(source, LAYOUTS["big_vision"].write(random_weights(spec)))
    told = convert(capsys, source, tmp_path / "out", to)
    out = tmp_path / "out"
    weights = out / {
        "big_vision": "model.npz",
        "openclip": "trunk/model.safetensors",
    }.get(to, "model.safetensors")
    options = {"image_size": 12, "readout": "map", "channels": spec.channels, "classes": 5}
    emission = Emission(spec=ModelSpec(shape=SHAPE, **options), folder=out)
    texts = EMITTED[{"vitscale": "json"}.get(to, to)].files(emission)
    assert set(told["written"]) == {str(weights), *(str(out / name) for name in texts)}
    assert {str(path) for path in out.rglob("*") if path.is_file()} == set(told["written"])
    assert {name: (out / name).read_text() for name in texts} == texts
    config = out / next(iter(texts))
    back = read_weights(weights.parent)
    assert back.spec.shape == SHAPE
    for name, array in back.arrays.items():
        np.testing.assert_array_equal(array, random_weights(spec).arrays[name])
    assert (back.spec.classes == 5) == (to != "huggingface")
    assert weights.stat().st_mode == config.stat().st_mode  # others may read both, or neither
    assert told["params"] == SHAPE.params(**options)


def test_openclip_takes_images_of_three_channels(source, tmp_path):
    with pytest.raises(ValueError, match="--to openclip: OpenCLIP reads images of 3 channels and"):
        run(Convert(source, tmp_path / "out", to="openclip"))
    assert not (tmp_path / "out").exists()


def test_files_are_marked_as_frameworks_ask(capsys, source, tmp_path):
    # transformers refuses safetensors that do not say which framework's tensors they hold.
    convert(capsys, source, tmp_path / "hf", "huggingface")
    with safe_open(tmp_path / "hf" / "model.safetensors", framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}
    convert(capsys, source, tmp_path / "own", "vitscale")
    assert shape_from_json((tmp_path / "own" / "shape.json").read_text()).shape == SHAPE


def test_another_image_size_resizes_the_positions_alone(capsys, source, tmp_path):
    told = convert(capsys, source, tmp_path / "out", "vitscale", image_size=22)
    assert told["image_size"] == 22
    before, after = read_weights(source), read_weights(tmp_path / "out")
    assert after.spec.image_size == 22
    for name, array in after.arrays.items():
        if name == "position":
            expected = resize_positions(before.arrays[name], 5)
            np.testing.assert_array_equal(array, expected)
        else:
            np.testing.assert_array_equal(array, before.arrays[name])


def test_an_image_with_pixels_left_over_needs_no_resizing(capsys, source, tmp_path):
    # As 384 pixels in patches of 14, whose 27 x 27 positions alone say 378.
    convert(capsys, source, tmp_path / "out", "timm", image_size=14)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_args"]["img_size"] == 14
    before, after = read_weights(source), read_weights(tmp_path / "out")
    np.testing.assert_array_equal(before.arrays["position"], after.arrays["position"])


def test_another_patch_keeps_the_image_and_resizes_kernel_and_positions(capsys, source, tmp_path):
    told = convert(capsys, source, tmp_path / "out", "vitscale", patch=6)
    assert (told["image_size"], told["shape"]["patch"]) == (12, 6)
    after = read_weights(tmp_path / "out")
    assert after.arrays["position"].shape == (1, 4, 24)
    assert after.arrays["embedding/kernel"].shape == (6 * 6 * 2, 24)


def test_lines_say_what_was_read_left_out_and_written(capsys, source, tmp_path):
    assert run(Convert(source, tmp_path / "out", to="huggingface")) == 0
    lines = capsys.readouterr().out.splitlines()
    count = SHAPE.params(image_size=12, readout="map", channels=2, classes=5)
    assert lines == [
        f"ViT with {SHAPE}: {count:,} parameters",
        "image 12 x 12 x 2, map, 5 classes",
        "note: the classifier of 5 classes is left out: SigLIP's vision model has none",
        f"wrote {tmp_path / 'out' / 'model.safetensors'}",
        f"wrote {tmp_path / 'out' / 'config.json'}",
    ]


def test_heads_are_asked_for_and_taken(capsys, source, tmp_path):
    convert(capsys, source, tmp_path / "timm", "timm")
    bare = tmp_path / "timm" / "model.safetensors"
    (tmp_path / "timm" / "config.json").unlink()
    with pytest.raises(ValueError, match="do not show the number of attention heads"):
        run(Convert(bare, tmp_path / "out", to="vitscale"))
    told = convert(capsys, bare, tmp_path / "out", "vitscale", heads=3)
    assert told["shape"]["heads"] == 3


def test_nothing_is_made_where_the_command_is_refused(source, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="kept exists already; name a new folder"):
        run(Convert(source, kept, to="timm"))
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]
    asked = Convert(source, tmp_path / "out", to="timm")
    for options, words in (
        ({"image_size": 3}, "image_size=3 is smaller than patch=4"),
        ({"patch": 0}, "patch=0 is not a size"),
        ({"heads": 4}, "heads=4, but big_vision's weights have 3"),
    ):
        with pytest.raises(ValueError, match=words):
            run(dataclasses.replace(asked, **options))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        run(Convert(tmp_path / "nowhere.npz", tmp_path / "out", to="timm"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "model.npz"]


def test_a_killed_conversion_leaves_no_folder_that_looks_whole(source, tmp_path):
    # Killed just before the config, the last file, is written.
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from vitscale.fits import export\n"
        "export.replace_text = lambda path, text: os.kill(os.getpid(), 9)\n"
        "from vitscale.commands.convert import Convert, run\n"
        "run(Convert(Path(sys.argv[1]), Path(sys.argv[2]), to='timm'))\n"
    )
    out = tmp_path / "out"
    process = subprocess.run([sys.executable, "-c", script, str(source), str(out)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert not os.path.lexists(out)
    assert run(Convert(source, out, to="timm", json=True)) == 0


def test_converting_without_resizing_does_without_jax(source, tmp_path):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from vitscale.commands.convert import Convert, run\n"
        "run(Convert(Path(sys.argv[1]), Path(sys.argv[2]), to='timm'))\n"
        "assert not {'jax', 'flax', 'torch'} & sys.modules.keys()\n"
    )
    arguments = [sys.executable, "-c", script, str(source), str(tmp_path / "out")]
    subprocess.run(arguments, check=True, capture_output=True)
