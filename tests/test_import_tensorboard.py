"""`vitscale import` of what TensorBoard's real writers write."""

# pyright: reportAttributeAccessIssue=false

import json
import math

import pytest
from command_line import refused, vitscale
from import_samples import CONFIG, RUNS, STEPS, check_both, error_at, imported

from vitscale.sweeps.importers.table import read_source
from vitscale.sweeps.store import Store

pytest.importorskip("tensorboard")

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary_v2
from tensorboard.summary import Writer
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def write_old(folder, name, *, last=None):
    """Scalars as PyTorch's SummaryWriter and tensorboardX write them: plain values."""
    writer = EventFileWriter(str(folder))
    for step in STEPS:
        value = last if last is not None and step == STEPS[-1] else error_at(name, step)
        for tag, number in (("val/error", value), ("train/loss", 1.5 * value)):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=number)])
            writer.add_event(Event(step=step, summary=summary))
    writer.close()


def write_new(folder, name):
    """Scalars as TensorFlow 2 and TensorBoard itself write them: tensors, described once."""
    writer = Writer(str(folder))
    for step in STEPS:
        writer.add_scalar("val/error", error_at(name, step), step)
        writer.add_scalar("train/loss", 1.5 * error_at(name, step), step)
    writer.close()


def write_hparams(folder, name):
    writer = EventFileWriter(str(folder))
    told = summary_v2.hparams_pb({**CONFIG, **RUNS[name]})
    writer.add_event(Event(summary=told))
    writer.close()


def files_of(path):
    return sorted(path.rglob("*tfevents*"))


@pytest.fixture
def logs(tmp_path):
    """Both runs with hyper-parameters in the same folder."""
    path = tmp_path / "logs"
    for name in RUNS:
        write_hparams(path / name, name)
        write_old(path / name, name)
    return path


@pytest.mark.parametrize("write", [write_old, write_new])
@pytest.mark.parametrize("beside", ["hparams", "hparams below", "hparams.yaml", "config.json"])
def test_both_runs_by_guessing_alone(tmp_path, capsys, write, beside):
    path = tmp_path / "logs"
    for name, shape in RUNS.items():
        write(path / name, name)
        config = {"model": shape, **CONFIG}
        if beside == "hparams":
            write_hparams(path / name, name)
        elif beside == "hparams below":
            write_hparams(path / name / "1700000000.1234", name)  # where PyTorch puts them
        else:
            (path / name / beside).write_text(json.dumps(config))
    check_both(imported(capsys, path), exact=False)
    _, out, _ = vitscale(capsys, "import", path, "--dry-run")
    assert "guessed to be errors or losses: val/error" in out and "(run wide)" in out


def test_a_resumed_run_has_several_files(tmp_path, capsys, logs):
    writer = EventFileWriter(str(logs / "wide"))
    for step, value in ((100, 0.25), (120, 0.2)):
        summary = Summary(value=[Summary.Value(tag="val/error", simple_value=value)])
        writer.add_event(Event(step=step, summary=summary))
    writer.close()
    found = imported(capsys, logs, "--every-point")
    wide = dict(found.loc[found["width"] == 64, ["examples", "value"]].to_numpy().tolist())
    assert len(wide) == 11
    assert (wide[6400], wide[7680]) == (0.25, pytest.approx(0.2))


def test_what_is_not_finite_diverged(tmp_path, capsys, logs):
    write_old(logs / "deep", "deep", last=math.nan)
    found = imported(capsys, logs).sort_values("width")
    assert found["status"].tolist() == ["diverged", "ok"]


def test_importing_twice_and_from_elsewhere(tmp_path, capsys, logs):
    store = tmp_path / "store"
    for written in (2, 0):
        code, out, _ = vitscale(capsys, "import", logs, "--store", store)
        assert code == 0 and f"{written} of 2 models of 2 runs written" in out
        (tmp_path / "moved").mkdir(exist_ok=True)
        logs = logs.rename(tmp_path / "moved" / "logs")
    check_both(Store.open(store).read(), exact=False)


def test_images_and_texts_are_passed_over(tmp_path, capsys, logs):
    writer = EventFileWriter(str(logs / "wide"))
    image = Summary.Image(height=1, width=1, colorspace=1, encoded_image_string=b"x")
    writer.add_event(Event(step=1, summary=Summary(value=[Summary.Value(tag="i", image=image)])))
    writer.add_event(Event(step=1, graph_def=b"\x0a\x00"))
    writer.close()
    check_both(imported(capsys, logs), exact=False)


class TestDamage:
    def test_a_log_that_is_cut_short_is_of_a_run_that_was_killed(self, tmp_path, capsys, logs):
        file = files_of(logs / "deep")[-1]
        file.write_bytes(file.read_bytes()[:-7])
        _, out, _ = vitscale(capsys, "import", logs, "--dry-run")
        assert "1 runs did not finish and were left out (--unfinished brings them): run deep" in out
        assert imported(capsys, logs)["width"].tolist() == [64]
        cut = imported(capsys, logs, "--unfinished")
        assert set(cut["width"]) == {32, 64}
        for file in files_of(logs / "wide"):
            file.write_bytes(file.read_bytes()[:-7])
        store = tmp_path / "store"
        error = refused(capsys, "import", logs, "--store", store)
        assert "holds no finished run that was measured; see --unfinished" in error
        assert not store.exists()

    @pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
    def test_damage_is_not_taken_for_the_end(self, tmp_path, capsys, logs, place):
        file = files_of(logs / "deep")[-1]
        data = bytearray(file.read_bytes())
        data[int(place * len(data))] ^= 0x10
        file.write_bytes(data)
        store = tmp_path / "store"
        error = refused(capsys, "import", logs, "--store", store)
        assert f"{file} is damaged; copy it again, or move its folder away" in error
        assert not store.exists()

    def test_no_flipped_bit_goes_unseen(self, logs):
        file = files_of(logs / "deep")[-1]
        data = file.read_bytes()
        for place in range(0, len(data), 7):
            file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(ValueError, match="is damaged"):
                read_source(logs)

    @pytest.mark.parametrize("content", [b"model: !!python/object:torch.nn.Module {}", b"a: \xff"])
    def test_a_configuration_that_is_none(self, tmp_path, capsys, content):
        write_old(tmp_path / "logs" / "a", "wide")
        file = tmp_path / "logs" / "a" / "hparams.yaml"
        file.write_bytes(content)
        error = refused(capsys, "import", tmp_path / "logs", "--dry-run")
        assert f"{file} is no plain configuration" in error and "remove or mend it" in error

    def test_no_hyperparameters_at_all(self, tmp_path, capsys):
        write_old(tmp_path / "logs" / "a", "wide")
        error = refused(capsys, "import", tmp_path / "logs", "--dry-run")
        assert "does not say width, depth, mlp_dim, heads, patch, image_size" in error
