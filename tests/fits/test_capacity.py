"""What a device holds and how fast it is, between the shapes that were tried on it."""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from vitscale.fits.answer import Setting, answer
from vitscale.fits.device.capacity import Capacity, read_capacity
from vitscale.fits.device.choice import duration, shown_bytes
from vitscale.fits.device.table import rows, table_lines
from vitscale.fits.plots.device_map import device_map_figure
from vitscale.fits.rounding import round_shape
from vitscale.fits.rule import published_rule
from vitscale.scaling.finder.journal import append, open_journal
from vitscale.scaling.finder.record import Conditions, Found, Memory, Remedy
from vitscale.scaling.shape import Shape

CONDITIONS = Conditions(
    device_kind="NVIDIA H200",
    devices=2,
    memory_bytes=20 * 10**9,
    memory_source="asked",
    patch=14,
    image_size=224,
    channels=3,
    readout="gap",
    classes=1000,
    batch_size=64,
    optimizer="adafactor",
    momentum_dtype="bfloat16",
    precision="bfloat16",
    loss="sigmoid",
    layout="auto",
    remat="none",
    micro_batches=2,
    fsdp=1,
)
PEAK = 989e12


def grid(
    widths=(512, 768, 1024, 1536), depths=(8, 16, 32), mlp_dims=(2048, 4096), heads: int = 0
) -> list[Shape]:
    """Heads of 64 channels, unless their number is given."""
    return [
        Shape(width=w, depth=d, mlp_dim=m, heads=heads or w // 64, patch=14)
        for w, d, m in itertools.product(widths, depths, mlp_dims)
    ]


def peak_bytes(shape: Shape) -> int:
    """A law that the memory model can follow: 16 images of 256 tokens at a time."""
    params = shape.params(image_size=224, classes=1000)
    tokens = 16 * 256
    block = 14 * tokens * shape.width + 4 * tokens * shape.mlp_dim
    block += 4 * 16 * shape.heads * 256**2
    return 9 * params + shape.depth * block + 6 * tokens * shape.mlp_dim


def images_per_second(shape: Shape) -> float:
    """40% of the peak of two devices."""
    forward = shape.forward_flops(image_size=224, classes=1000, counting="2mac")
    return 0.4 * 2 * PEAK / (3 * forward)


def tried(
    shapes: list[Shape], *, limit: int = CONDITIONS.memory_bytes, peak: Callable = peak_bytes
) -> Capacity:
    found = {}
    for shape in shapes:
        memory = Memory(
            argument_bytes=10**6,
            output_bytes=10**6,
            alias_bytes=10**6,
            temporary_bytes=peak(shape) - 10**6,
            code_bytes=0,
        )
        one = Found(shape=shape, memory=memory, compile_seconds=2.0)
        if one.fits(limit):
            one = dataclasses.replace(one, images_per_second=images_per_second(shape))
        found[shape] = one
    return Capacity(dataclasses.replace(CONDITIONS, memory_bytes=limit), found)


class TestVerdict:
    def test_the_memory_model_finds_the_law_between(self):
        capacity = tried(grid())
        for shape in grid((640, 1280), (12, 24), (3072, 6144)):
            verdict = capacity.verdict(shape)
            assert verdict.peak_bytes == pytest.approx(peak_bytes(shape), rel=1e-6)
            assert verdict.fits == (peak_bytes(shape) <= 20e9)
        assert capacity.memory_model is not None and capacity.memory_model.error is not None
        assert capacity.memory_model.error < 1e-3

    def test_its_error_is_that_of_what_was_left_out(self):
        # Memory that depends on depth alone, as the model cannot have it.
        crooked = lambda shape: int(1e9 * (1 + math.sin(shape.depth)) + 2e8)  # noqa: E731
        shapes = grid()[:9]
        model = tried(shapes, peak=crooked).memory_model
        assert model is not None
        logs = []
        for out in shapes:
            others = tried([s for s in shapes if s != out], peak=crooked).memory_model
            assert others is not None
            logs.append(math.log(others.bytes(out) / crooked(out)))
        assert model.error == pytest.approx(math.expm1(np.sqrt(np.mean(np.square(logs)))))
        few = tried(shapes[:2]).memory_model
        assert few is not None and few.error is None

    @given(st.lists(st.sampled_from(grid()), min_size=1, max_size=12, unique=True))
    def test_larger_fits_and_smaller_does_not_before_any_estimate(self, chosen):
        limit, names = 8 * 10**9, ("width", "depth", "mlp_dim", "heads")
        capacity = tried(chosen, limit=limit)
        for shape in set(grid()) - set(chosen):
            above = [s for s in chosen if all(getattr(s, n) >= getattr(shape, n) for n in names)]
            below = [s for s in chosen if all(getattr(s, n) <= getattr(shape, n) for n in names)]
            verdict = capacity.verdict(shape)
            if any(peak_bytes(s) <= limit for s in above):
                assert (verdict.fits, verdict.basis) == (True, "implied")
            elif any(peak_bytes(s) > limit for s in below):
                assert (verdict.fits, verdict.basis) == (False, "implied")
            else:
                assert verdict.basis == "estimated"

    def test_a_shape_that_ran_out_does_not_fit_whatever_the_compiler_said(self):
        shape = grid()[0]
        capacity = tried([shape])
        ran_out = dataclasses.replace(
            capacity.found[shape], out_of_memory="run", images_per_second=None
        )
        verdict = Capacity(CONDITIONS, {shape: ran_out}).verdict(shape)
        assert (verdict.fits, verdict.basis) == (False, "measured")


class TestPace:
    def test_at_one_utilisation_everywhere_speed_follows_flops(self):
        capacity = tried(grid())
        for shape in grid((640,), (12,), (3072,)):
            pace = capacity.pace(shape)
            assert pace is not None and not pace.measured
            assert pace.images_per_second == pytest.approx(images_per_second(shape))
            assert pace.error == pytest.approx(0, abs=1e-9)
        measured = capacity.pace(grid()[0])
        assert measured is not None and measured.measured and measured.error is None

    def test_between_two_rates_lies_the_nearer_one_first(self):
        slow, fast = grid((512, 1024), (8,), (2048,))
        found = tried([slow, fast]).found
        doubled = dataclasses.replace(
            found[fast], images_per_second=2 * (found[fast].images_per_second or 0)
        )
        capacity = Capacity(CONDITIONS, {slow: found[slow], fast: doubled})
        (between,) = grid((896,), (8,), (2048,))
        near, far = math.log(1024 / 896), math.log(896 / 512)
        weight = near**-2 / (near**-2 + far**-2)
        pace = capacity.pace(between)
        assert pace is not None and pace.error is None  # two tell no error
        assert pace.images_per_second == pytest.approx(images_per_second(between) * 2**weight)

    def test_without_a_timed_shape_none_is_known(self):
        assert tried(grid()[:3], limit=10**6).pace(grid()[5]) is None


class TestAnswer:
    RULE = published_rule("sovit-figure1")
    SETTING = Setting(heads=16)

    def test_where_the_optimum_fits_nothing_changes_but_the_time(self):
        capacity = tried(grid((768, 2048), (8, 64), (1024, 8192), heads=16), limit=10**13)
        with_device = answer(self.RULE, 1e21, self.SETTING, capacity=capacity)
        without = answer(self.RULE, 1e21, self.SETTING)
        assert with_device.shape == without.shape and with_device.warnings == without.warnings
        device = with_device.device
        assert device is not None and device.images_per_second is not None
        assert device.seconds == pytest.approx(with_device.images / device.images_per_second)
        # 40% of two devices: FLOPs that XLA counts are a few per cent more than matrix products.
        assert device.seconds == pytest.approx(1e21 / (0.8 * PEAK), rel=0.05)
        assert "device" in with_device.to_dict() and without.to_dict()["device"] is None
        assert any("days at" in line and "images/s" in line for line in with_device.lines())

    def test_where_it_does_not_the_nearest_that_does_is_taken(self):
        # With two numbers of heads for a width, memory of attention is told from that of width.
        capacity = tried(grid() + grid(heads=16), limit=5 * 10**9)
        unbounded = answer(self.RULE, 1e22, self.SETTING)
        found = answer(self.RULE, 1e22, self.SETTING, capacity=capacity)
        assert peak_bytes(unbounded.shape) > 5e9 >= peak_bytes(found.shape)
        assert any(
            "does not fit 2 x NVIDIA H200 with 5 GB; this is the nearest that does" in warning
            for warning in found.warnings
        )
        # The budget stays the same: a smaller shape is trained on more images.
        assert found.images * found.forward_flops == pytest.approx(
            unbounded.images * unbounded.forward_flops
        )

    def test_where_none_does_that_is_said(self):
        with pytest.raises(
            ValueError, match=r"no shape near the optimum \(width .* fits 2 x NVIDIA"
        ):
            answer(self.RULE, 1e22, self.SETTING, capacity=tried(grid()[:1], limit=10**7))

    def test_another_model_than_was_tried_is_refused(self):
        with pytest.raises(
            ValueError, match=r"tried with patch=14, but the model has patch=16; run"
        ):
            answer(self.RULE, 1e21, Setting(patch=16), capacity=tried(grid()))
        both = r"or ask with --patch 14 --image-size 224$"
        with pytest.raises(ValueError, match=both):
            answer(self.RULE, 1e21, Setting(patch=16, image_size=32), capacity=tried(grid()))

    def test_outside_the_measured_sizes_estimates_are_said_to_be_extrapolated(self):
        small = tried(grid((512, 768), (8,), (2048, 4096), heads=16), limit=10**13)
        found = answer(self.RULE, 1e21, self.SETTING, capacity=small)
        assert found.shape.depth > 8 and found.shape.width > 768
        for what in ("memory", "speed"):
            (warning,) = (w for w in found.warnings if w.startswith(f"{what} on the device"))
            assert f"width={found.shape.width} (measured: 512-768)" in warning
            assert f"depth={found.shape.depth} (measured: 8)" in warning
            assert re.search(r"leaving one out at a time, is ±\d+%$", warning)
        two = dataclasses.replace(small, found=dict(list(small.found.items())[:2]))
        warnings = answer(self.RULE, 1e21, self.SETTING, capacity=two).warnings
        assert sum(w.endswith("is unknown") for w in warnings) == 2


def test_rounding_takes_the_nearest_of_all_that_are_accepted():
    sizes = {"width": 40.0, "depth": 6.3, "mlp_dim": 100.0}
    accept = lambda shape: shape.width * shape.depth * shape.mlp_dim < 9000  # noqa: E731
    found = round_shape(sizes, patch=4, image_size=16, head_dim=4, accept=accept)

    def distance(width, depth, mlp_dim):
        mac = lambda w, d, m: d * w * (4 * w + 2 * 16 + 2 * m)  # noqa: E731
        moved = zip((width, depth, mlp_dim), sizes.values(), strict=True)
        cost = math.log(mac(width, depth, mlp_dim) / mac(*sizes.values()))
        return cost**2 + sum(math.log(a / b) ** 2 for a, b in moved)

    everything = itertools.product(range(4, 41, 4), range(1, 7), range(16, 97, 16))
    accepted = [s for s in everything if math.prod(s) < 9000]
    assert (found.width, found.depth, found.mlp_dim) == min(accepted, key=lambda s: distance(*s))
    with pytest.raises(ValueError, match="may be taken; give a smaller budget or allow larger"):
        round_shape(sizes, patch=4, image_size=16, accept=lambda shape: False)


class TestTable:
    def test_rows_say_what_is_measured_and_what_is_not(self):
        shapes = grid()
        capacity = tried(shapes[::2], limit=9 * 10**9)
        table = rows(capacity, shapes, peak_flops_per_second=PEAK)
        for row in table:
            assert (row.found is not None) == (row.shape in capacity.found)
            assert (row.pace is not None) == row.verdict.fits
            if row.utilisation is not None:
                assert row.utilisation == pytest.approx(0.4)
        text = "\n".join(table_lines(capacity, table))
        fitting = sum(row.verdict.fits for row in table)
        assert f"{fitting} of 24 shapes fit 2 x NVIDIA H200 with 9 GB each (as asked)" in text
        assert "12 of them were not tried" in text and "40.0%" in text

    def test_without_a_known_peak_there_is_no_utilisation(self):
        capacity = tried(grid())
        assert "MFU" not in "\n".join(table_lines(capacity, rows(capacity, grid())))

    def test_remedies_are_named(self):
        (shape,) = grid((512,), (8,), (2048,))
        capacity = tried([shape], limit=10**8)
        remedy = Remedy(layout="scanned", remat="full", micro_batches=4, peak_bytes=9 * 10**7)
        for given_remedy, words in (
            (remedy, "fits with layout=scanned, remat=full, micro_batches=4 (90 MB)"),
            (None, "no smaller micro-batch makes it fit"),
        ):
            one = dataclasses.replace(capacity.found[shape], remedy=given_remedy)
            with_remedy = Capacity(capacity.conditions, {shape: one})
            assert words in "\n".join(table_lines(with_remedy, rows(with_remedy, [shape])))


@pytest.mark.parametrize("quantity", ["speed", "memory"])
def test_the_map_has_a_panel_for_each_mlp_dim_and_a_dot_for_each_tried_shape(quantity):
    shapes = grid()
    capacity = tried(shapes[::2], limit=9 * 10**9)
    table = rows(capacity, shapes)
    figure = device_map_figure(table, capacity.conditions, quantity=quantity)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["mlp_dim 2048", "mlp_dim 4096"]
    assert sum(len(axes.lines) for axes in panels) == len(capacity.found)
    hatched = [c for axes in panels for c in axes.collections if c.get_hatch()]
    too_large = sum(not row.verdict.fits for row in table)
    assert sum(len(c.get_paths()) for c in hatched) == too_large > 0
    words = {text.get_text() for text in figure.legends[0].get_texts()}
    assert words == {"does not fit", "tried", "without a dot: estimated"}
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    labels = [text for axes in panels for text in axes.get_yticklabels() if text.get_visible()]
    frame = figure.bbox
    assert all(frame.x0 <= text.get_window_extent().x0 for text in labels if text.get_text())


def test_a_map_without_shapes_is_refused():
    with pytest.raises(ValueError, match="there is no shape to draw"):
        device_map_figure([], CONDITIONS)


def test_files_are_read_and_empty_ones_refused(tmp_path):
    path = tmp_path / "found.jsonl"
    open_journal(path, CONDITIONS)
    with pytest.raises(ValueError, match="holds no shape yet; run vitscale shapefinder --out"):
        read_capacity(path)
    capacity = tried(grid()[:3])
    for one in capacity.found.values():
        append(path, one)
    assert read_capacity(path) == capacity


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0.5 seconds"),
        (90, "1.5 minutes"),
        (3 * 86400 + 9000, "3.1 days"),
        (200 * 86400, "200 days"),
        (5000 * 365.25 * 86400, "5,000 years"),
    ],
)
def test_times_in_words(seconds, text):
    assert duration(seconds) == text


def test_bytes_in_words():
    assert [shown_bytes(n) for n in (5e5, 2.61e7, 1.6e10, 1.5e12)] == [
        "0.5 MB",
        "26.1 MB",
        "16 GB",
        "1,500 GB",
    ]
