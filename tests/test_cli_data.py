"""`vitscale data`: what it prints, writes and refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitscale.cli import run


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VITSCALE_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def images(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def as_json(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_folder_becomes_a_data_set(home, images, capsys):
    assert run(["data", "prepare", "pets", "--from", str(images)]) == 0
    out, err = capsys.readouterr()
    assert out == (
        f"wrote {home}/pets/1.0.0: 2 classes, train 18, validation 2\n"
        f'recipes name it data = "tfds:pets"\n'
    )
    assert "20 of 20 images" in err
    assert run(["data", "info", "tfds:pets", "--json"]) == 0
    assert as_json(capsys) == {
        "data": "tfds:pets",
        "location": f"{home}/pets/1.0.0",
        "classes": 2,
        "class_names": ["cat", "dog"],
        "splits": {"train": 18, "validation": 2},
        "image_shape": [20, 24],
        "channels": 3,
        "loader": "decoded",
    }


def test_flags_reach_the_set(tmp_path, images, capsys):
    (images / "cat" / "0.png").write_bytes(b"nothing")
    flags = ["--validation", "0.5", "--max-side", "12", "--skip-corrupt", "--json"]
    command = ["data", "prepare", "pets", "--from", str(images), "--data-dir", str(tmp_path / "x")]
    assert run([*command, *flags]) == 0
    content = as_json(capsys)
    assert content["folder"] == str(tmp_path / "x" / "pets" / "1.0.0")
    assert sum(content["splits"].values()) == 19
    assert [skipped["file"] for skipped in content["skipped"]] == [str(images / "cat" / "0.png")]


def test_digits_need_no_download(home, capsys):
    assert run(["data", "digits"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"wrote {home}/digits/1.0.0"
    assert run(["data", "info", "tfds:digits"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"tfds:digits in {home}/digits/1.0.0",
        "  classes    10 (0, 1, 2, 3, 4, ...)",
        "  train      1,197 examples",
        "  validation 300 examples",
        "  test       300 examples",
        "  images     8 x 8, grey",
        "  read       decoded once into a cache, then cut and varied a batch at a time",
    ]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["info", "tfds:pets"], "data='tfds:pets' is not in "),
        (["info", "pets"], "data='pets' is unknown; name images as tfds:PLACE, folder:PLACE"),
        (["prepare", "Pets", "--from", "."], "'Pets' cannot name a TFDS data set"),
        (["prepare", "pets", "--from", "/nowhere"], "/nowhere does not exist; name a folder"),
    ],
)
def test_refusals_are_one_sentence(command, sentence, capsys):
    assert run(["data", *command]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"vitscale: {sentence}") and err.count("\n") == 1
