"""The finder: its grid, what it asks of the compiler, its file, and how it goes on."""

import dataclasses
import itertools
import json
import types

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitscale.scaling.data.sources import source_for
from vitscale.scaling.execution import Execution
from vitscale.scaling.finder import search as search_module
from vitscale.scaling.finder.device import device_memory, parse_memory, peak_flops_per_second
from vitscale.scaling.finder.grid import (
    FIGURE_8_DEPTHS,
    FIGURE_8_MLP_DIMS,
    FIGURE_8_WIDTHS,
    grid_shapes,
    spread_out,
)
from vitscale.scaling.finder.journal import append, open_journal, read_journal
from vitscale.scaling.finder.record import Conditions, Found, Memory, Remedy
from vitscale.scaling.finder.search import Search, conditions_here
from vitscale.scaling.finder.step import (
    CompiledStep,
    OutOfMemoryError,
    compile_step,
    refusing_memory,
)
from vitscale.scaling.recipes import RECIPES
from vitscale.scaling.shape import Shape

RECIPE = dataclasses.replace(RECIPES["glyphs"], data="pixels:10", batch_size=8)
TINY = Shape(width=16, depth=1, mlp_dim=32, heads=2, patch=4)
CONDITIONS = Conditions(
    device_kind="cpu",
    devices=1,
    memory_bytes=1000,
    memory_source="asked",
    patch=4,
    image_size=16,
    channels=1,
    readout="gap",
    classes=10,
    batch_size=8,
    optimizer="adamw",
    momentum_dtype="float32",
    precision="float32",
    loss="softmax",
    layout="auto",
    remat="none",
    micro_batches=1,
    fsdp=1,
)


def memory(argument: int, temporary: int) -> Memory:
    return Memory(
        argument_bytes=argument,
        output_bytes=argument,
        alias_bytes=argument,
        temporary_bytes=temporary,
        code_bytes=7,
    )


def shapes_of(widths=(16, 32), depths=(1, 2), mlp_dims=(32, 64)) -> list[Shape]:
    return grid_shapes([f"{w}//2" for w in widths], depths, mlp_dims, patch=4)


class TestGrid:
    def test_figure_8_has_its_axes(self):
        shapes = grid_shapes(FIGURE_8_WIDTHS, FIGURE_8_DEPTHS, FIGURE_8_MLP_DIMS, patch=14)
        # 23 widths with heads, depths 24 to 56 by 8 and mlp_dims 4096 to 10240 by 512.
        assert len(shapes) == len(set(shapes)) == 23 * 5 * 13
        assert {s.head_dim for s in shapes if s.width == 1920} == {64, 80, 120, 128}

    @pytest.mark.parametrize(
        ("widths", "message"),
        [
            (["1024"], "widths: '1024' is not a width with its heads; write it as 1024//16"),
            (["1024/16"], "'1024/16' is not a width"),
            (["1024//16,"], "'1024//16,' is not a width"),
            (["0//1"], "'0//1' is not a width"),
            (["-8//2"], "'-8//2' is not a width"),
            (["1024//10"], "width=1024 is not divisible by heads=10; use 1020 or 1030"),
            ([], "widths is empty; name at least one"),
        ],
    )
    def test_widths_that_are_none_are_refused(self, widths, message):
        with pytest.raises(ValueError, match=message):
            grid_shapes(widths, [1], [32], patch=4)

    def test_sizes_that_are_none_are_refused(self):
        with pytest.raises(ValueError, match="depth=0 is not a size"):
            grid_shapes(["16//2"], [0], [32], patch=4)
        with pytest.raises(ValueError, match="mlp_dims is empty"):
            grid_shapes(["16//2"], [1], [], patch=4)

    def test_each_shape_is_the_farthest_from_those_before(self):
        shapes = shapes_of((16, 24, 64), (1, 2, 6), (32, 64))
        order = spread_out(shapes)
        assert sorted(map(str, order)) == sorted(map(str, shapes))
        assert order[0] == shapes_of()[0] and order[1] == shapes_of((64,), (6,), (64,))[0]

        def gap(shape, others):
            sizes = ("width", "depth", "mlp_dim", "heads")
            return min(
                sum(np.log(getattr(shape, n) / getattr(other, n)) ** 2 for n in sizes)
                for other in others
            )

        for k in range(1, len(order)):
            gaps = [gap(shape, order[:k]) for shape in order[k:]]
            assert gaps[0] == pytest.approx(max(gaps))


class TestDevice:
    @pytest.mark.parametrize(
        ("text", "count"),
        [("16GB", 16 * 10**9), ("80GiB", 80 * 2**30), ("1.5 tb", 15 * 10**11), ("512kib", 2**19)],
    )
    def test_amounts_of_memory(self, text, count):
        assert parse_memory(text) == count

    @pytest.mark.parametrize("text", ["16", "GB", "16 parsecs", "-1GB", "0GB", "", "1e9B"])
    def test_what_is_no_amount_is_refused(self, text):
        with pytest.raises(ValueError, match="is not an amount of memory; write it as 16GB"):
            parse_memory(text)

    def test_an_accelerator_says_its_own(self):
        stats = {"bytes_limit": 12345}
        device = types.SimpleNamespace(memory_stats=lambda: stats, platform="gpu", device_kind="X")
        assert device_memory(device, 4) == (12345, "device")

    def test_what_nobody_knows_is_asked_for(self):
        device = types.SimpleNamespace(memory_stats=lambda: None, platform="x", device_kind="X 1")
        with pytest.raises(
            ValueError, match=r"how much memory X 1 has is not known.* --memory 16GB"
        ):
            device_memory(device)

    def test_cpu_devices_share_the_machine(self):
        (device,) = jax.devices()[:1]
        one, four = device_memory(device), device_memory(device, 4)
        assert one.source == "machine"
        assert one.bytes / four.bytes == pytest.approx(4, rel=0.2)  # others take some meanwhile

    def test_the_longest_kind_gives_the_peak(self):
        assert peak_flops_per_second("NVIDIA H100 80GB HBM3", "bfloat16") == 989e12
        assert peak_flops_per_second("NVIDIA H100 PCIe", "bfloat16") == 756e12
        assert peak_flops_per_second("TPU v5 lite", "bfloat16") == 197e12
        assert peak_flops_per_second("TPU v5", "bfloat16") == 459e12
        assert peak_flops_per_second("NVIDIA H200", "float32") is None
        assert peak_flops_per_second("cpu", "bfloat16") is None


@pytest.fixture(scope="module")
def step() -> CompiledStep:
    return compile_step(TINY, RECIPE, Execution())


class TestStep:
    def test_arguments_are_the_state_and_the_batch(self, step):
        state = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(step.training.template))
        batch = 8 * (16 * 16 + 4)  # bytes of grey pixels, and an int32 label
        run = 4 * 4
        assert step.memory.argument_bytes == pytest.approx(state + batch + run, rel=0.001)
        # AdamW: parameters and two moments, updated where they lie.
        params = TINY.params(image_size=16, channels=1, classes=10)
        assert step.memory.alias_bytes == pytest.approx(3 * 4 * params, rel=0.01)

    def test_activations_are_temporary(self, step):
        # The backward pass keeps at least the MLP's hidden layer of every token.
        assert step.memory.temporary_bytes >= 8 * TINY.tokens(16) * TINY.mlp_dim * 4
        assert step.memory.peak_bytes >= step.memory.argument_bytes + step.memory.temporary_bytes

    def test_a_device_that_runs_out_is_told_from_other_errors(self):
        with pytest.raises(OutOfMemoryError, match="RESOURCE_EXHAUSTED: Out of memory"):
            with refusing_memory():
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nat 0x0")
        with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
            with refusing_memory():
                raise jax.errors.JaxRuntimeError("INTERNAL: a bug")


class TestSearch:
    """With a compiler that says 10 bytes a unit of depth x width, fewer by remat and micro-batches."""

    @pytest.fixture
    def compiled(self, monkeypatch) -> list[tuple[Shape, str, int]]:
        calls = []

        def compile_step(shape, recipe, execution):
            calls.append((shape, execution.remat, execution.micro_batches))
            need = 10 * shape.width * shape.depth // execution.micro_batches
            need //= 2 if execution.remat == "full" else 1
            return types.SimpleNamespace(memory=memory(100, need), seconds=1.5)

        monkeypatch.setattr(search_module, "compile_step", compile_step)
        monkeypatch.setattr(search_module, "images_per_second", lambda step, recipe: 42.0)
        return calls

    def search(self, limit: int) -> Search:
        conditions = dataclasses.replace(CONDITIONS, memory_bytes=limit)
        return Search(conditions=conditions, recipe=RECIPE, execution=Execution())

    def test_what_fits_is_timed_and_what_does_not_gets_a_remedy(self, compiled):
        found = {f.shape: f for f in self.search(500).run(shapes_of(), {}, seconds=60)}
        small = shapes_of((16,), (1,))
        assert [found[s].images_per_second for s in small] == [42.0, 42.0]
        # 740 bytes, 420 rematerialised.
        assert found[shapes_of((32,), (2,), (64,))[0]].remedy == Remedy(
            layout="scanned", remat="full", micro_batches=1, peak_bytes=420
        )

    def test_micro_batches_are_the_fewest_that_divide_the_batch(self, compiled):
        shape = Shape(
            width=64, depth=8, mlp_dim=64, heads=2, patch=4
        )  # 5220 bytes, 2660 with remat
        found = self.search(900).try_shape(shape)
        assert found.remedy == Remedy(
            layout="scanned", remat="full", micro_batches=4, peak_bytes=740
        )
        assert [call[1:] for call in compiled] == [("none", 1), ("full", 1), ("full", 4)]
        assert self.search(99).try_shape(shape).remedy is None  # the state alone is 100
        assert self.search(200).try_shape(shape).remedy is None  # 420 with one image at a time

    def test_what_is_larger_than_one_that_does_not_fit_is_not_tried(self, compiled):
        shapes = shapes_of((16, 32, 64, 128), (1, 2, 4, 8), (32, 64))
        found = {f.shape: f for f in self.search(700).run(shapes, {}, seconds=60)}
        left = set(shapes) - found.keys()
        assert left and all(10 * s.width * s.depth + 100 > 700 for s in left)
        assert self.search(700).open_shapes(shapes, found) == []

    def test_what_is_known_is_not_tried_again(self, compiled):
        shapes, search = shapes_of(), self.search(10**6)
        known = {f.shape: f for f in itertools.islice(search.run(shapes, {}, seconds=60), 3)}
        again = [f.shape for f in search.run(shapes, known, seconds=60)]
        assert sorted(map(str, [*known, *again])) == sorted(map(str, shapes))

    def test_with_more_memory_what_did_not_fit_is_timed(self, compiled):
        shape = shapes_of()[0]
        before = {shape: self.search(50).try_shape(shape)}
        assert before[shape].images_per_second is None
        (after,) = self.search(500).run([shape], before, seconds=60)
        assert after.images_per_second == 42.0

    def test_without_time_nothing_is_begun(self, compiled):
        assert list(self.search(500).run(shapes_of(), {}, seconds=0)) == []

    @pytest.mark.parametrize("where", ["compile", "run"])
    def test_running_out_is_recorded(self, compiled, monkeypatch, where):
        real = search_module.compile_step

        def runs_out(*arguments):
            if where == "run" or arguments[-1].remat == "full":
                return real(*arguments)
            raise OutOfMemoryError("RESOURCE_EXHAUSTED")

        def cannot_run(step, recipe):
            raise OutOfMemoryError("RESOURCE_EXHAUSTED")

        monkeypatch.setattr(search_module, "compile_step", runs_out)
        monkeypatch.setattr(search_module, "images_per_second", cannot_run)
        found = self.search(500).try_shape(TINY)
        assert found.out_of_memory == where
        assert not found.fits(10**9) and found.remedy is not None

    def test_conditions_are_those_of_this_process(self):
        found = conditions_here(RECIPE, Execution(), patch=4, classes=10, memory_bytes=1000)
        assert found == CONDITIONS


@pytest.mark.slow
def test_a_remedy_holds_when_it_is_compiled():
    plain = compile_step(TINY, RECIPE, Execution()).memory
    limit = plain.argument_bytes + plain.working_bytes // 2
    conditions = dataclasses.replace(CONDITIONS, memory_bytes=limit)
    found = Search(conditions=conditions, recipe=RECIPE, execution=Execution()).try_shape(TINY)
    assert found.images_per_second is None and found.remedy is not None
    execution = Execution(layout="scanned", remat="full", micro_batches=found.remedy.micro_batches)
    assert compile_step(TINY, RECIPE, execution).memory.peak_bytes <= limit


class TestJournal:
    FOUND = Found(shape=TINY, memory=memory(100, 50), compile_seconds=1.25, images_per_second=10.5)
    TOO_LARGE = Found(
        shape=Shape(width=64, depth=1, mlp_dim=32, heads=2, patch=4),
        memory=memory(5000, 50),
        compile_seconds=2,
        remedy=Remedy(layout="scanned", remat="full", micro_batches=2, peak_bytes=900),
    )
    RAN_OUT = Found(
        shape=Shape(width=128, depth=1, mlp_dim=32, heads=2, patch=4),
        memory=None,
        out_of_memory="compile",
        compile_seconds=0.5,
    )

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "deep" / "found.jsonl"
        assert open_journal(path, CONDITIONS) == {}
        for found in (self.FOUND, self.TOO_LARGE, self.RAN_OUT):
            append(path, found)
        return path

    def test_what_is_written_is_read(self, path):
        everything = {f.shape: f for f in (self.FOUND, self.TOO_LARGE, self.RAN_OUT)}
        assert read_journal(path) == (CONDITIONS, everything)
        assert open_journal(path, CONDITIONS) == everything

    def test_cut_anywhere_in_its_last_line_the_rest_is_kept(self, path):
        content = path.read_bytes()
        last = content.rindex(b"\n", 0, -1) + 1
        for end in {last, last + 1, (last + len(content)) // 2, len(content) - 1}:
            path.write_bytes(content[:end])
            assert self.RAN_OUT.shape not in read_journal(path).found
            known = open_journal(path, CONDITIONS)
            assert list(known) == [self.FOUND.shape, self.TOO_LARGE.shape]
            append(path, self.RAN_OUT)
            assert path.read_bytes() == content

    def test_cut_in_its_first_line_it_begins_anew(self, path):
        path.write_bytes(path.read_bytes()[:40])
        assert open_journal(path, CONDITIONS) == {}
        assert read_journal(path) == (CONDITIONS, {})

    def test_only_the_memory_asked_about_may_change(self, path):
        more = dataclasses.replace(CONDITIONS, memory_bytes=9000)
        assert len(open_journal(path, more)) == 3
        assert read_journal(path).conditions == more
        other = dataclasses.replace(CONDITIONS, batch_size=16)
        with pytest.raises(
            ValueError, match="measured with batch_size=8, and now batch_size is 16"
        ):
            open_journal(path, other)

    @pytest.mark.parametrize(
        "foreign",
        [
            b"precious",
            b"{",
            b'{"conditions": ["rain"]}',
            b"\x89PNG\r\n\x1a\n\x00\xff\xfe",
            b"first line\nsecond line",
            b'{"conditions": ["rain"]}\n{"fou',
        ],
    )
    def test_a_foreign_file_is_refused_and_left_byte_for_byte(self, tmp_path, foreign):
        path = tmp_path / "foreign"
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match=r"another kind of file|is not|expected the keys"):
            open_journal(path, CONDITIONS)
        assert path.read_bytes() == foreign

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("not json", "line 2 is not JSON"),
            ("[1]", "line 2 holds neither conditions nor a shape"),
            ('{"found": {}}', "line 2 holds neither conditions nor a shape"),
            ('{"conditions": {"patch": 4}}', "line 2: expected the keys device_kind, devices"),
        ],
    )
    def test_malformed_lines_are_named(self, path, line, message):
        first, _, rest = path.read_text().partition("\n")
        path.write_text(f"{first}\n{line}\n{rest}")
        with pytest.raises(ValueError, match=message):
            read_journal(path)

    @given(
        st.sampled_from(["compile_seconds", "images_per_second", "out_of_memory", "memory"]),
        st.sampled_from(["a", -1, True, [], {}, float("inf")]),
    )
    def test_values_of_other_kinds_are_refused(self, tmp_path_factory, name, value):
        path = tmp_path_factory.mktemp("journal") / "found.jsonl"
        entry = dataclasses.asdict(self.FOUND) | {name: value}
        conditions = {"conditions": dataclasses.asdict(CONDITIONS)}
        path.write_text(f"{json.dumps(conditions)}\n{json.dumps({'found': entry})}\n")
        with pytest.raises(
            ValueError, match=r"line 2: (.*is not what belongs there|expected the keys)"
        ):
            read_journal(path)

    def test_files_of_other_kinds_are_refused(self, tmp_path):
        other = tmp_path / "other"
        with pytest.raises(ValueError, match="does not exist; make it with: vitscale shapefinder"):
            read_journal(other)
        other.write_bytes(b"")
        with pytest.raises(ValueError, match="is empty; fill it with"):
            read_journal(other)
        other.write_bytes(b"\xff\n")
        with pytest.raises(ValueError, match="is not text"):
            read_journal(other)
        other.write_text(json.dumps({"found": dataclasses.asdict(self.FOUND)}) + "\n")
        with pytest.raises(ValueError, match="does not begin with its conditions"):
            read_journal(other)


class TestPixels:
    def test_batches_are_functions_of_seed_and_step(self):
        stream = source_for(RECIPE).stream
        assert stream is not None
        third = next(stream(2, 0, 1))
        assert third.images.shape == (8, 16, 16, 1) and third.images.dtype == np.uint8
        again = next(itertools.islice(stream(0, 0, 1), 2, None))
        np.testing.assert_array_equal(third.images, again.images)
        assert set(third.labels) <= set(range(10))
        other = source_for(dataclasses.replace(RECIPE, seed=1)).stream
        assert other is not None and (next(other(2, 0, 1)).images != third.images).any()

    @pytest.mark.parametrize("data", ["pixels:", "pixels:0", "pixels:many"])
    def test_pixels_without_classes_are_refused(self, data):
        with pytest.raises(ValueError, match="without their classes; write it as pixels:1000"):
            source_for(dataclasses.replace(RECIPE, data=data))
