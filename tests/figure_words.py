"""Where the words of a figure stand, and whether they keep apart."""

import itertools


def words_on(monkeypatch, module, draw):
    """Text and place of all words of the figure that ``draw()`` lets `module` save, in pixels, and the figure's box."""
    drawn = []
    monkeypatch.setattr(module, "save_figure", lambda sheet, path, **_: drawn.append(sheet.figure))
    draw()
    figure = drawn[-1]
    figure.draw_without_rendering()
    words = list(figure.texts)
    for axes in figure.axes:
        words += axes.texts
        if axes.axison:
            words += [axes.xaxis.label, axes.yaxis.label, *_ticks(axes.xaxis, 0), *_ticks(axes.yaxis, 1)]
    renderer = figure.canvas.get_renderer()
    return [(word.get_text(), word.get_window_extent(renderer)) for word in words if word.get_text()], figure.bbox


def _ticks(axis, coordinate):
    """The labels that are seen: those within the limits of the axis."""
    low, high = sorted(axis.get_view_interval())
    labels = (label for label in axis.get_ticklabels() if label.get_visible())
    return [label for label in labels if low <= label.get_position()[coordinate] <= high]


def assert_apart(places, page):
    """No word leaves the page, and no two lie over each other; lines of text may touch by a pixel."""
    for text, box in places:
        inside = box.x0 >= page.x0 and box.y0 >= page.y0 and box.x1 <= page.x1 and box.y1 <= page.y1
        assert inside, f"{text!r} leaves the page: {box}"
    for (text, box), (other, place) in itertools.combinations(places, 2):
        width = min(box.x1, place.x1) - max(box.x0, place.x0)
        height = min(box.y1, place.y1) - max(box.y0, place.y0)
        assert width < 1 or height < 2, f"{text!r} over {other!r}"
