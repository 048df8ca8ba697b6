"""Cleaning a predicted mask by what anatomy does not have: specks, stray pieces of the canal, pinholes.

The defaults were chosen on the 622 released reference masks: each rule says how much of these it takes away. They hold
specks themselves, so whether cleaning brings a network's masks nearer to them has to be measured.
"""

from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import CLASSES
from spider_utils.masks.checks import check_classes, check_numbers
from spider_utils.masks.pieces import label_pieces, small_pieces

STATED_PIXELS = 640 * 512  # of the slice that numbers of pixels are stated for; they scale with a slice's pixels


@dataclass(frozen=True)
class CleanupSettings:
    """What is cleaned away. 0 switches a rule off; pixels are those of a slice of 640 x 512.

    There is one canal, yet a slice that does not follow it shows two pieces or more, so its pieces go by their share of
    the largest one: 1 keeps the largest alone.
    """

    vertebra_pixels: int = 50  # smaller pieces go; 0.11 % of the references' vertebra pixels
    disc_pixels: int = 50  # the same; 0.04 % of the references' disc pixels
    canal_share: float = 0.05  # of the largest piece; smaller ones go: 0.58 % of the references' canal pixels
    hole_pixels: int = 100  # background that one structure encloses is filled up to this size

    def __post_init__(self) -> None:
        check_numbers(asdict(self))
        if self.canal_share > 1:
            raise SpiderError(f"canal_share: expected 0 to 1, found {self.canal_share}")


DEFAULTS = CleanupSettings()


def clean_up(mask: np.ndarray, settings: CleanupSettings = DEFAULTS) -> np.ndarray:
    """Return a mask (H, W) uint8 of classes 0..3 without small pieces and holes; the given one stays as it is.

    Small pieces become background, then holes are filled. A pixel never goes from one structure to another: where a
    removed piece lay in another structure, its pixels stay background. Raises SpiderError on another type or shape.
    """
    mask = check_classes("mask", mask, "H, W")
    scale = mask.size / STATED_PIXELS
    cleaned = mask.copy()
    for name, pixels in (("vertebrae", settings.vertebra_pixels), ("discs", settings.disc_pixels)):
        drop_pieces(cleaned, CLASSES.index(name), smallest=pixels * scale)
    drop_pieces(cleaned, CLASSES.index("canal"), share=settings.canal_share)
    if settings.hole_pixels:
        fill_holes(cleaned, settings.hole_pixels * scale, mask == 0)
    return cleaned


def drop_pieces(mask: np.ndarray, label: int, smallest: float = 0.0, share: float = 0.0) -> None:
    """Make the pieces of one class background, in place, that have fewer pixels than `smallest`, or than `share` of
    the largest piece.
    """
    mask[small_pieces(mask == label, smallest, share)] = 0


def fill_holes(mask: np.ndarray, largest: float, fillable: np.ndarray) -> None:
    """Fill the background pieces of at most `largest` pixels that touch one class alone and not the slice's edge, in
    place, where `fillable` (H, W) bool allows it. Background belongs together that touches at a side.
    """
    pieces, sizes = label_pieces(mask == 0, corners=False)
    edge = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    candidates = sizes <= largest
    candidates[0], candidates[edge] = False, False
    boxes = ndimage.find_objects(pieces)
    for number in np.flatnonzero(candidates):
        rows, columns = boxes[number - 1]  # a piece that is not at the edge has a pixel around its box on every side
        around = slice(rows.start - 1, rows.stop + 1), slice(columns.start - 1, columns.stop + 1)
        hole = pieces[around] == number
        touched = np.unique(mask[around][ndimage.binary_dilation(hole) & ~hole])
        if len(touched) == 1:
            mask[around][hole & fillable[around]] = touched[0]
