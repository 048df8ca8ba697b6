"""The PowerPoint file: 16:9, one message a slide, text of 18 points and more, speaker notes.

The same slides give the same bytes: dates are fixed, in the file's properties and in its archive.
"""

import datetime
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from pptx import Presentation
from pptx.dml.color import RGBColor
from pptx.enum.shapes import MSO_SHAPE
from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
from pptx.oxml import parse_xml
from pptx.oxml.ns import nsdecls, qn
from pptx.presentation import Presentation as Deck
from pptx.shapes.base import BaseShape
from pptx.slide import Slide as Page
from pptx.text.text import TextFrame, _Paragraph
from pptx.util import Emu, Inches, Pt

from spider_utils.common.files import atomic_path
from spider_utils.figures.style import DECK, LINE_COLOURS
from spider_utils.present.numbers import PAPER
from spider_utils.present.slides import Slide

TITLE, AUTHOR = "Lumbar spine MRI segmentation, reproduced honestly", "The spider_utils authors"
DATE = datetime.datetime(2025, 1, 1)  # of every file, so that its bytes tell its content alone
FONT = "Arial"
TITLE_POINTS, COVER_POINTS, BIG_POINTS, LINE_POINTS, CARD_POINTS, SMALLEST_POINTS = 30, 34, 44, 22, 20, 18
INK, ACCENT, QUIET, PALE = "#1A1A1A", LINE_COLOURS[0], "#666666", "#EAF2F8"
Box = tuple[float, float, float, float]  # left, top, width, height in inches

SLIDE_WIDTH, SLIDE_HEIGHT, MARGIN = 13.333, 7.5, 0.6
SCALE = 1.4  # of a figure of style.DECK
FULL = SLIDE_WIDTH - 2 * MARGIN
TITLE_BOX = (MARGIN, 0.35, FULL, 1.2)
PICTURE_BOX = (SLIDE_WIDTH - MARGIN - SCALE * DECK[0], 1.7, SCALE * DECK[0], SCALE * DECK[1])
TEXT_BOX = (MARGIN, 1.8, PICTURE_BOX[0] - MARGIN - 0.25, 5.1)
CARDS_BOX = (MARGIN, 1.75, FULL, 5.15)
COVER_TITLE_BOX, COVER_TEXT_BOX = (MARGIN, 0.9, TEXT_BOX[2], 3.5), (MARGIN, 4.55, TEXT_BOX[2], 2.3)
FOOT_BOX = (SLIDE_WIDTH - MARGIN - 2.5, 6.95, 2.5, 0.45)
BAR_BOX = (0.0, 0.0, 0.18, SLIDE_HEIGHT)
BIG_HEIGHT, GAP = 1.35, 0.15


def write_deck(slides: Sequence[Slide], path: Path | str) -> None:
    """Write the slides as a .pptx, atomically."""
    presentation = Presentation()
    _widen(presentation)
    properties = presentation.core_properties
    properties.title, properties.author, properties.last_modified_by = TITLE, AUTHOR, AUTHOR
    properties.created = properties.modified = DATE
    layout = presentation.slide_layouts.get_by_name("Title Only")
    for number, slide in enumerate(slides, start=1):
        _write_slide(presentation.slides.add_slide(layout), slide, number)
    with atomic_path(path) as temporary:
        temporary.write_bytes(_dated(presentation))


def deck_texts(path: Path | str) -> list[str]:
    """Read back all that a .pptx says, a text a slide: its boxes, then its notes."""
    texts = []
    for page in Presentation(str(path)).slides:
        frames = [shape.text_frame for shape in page.shapes if shape.has_text_frame]
        texts.append("\n".join([frame.text for frame in [*frames, page.notes_slide.notes_text_frame]]))
    return texts


def _write_slide(page: Page, slide: Slide, number: int) -> None:
    cover = number == 1
    title_box, text_box = (COVER_TITLE_BOX, COVER_TEXT_BOX) if cover else (TITLE_BOX, TEXT_BOX)
    _place(page.shapes.title, title_box)
    _paragraphs(page.shapes.title.text_frame, [slide.title], COVER_POINTS if cover else TITLE_POINTS, bold=True)
    _bar(page, QUIET if slide.backup else ACCENT)
    if slide.figure:
        _picture(page, slide.figure, slide.title, PICTURE_BOX)
    if slide.cards:
        _cards(page, slide)
    left, top, width, height = text_box
    for value, words in slide.big:
        _big(page, (left, top, width, BIG_HEIGHT), value, words)
        top, height = top + BIG_HEIGHT + GAP, height - BIG_HEIGHT - GAP
    if slide.lines:
        frame = _text_box(page, (left, top, width, height))
        _paragraphs(frame, slide.lines, LINE_POINTS)
    _foot(page, "Backup " if slide.backup else "", number)
    page.notes_slide.notes_text_frame.text = _notes(slide)


def _notes(slide: Slide) -> str:
    """Return what the speaker sees: the time, what to say, the short version, and where the numbers are from."""
    parts = [f"[{slide.seconds} seconds]"] if slide.seconds else []
    parts += [slide.notes]
    parts += [f"In the 60-second version: {slide.short}"] if slide.short else []
    places = ["the paper's Table 2" if name == PAPER else f"results/{name}" for name in slide.sources]
    parts += [f"The numbers are read from {', '.join(places)}."] if places else []
    return "\n\n".join(parts)


def _widen(presentation: Deck) -> None:
    """Make the library's 4:3 template 16:9, with its layouts' boxes, for whoever adds a slide by hand."""
    stretch = Inches(SLIDE_WIDTH) / presentation.slide_width
    presentation.slide_width, presentation.slide_height = Inches(SLIDE_WIDTH), Inches(SLIDE_HEIGHT)
    for master in presentation.slide_masters:
        for shape in [*master.placeholders, *(one for layout in master.slide_layouts for one in layout.placeholders)]:
            place = shape.left, shape.top, shape.width, shape.height
            shape.left, shape.width = (Emu(round(stretch * length)) for length in (place[0], place[2]))
            shape.top, shape.height = place[1], place[3]


def _place(shape: BaseShape, box: Box) -> None:
    shape.left, shape.top, shape.width, shape.height = (Inches(length) for length in box)


def _text_box(page: Page, box: Box) -> TextFrame:
    return page.shapes.add_textbox(*(Inches(length) for length in box)).text_frame


def _paragraphs(frame: TextFrame, texts: Sequence[str], points: float, bold: bool = False, colour: str = INK) -> None:
    """Fill a box with paragraphs, from its top, without margins; a title stands in the middle of its box."""
    frame.word_wrap = True
    frame.vertical_anchor = MSO_ANCHOR.MIDDLE if bold else MSO_ANCHOR.TOP
    frame.margin_left = frame.margin_right = frame.margin_top = frame.margin_bottom = 0
    for number, text in enumerate(texts):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        paragraph.alignment, paragraph.space_after = PP_ALIGN.LEFT, Pt(0 if bold else points / 2)
        _run(paragraph, text, points, bold, colour)


def _run(paragraph: _Paragraph, text: str, points: float, bold: bool, colour: str) -> None:
    run = paragraph.add_run()
    run.text = text
    run.font.name, run.font.size, run.font.bold = FONT, Pt(points), bold
    run.font.color.rgb = RGBColor.from_string(colour[1:])


def _big(page: Page, box: Box, value: str, words: str) -> None:
    """Write a number large, and what it is below it."""
    frame = _text_box(page, box)
    _paragraphs(frame, [value], BIG_POINTS, bold=True, colour=ACCENT)
    frame.vertical_anchor = MSO_ANCHOR.TOP
    _run(frame.add_paragraph(), words, CARD_POINTS, False, INK)


def _cards(page: Page, slide: Slide) -> None:
    """Fill the slide with cards in columns, from above, then from the left."""
    rows = -(-len(slide.cards) // slide.columns)
    left, top, full, height = CARDS_BOX
    size = ((full - GAP * (slide.columns - 1)) / slide.columns, (height - GAP * (rows - 1)) / rows)
    points = {1: COVER_POINTS, 2: LINE_POINTS, 3: CARD_POINTS}.get(rows, SMALLEST_POINTS)
    points = LINE_POINTS if slide.columns == 1 else points
    for number, (heading, sentence) in enumerate(slide.cards):
        column, row = divmod(number, rows)
        place = (left + column * (size[0] + GAP), top + row * (size[1] + GAP), *size)
        card = page.shapes.add_shape(MSO_SHAPE.RECTANGLE, *(Inches(length) for length in place))
        _fill(card, PALE)
        frame = card.text_frame
        _paragraphs(frame, [heading], points, bold=True, colour=ACCENT)
        frame.margin_left = frame.margin_right = Inches(GAP)
        _run(frame.paragraphs[0], f"  {sentence}", points, False, INK)


def _fill(shape: BaseShape, colour: str) -> None:
    shape.fill.solid()
    shape.fill.fore_color.rgb = RGBColor.from_string(colour[1:])
    shape.line.fill.background()
    shape._element.remove(shape._element.find(qn("p:style")))  # its shadow


def _bar(page: Page, colour: str) -> None:
    _fill(page.shapes.add_shape(MSO_SHAPE.RECTANGLE, *(Inches(length) for length in BAR_BOX)), colour)


def _picture(page: Page, figure: Path, message: str, box: Box) -> None:
    """Show the figure as large as its box allows, in the middle of it, with the slide's message as its description."""
    left, top, width, height = box
    with Image.open(figure) as opened:
        across, down = opened.size
    scale = min(width / across, height / down)
    place = (left + (width - scale * across) / 2, top + (height - scale * down) / 2, scale * across, scale * down)
    shape = page.shapes.add_picture(str(figure), *(Inches(length) for length in place))
    shape._element.nvPicPr.cNvPr.set("descr", message)
    shape._element.nvPicPr.cNvPr.set("name", figure.stem)


def _foot(page: Page, word: str, number: int) -> None:
    """Write the slide's number as a field, so that it stays right when slides are moved."""
    frame = _text_box(page, FOOT_BOX)
    _paragraphs(frame, [word], SMALLEST_POINTS, colour=QUIET)
    frame.paragraphs[0].alignment = PP_ALIGN.RIGHT
    field = (
        f'<a:fld {nsdecls("a")} id="{{B6F15528-21DE-4FAA-801E-634DDDAF4B2B}}" type="slidenum">'
        f'<a:rPr lang="en-GB" sz="{100 * SMALLEST_POINTS}"><a:solidFill><a:srgbClr val="{QUIET[1:]}"/></a:solidFill>'
        f'<a:latin typeface="{FONT}"/></a:rPr><a:t>{number}</a:t></a:fld>'
    )
    frame.paragraphs[0]._p.append(parse_xml(field))


def _dated(presentation: Deck) -> bytes:
    """Return the file's bytes, with every part of the archive of one date."""
    made, dated = io.BytesIO(), io.BytesIO()
    presentation.save(made)
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(dated, "w") as target:
        for part in source.infolist():
            entry = zipfile.ZipInfo(part.filename, DATE.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, source.read(part))
    return dated.getvalue()
