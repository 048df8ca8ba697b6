"""Find links of this repository's pages that lead nowhere.

    python -m tools.links

Looked at are relative links, to files and to headings; addresses on the web are not tried.
"""

import argparse
import re
import sys
from pathlib import Path

from tools.notebooks import ROOT

PAGES = ("*.md", "docs/**/*.md", "results/**/*.md", "figures/*.md", "spider_utils/weights/*.md")
LINK = re.compile(r"\]\(([^()\s]+)\)|(?:src|href)=\"([^\"]+)\"")
FENCED = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    dead = [line for page in pages() for line in dead_links(page)]
    print("\n".join(dead) if dead else "links: every one leads somewhere")
    return 1 if dead else 0


def pages(root: Path = ROOT) -> list[Path]:
    """Return the Markdown pages of the repository, each once, in order."""
    return sorted({path for pattern in PAGES for path in root.glob(pattern)})


def dead_links(page: Path) -> list[str]:
    """Say in one line each which relative links of a page name no file, or no heading of their page."""
    dead, text = [], FENCED.sub("", page.read_text(encoding="utf-8"))
    for found in LINK.finditer(INLINE.sub("", text)):
        link = found[1] or found[2]
        if re.match(r"[a-z]+:", link):
            continue
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists():
            dead.append(f"{page.name}: {link}: there is no {target.name}")
        elif heading and heading not in headings(target):
            dead.append(f"{page.name}: {link}: {target.name} has no such heading")
    return dead


def headings(page: Path) -> set[str]:
    """Return the names by which a page's headings are linked to, as GitHub makes them."""
    titles = HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


if __name__ == "__main__":
    sys.exit(main())
