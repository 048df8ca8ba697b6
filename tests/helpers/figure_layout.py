"""What holds for every figure, whatever it shows."""

from matplotlib.figure import Figure
from matplotlib.text import Text


def check_layout(name: str, figure: Figure) -> None:
    """Assert that nothing is cut off, and that title, legend and attribution cover nothing."""
    figure.draw_without_rendering()
    outer = [*figure.texts, *figure.legends]  # title, attribution, legend
    boxes = [part.get_tightbbox() for part in [*outer, *figure.axes]]
    boxes = [box for box in boxes if box is not None and box.width > 0]
    frame = figure.bbox
    for box in boxes:
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1, f"{name}: cut at a side"
        assert frame.y0 <= box.y0 and box.y1 <= frame.y1, f"{name}: cut above or below"
    for place, box in enumerate(boxes[: len(outer)]):
        for other in boxes[place + 1 :]:
            assert not box.padded(-1).overlaps(other), f"{name}: title, legend or attribution covers something"


def texts(figure: Figure) -> list[str]:
    """Give all that is written in a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]
