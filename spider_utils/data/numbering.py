"""Label maps that other tools have numbered, told by name: many of their numbers are SPIDER's, and mean something else.

SPIDER numbers vertebrae from below, L5 is 1 (van der Graaf et al., Sci Data 11, 264, 2024); a lumbar volume shows ten
at most, one or two of them partly. TotalSpineSeg numbers L1 to L5 as 41 to 45 and L5/S1 as 100 (README of version
20241121 and later, github.com/neuropoly/totalspineseg), earlier L5 to L1 as 18 to 22 and the canal as 201 (README at
0284d94). SPINEPS writes subregions, the canal as 61 and all discs as 100, and vertebrae from C1 = 1 to L5 = 24, discs
100 and endplates 200 more (README at 0cff0ae, github.com/Hendrik-code/spineps).
"""

import numpy as np

from spider_utils.common.errors import SpiderError
from spider_utils.data.labels import four_classes

MOST_VERTEBRAE, MOST_IN_PART = 10, 2  # of a lumbar volume in SPIDER's numbers


def _span(*ends: int) -> frozenset[int]:
    """Return the numbers from the first to the second end, from the third to the fourth, and so on."""
    return frozenset(n for first, last in zip(ends[::2], ends[1::2], strict=True) for n in range(first, last + 1))


FOREIGN = {
    "TotalSpineSeg": _span(1, 2, 11, 17, 21, 32, 41, 46, 50, 50, 63, 67, 71, 82, 91, 95, 100, 100),
    "TotalSpineSeg of 2024": _span(18, 41, 92, 92, 200, 224),
    "SPINEPS (subregions)": _span(26, 26, 41, 50, 60, 62, 100, 100),
    "SPINEPS (vertebrae)": _span(1, 28, 101, 128, 201, 228),
}


def refuse_foreign(values: np.ndarray) -> None:
    """Raise SpiderError where label values cannot be SPIDER's numbers or classes 0..3; it names who numbers so.

    `score`, `check` and the readers of data ask here, so that they say the same.
    """
    found = {int(value) for value in values} - {0}
    vertebrae, in_part = found & _span(1, 25), found & _span(101, 125)
    between = found & _span(26, 99, 200, 200)
    if between or len(in_part) > MOST_IN_PART or (vertebrae and min(vertebrae) > MOST_VERTEBRAE):
        tools = " or ".join(name for name, numbers in FOREIGN.items() if found <= numbers)
        shown = ", ".join(str(value) for value in sorted(between or in_part or vertebrae)[:5])
        raise SpiderError(
            f"label map: expected SPIDER's numbers (vertebrae 1..{MOST_VERTEBRAE} from below, canal 100, discs 201..), "
            f"found {shown}, {f'as {tools} numbers' if tools else 'as another tool numbers'}; renumber this label map"
        )
    four_classes(values)
