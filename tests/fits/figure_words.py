"""What a figure says, and whether all of it can be read."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text


def shown_axes(figure: Figure):
    return [axes for axes in figure.axes if axes.axison]


def words(figure: Figure) -> list[Text]:
    """Every text that is drawn: of legends, titles, labels, notes, and ticks in view."""
    found = [text for legend in figure.legends for text in legend.get_texts()]
    found += [] if figure._suptitle is None else [figure._suptitle]  # pyright: ignore
    for axes in figure.axes:
        found += [axes.title, *axes.texts]
        if axes.axison:
            for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
                found += [axis.label, axis.get_offset_text()]
                found += [label for tick in ticks for label in (tick.label1, tick.label2)]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def check_words(figure: Figure, *, least: int = 5) -> None:
    """No words are cut at the figure's edge, cover others, or are too small to read."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    drawn = [(text, text.get_window_extent(renderer)) for text in words(figure)]
    assert len(drawn) >= least
    for text, box in drawn:
        assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1, text
        assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, text
        assert float(text.get_fontsize()) >= 7
    for (first, box), (second, other) in itertools.combinations(drawn, 2):
        assert not box.padded(-0.5).overlaps(other.padded(-0.5)), (first, second)
