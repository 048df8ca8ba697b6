"""The published figures: drawn again from the published tables, and figures/README.md, which shows them all.

    python -m tools.figures                             # what results/ alone can tell
    python -m tools.figures --slices data/released      # those with MRI, too
    python -m tools.figures --help                      # and where the others' data are named

Each is written as figures/<name>.png (300 dpi) and .svg. Figures that need a run's predictions are copied from its
folder by `python -m tools.publish`, and stay as they are here.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from spider_utils.commands.study import study_store
from spider_utils.common.files import read_json, write_text
from spider_utils.data.sources import SOURCES, find_series, read_stack
from spider_utils.evaluate.paper import PAPER_TABLE
from spider_utils.figures import draw
from spider_utils.figures.model import training_curves
from spider_utils.figures.painting import foreground_box, paint_classes, show_slices
from spider_utils.figures.reference import copied_mask
from spider_utils.figures.results import score_points
from spider_utils.figures.style import class_patches, finish, save_figure, spoken
from spider_utils.studies.copying import typical_neighbours
from tools import deck_figures
from tools.notebooks import ROOT
from tools.studies import FIGURES, is_study, publish_figure, published_figures

RESULTS = ROOT / "results"
RUN_CAPTIONS = {
    "05_dice": "Pooled Dice on unseen patients with 95 % intervals over patients, beside the paper's values.",
    "04_training_curves": "Loss, learning rate and validation IoU by epoch.",
    "06_best": "The best slice of each test patient: reference, prediction, errors.",
    "06_worst": "The worst slice of each test patient.",
    "06_by_patient": "Mean Dice of each test patient's slices.",
}
HERO, HERO_CAPTION = (
    "readme_hero",
    "A slice of T1, T2 and T2 SPACE, each beside its mask (reference); top of README.md.",
)
HERO_SERIES, HERO_MARGIN = ("7_t1", "85_t2", "34_t2_SPACE"), 30  # of the sample; pixels beside the spine
HERO_SIZE, HERO_DPI = (12.0, 4.0), 160
COPIED, COPIED_CAPTION = (
    "copied_hero",
    "A T2 SPACE slice's mask copied to the next slice, beside that one's own mask. Of all neighbouring pairs of the "
    "embedded sample's T2 SPACE slices the one shown has the median Dice (mean of vertebrae, canal and discs).",
)
COPIED_STORE = {"store_height": 320, "store_width": 256}  # the sample's own size
INTRODUCTION = """\
# Figures

Each as PNG and, for print, as SVG where that is not over a megabyte (nor drawn by an earlier run); above each group the
command that makes its data.
`python -m tools.figures` draws what the tables of results/ alone can tell, `--slices data/released` those with MRI,
too. Figures of masks come from a run's own folder (`python -m tools.publish`).

The presentation, [presentation.pptx](presentation.pptx), is built of these by `python -m tools.present`; the words and
numbers are those of results/."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=Path, help="the folder of the released slices")
    parser.add_argument("--t1-t2", type=Path, help="a folder of slices <patient>_t1.png and _t2.png, sacrum at the top")
    parser.add_argument("--volume", type=Path, help="a T2 volume of Chu et al., to be segmented")
    parser.add_argument("--errors", type=Path, help="the folder of the finished study 'errors'")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder)
        draw_studies(drawn, options.slices)
        draw_runs(drawn)
        for name, figure in presented(options).items():
            save_figure(figure, drawn, f"deck_{name}")
        save_figure(hero(), drawn, HERO, dpi=HERO_DPI)[1].unlink()  # a page needs no SVG
        numbers, images, masks = copied_pair(drawn)
        copied = copied_mask(numbers, images, masks, source="sample")
        save_figure(copied, drawn, COPIED, dpi=HERO_DPI)[1].unlink()
        save_figure(deck_figures.copied(numbers, images[1], masks), drawn, "deck_copied")
        for picture in sorted(drawn.glob("*.png")):
            publish_figure(picture, picture.stem)
    write_text(FIGURES / "README.md", gallery())
    return 0


def presented(options: argparse.Namespace) -> dict[str, Figure]:
    """Draw the presentation's own figures, of MRI those whose data are named."""
    drawn = deck_figures.table_figures(RESULTS)
    if options.slices:
        drawn |= deck_figures.slice_figures(options.slices, options.t1_t2)
    if options.volume:
        drawn["volume"] = deck_figures.segmented_volume(options.volume)
    if options.errors:
        drawn["worst"] = deck_figures.worst_slice(options.errors)
    return drawn


def hero() -> Figure:
    """Draw the README's picture: a slice of each sequence of the embedded sample beside its mask painted over it."""
    found = {series.name: series for series in find_series("sample", SOURCES["sample"].home)}
    panels = []
    for name in HERO_SERIES:
        stack = read_stack(found[name])
        middle = len(stack.image) // 2
        image, classes = stack.image[middle], stack.classes()[middle]
        box = slice(None), foreground_box(classes, margin=HERO_MARGIN)[1]
        title = f"{spoken(found[name].sequence)}, patient {found[name].patient}"
        panels += [(title, image[box]), ("its mask", paint_classes(image, classes)[box])]
    widths = [picture.shape[1] / picture.shape[0] for _, picture in panels]
    figure = show_slices(panels, HERO_SIZE, width_ratios=widths, fontsize=11)
    figure.get_layout_engine().set(w_pad=0.03, wspace=0)
    return finish(figure, source="sample", legend=class_patches())


def copied_pair(folder: Path) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """Return numbers, images and masks (2, H, W) of the neighbouring slices of the sample whose copied mask scores the
    median; its store goes to `folder`.
    """
    store = study_store(folder / COPIED, "sample", None, COPIED_STORE)
    space = store.subset(store.table["sequence"] == "T2_SPACE")
    pair = typical_neighbours(space.masks, space.table)
    assert pair is not None  # the sample's T2 SPACE slices come in runs
    rows, (first, second) = list(pair), space.table["slice_index"].iloc[list(pair)]
    return (int(first), int(second)), space.images[rows], space.masks[rows]


def draw_studies(folder: Path, slices: Path | None) -> None:
    """Draw the figures of every published study from its tables; the reference audit shows slices besides."""
    for study in sorted(path for path in RESULTS.iterdir() if path.is_dir() and is_study(path)):
        source = read_json(study / "provenance.json")["settings"]["source"]
        tables = {path.stem: pd.read_csv(path) for path in study.glob("*.csv") if path.read_text("utf-8").strip()}
        own = folder / "studies" / study.name
        if "reference_audit" not in tables:
            draw.save(draw.draw_study(tables, None, source), own)
        elif slices:
            with tempfile.TemporaryDirectory() as place:
                draw.save(draw.draw_study(tables, study_store(Path(place), source, slices, {}), source), own)
        for picture in own.glob("*.*"):
            picture.rename(folder / f"{study.name}_{picture.name}")


def draw_runs(folder: Path) -> None:
    """Draw of every published run what its tables tell: Dice beside the paper's, and the training."""
    paper = PAPER_TABLE.melt(["sequence", "class"], var_name="metric", value_name="value")
    for run in sorted(path.parent for path in RESULTS.glob("*/best.json")):
        source = read_json(run / "provenance.json")["train"]["settings"]["source"]
        test = pd.read_csv(run / "metrics.csv").query("split == 'test'")
        save_figure(score_points(test, paper, metric="dice", source=source), folder, f"{run.name}_05_dice")
        best = read_json(run / "best.json")["best"]["epoch"]
        curves = training_curves(pd.read_csv(run / "train_log.csv"), best, source=source)
        save_figure(curves, folder, f"{run.name}_04_training_curves")


def gallery() -> str:
    """Return figures/README.md: every published figure with its caption, both files and the command behind it."""
    parts = [INTRODUCTION]
    for folder in sorted(path.parent for path in RESULTS.glob("*/command.txt")):
        captions = published_figures(folder) if is_study(folder) else RUN_CAPTIONS
        if captions:
            parts += [f"## {folder.name}", f"`{(folder / 'command.txt').read_text(encoding='utf-8').strip()}`"]
            parts += [shown(f"{folder.name}_{name}", caption) for name, caption in captions.items()]
    parts += ["## README", "`python -m tools.figures --slices data/released`", shown(HERO, HERO_CAPTION)]
    parts.append(shown(COPIED, COPIED_CAPTION))
    parts += [
        "## deck",
        "`python -m tools.figures --slices data/released` (and, for three of them, other data: `--help`)",
    ]
    for name, caption in deck_figures.CAPTIONS.items():
        if (FIGURES / f"deck_{name}.png").is_file():
            parts.append(shown(f"deck_{name}", caption))
    return "\n\n".join(parts) + "\n"


def shown(name: str, caption: str) -> str:
    """Return the Markdown of one figure."""
    vector = f"[SVG]({name}.svg)" if (FIGURES / f"{name}.svg").is_file() else "(PNG alone.)"
    return f"![{caption}]({name}.png)\n\n{caption} {vector}"


if __name__ == "__main__":
    sys.exit(main())
