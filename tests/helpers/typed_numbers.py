"""Numbers in running text that stand neither in results/ nor among the few that may be typed."""

import re

from spider_utils.present.numbers import DECIMAL, Numbers

BLOCKS = re.compile(r"<!-- (\w+): begin -->.*?<!-- \1: end -->", re.DOTALL)  # that the tools write
NO_WORDS = (  # code, formulas, where a link leads, headings, numbers of figures and sections
    r"(?s)```.*?```", r"`[^`]*`", r"(?s)\$\$.*?\$\$", r"\$[^$]*\$", r"\]\([^)]*\)", r"https?://\S+", r"(?m)^#+ .*$",
    r"\*\*Figure [\d.]+\*\*", r"<[^>]*>", r"(?:[Ff]igures?|[Ss]ections?|[Nn]otebooks?) [\d.]+",
)  # fmt: skip
IN_NAMES = r"\w*[A-Za-z_]\w*\d\w*|\d+[A-Za-z]\w*"  # T2, 3D, HD95
WHOLE = re.compile(r"(?<![\w.])\d{2,}(?!\w)")
CITED = {  # volumes, numbers and years of what is cited
    *("20", "100635", "11", "264", "024", "03090"),
    *(str(year) for year in range(1986, 2027)),
}  # fmt: skip


def untraced(text: str, numbers: Numbers, typed: dict[str, str]) -> list[str]:
    """Return the decimals, and the whole numbers of two digits and more, of a text of Markdown that are neither numbers
    of the registry nor typed.
    """
    text = BLOCKS.sub(" ", text)
    for pattern in NO_WORDS:
        text = re.sub(pattern, " ", text)
    known = set(typed) | numbers.typed | CITED
    told = [re.sub(r"(?<=\d),(?=\d{3})", "", DECIMAL.sub(" ", one)) for one in numbers.texts.values()]
    known |= {number for one in told for number in re.findall(r"\d+", one)}
    whole = WHOLE.findall(re.sub(IN_NAMES, " ", DECIMAL.sub(" ", text)))
    return sorted({number for number in [*numbers.strange(text), *whole] if number not in known})
