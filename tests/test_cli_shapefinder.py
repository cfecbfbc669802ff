"""`vitscale shapefinder` as a user meets it, and its file as a constraint of `vitscale shape`."""

import json
import types

import pytest
from matplotlib.image import imread

from vitscale import cli
from vitscale.commands.shapefinder import Shapefinder, run
from vitscale.scaling.finder import search
from vitscale.scaling.finder.record import Memory

TINY = {
    "widths": ("16//2", "32//2"),
    "depths": (1, 2),
    "mlp_dims": (32, 64),
    "recipe": "glyphs",
    "image_size": 16,
    "batch_size": 8,
    "classes": 10,
    "memory": "1MB",
}


def macs(width: int, depth: int, mlp_dim: int) -> int:
    return depth * width * (4 * width + 2 * mlp_dim)


@pytest.fixture
def compiled(monkeypatch) -> list:
    """A compiler that asks ten bytes for each multiply-add of a token, and no device."""
    calls = []

    def compile_step(shape, recipe, execution):
        calls.append(shape)
        need = macs(shape.width, shape.depth, shape.mlp_dim) * 10 // execution.micro_batches
        parts = dict.fromkeys(("argument", "output", "alias", "code"), 100)
        memory = Memory(**{f"{k}_bytes": v for k, v in parts.items()}, temporary_bytes=need)
        return types.SimpleNamespace(memory=memory, seconds=0.5)

    monkeypatch.setattr(search, "compile_step", compile_step)
    monkeypatch.setattr(search, "images_per_second", lambda step, recipe: 1000.0)
    return calls


def finder(tmp_path, **changes) -> Shapefinder:
    return Shapefinder(**{**TINY, "out": tmp_path / "found.jsonl", "seconds": 60, **changes})


def test_a_real_shape_is_compiled_and_timed(tmp_path, capsys):
    """One shape with the real compiler, read by `vitscale shape` afterwards."""
    one = {"widths": ("16//2",), "depths": (1,), "mlp_dims": (32,), "memory": "1GB"}
    assert run(finder(tmp_path, **one, json=True)) == 0
    out, err = capsys.readouterr()
    content = json.loads(out)
    (row,) = content["shapes"]
    assert row["fits"] and row["basis"] == "measured" and row["speed_measured"]
    assert row["images_per_second"] > 0 and row["compile_seconds"] > 0
    assert row["utilisation"] is None  # nobody says how fast a CPU can be
    # AdamW's state: parameters and two moments in float32, at the least.
    assert 3 * 4 * row["params"] < row["peak_bytes"] < 100e6
    assert content["conditions"]["memory_source"] == "asked"
    assert err.startswith("1/1 shapes, ") and "images/s" in err


def test_results_are_told_drawn_and_written_down(tmp_path, capsys, compiled):
    figure = tmp_path / "map.png"
    assert run(finder(tmp_path, figure=figure)) == 0
    out, err = capsys.readouterr()
    assert out.startswith("width//heads") and "8 of 8 shapes fit cpu with 1 MB (as asked)" in out
    assert f"wrote {figure}" in out and imread(figure).std() > 0
    lines = (tmp_path / "found.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 8 == 1 + err.count("\n") == 1 + out.count(" yes ")


def test_the_same_command_goes_on(tmp_path, capsys, compiled):
    path = tmp_path / "found.jsonl"
    run(finder(tmp_path, json=True))
    whole = json.loads(capsys.readouterr().out)["shapes"]
    content = path.read_bytes()
    cut = content[: content.rindex(b"\n", 0, -1) + 30]  # killed within its last line
    path.write_bytes(cut)
    compiled.clear()
    run(finder(tmp_path, json=True))
    out, err = capsys.readouterr()
    assert len(compiled) == 1 and err.startswith("1/1 shapes, ")
    assert json.loads(out)["shapes"] == whole and path.read_bytes() == content
    compiled.clear()
    run(finder(tmp_path, json=True))
    assert compiled == []


def test_what_time_leaves_over_is_estimated(tmp_path, capsys, compiled):
    run(finder(tmp_path, widths=("16//2",)))
    capsys.readouterr()
    run(finder(tmp_path, seconds=0))
    out, _ = capsys.readouterr()
    assert "4 of them were not tried" in out
    assert "time was up before all were tried; the same command goes on" in out


def test_where_nothing_fits_one_sentence_says_so_after_the_table(tmp_path, capsys, compiled):
    with pytest.raises(ValueError, match=r"none of the 8 shapes fits 0.02 MB; width 16, depth 1"):
        run(finder(tmp_path, memory="20kB"))
    assert "0 of 8 shapes fit cpu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"widths": ("1024",)}, "widths: '1024' is not a width with its heads"),
        ({"depths": (0,)}, "depth=0 is not a size"),
        ({"memory": "lots"}, "memory='lots' is not an amount of memory"),
        ({"recipe": "sovjet"}, "recipe='sovjet' is unknown; did you mean 'sovit'?"),
        ({"classes": 0}, "classes=0 is not a whole number from 1"),
        ({"seconds": -1}, "seconds=-1 is not a time"),
        ({"patch": 32}, "image_size=16 is smaller than patch=32"),
        ({"figure": "map.gif"}, "map.gif is no figure; name it .png, .svg or .pdf"),
        ({"micro_batches": 0}, "micro_batches=0 is not a whole number from 1"),
        ({"batch_size": 0}, "batch_size=0 is not a whole number from 1"),
    ],
)
def test_bad_flags_are_refused_before_anything_is_written(tmp_path, flags, message, compiled):
    if "figure" in flags:
        flags = {"figure": tmp_path / flags["figure"]}
    with pytest.raises(ValueError, match=message):
        run(finder(tmp_path, **flags))
    assert list(tmp_path.iterdir()) == [] and compiled == []


def test_a_file_of_other_conditions_is_refused(tmp_path, compiled):
    run(finder(tmp_path))
    with pytest.raises(ValueError, match="measured with batch_size=8, and now batch_size is 16"):
        run(finder(tmp_path, batch_size=16))


class TestShape:
    """`vitscale shape --fits`, where the optimum is too large."""

    @pytest.fixture
    def file(self, tmp_path, compiled, capsys):
        sizes = {"widths": ("512//16", "1024//16", "1536//16"), "depths": (12, 24, 36)}
        flags = {"mlp_dims": (2048, 4096), "patch": 14, "image_size": 224, "memory": "2GB"}
        run(finder(tmp_path, **sizes, **flags, recipe="sovit"))
        capsys.readouterr()
        return tmp_path / "found.jsonl"

    def test_the_shape_fits_and_its_time_is_told(self, file, capsys):
        flags = ["--flops", "1e22", "--fits", str(file)]
        assert cli.run(["shape", *flags, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        shape, device = found["shape"], found["device"]
        assert 10 * macs(shape["width"], shape["depth"], shape["mlp_dim"]) < 1.02 * 2e9
        assert device["seconds"] == pytest.approx(found["images"] / device["images_per_second"])
        assert "does not fit cpu with 2 GB" in " ".join(found["warnings"])
        assert cli.run(["shape", *flags]) == 0
        out = capsys.readouterr().out
        assert "fits cpu with 2 GB" in out and "images/s" in out

    def test_the_model_is_that_of_the_file(self, tmp_path, compiled, capsys):
        run(finder(tmp_path, patch=4, readout="map"))
        flags = ["shape", "--flops", "1e14", "--fits", str(tmp_path / "found.jsonl")]
        capsys.readouterr()
        assert cli.run([*flags, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        setting = {name: found["setting"][name] for name in ("patch", "image_size", "readout")}
        assert setting == {"patch": 4, "image_size": 16, "readout": "map"}
        assert cli.run([*flags, "--image-size", "32"]) == 2
        assert "has image_size=32; run vitscale shapefinder" in capsys.readouterr().err

    def test_other_models_and_other_files_are_refused(self, file, capsys):
        for flags, words in (
            (["--patch", "16", "--fits", str(file)], "patch=14, but the model has patch=16"),
            (["--fits", str(file) + ".not"], "does not exist; make it with: vitscale shapefinder"),
        ):
            assert cli.run(["shape", "--flops", "1e22", *flags]) == 2
            assert words in capsys.readouterr().err
