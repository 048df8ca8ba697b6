"""Publish a finished run, or a study: what a reader on the web should see of it goes into results/ and figures/.

    python -m tools.publish runs/released_cpu
    python -m tools.publish runs/leakage

Writes results/<name>/ (executed notebooks with smaller pictures, metrics.csv, train_log.csv, best.json and
provenance.json, a README.md with the score table), copies the figures of RUN_CAPTIONS to figures/, and writes anew what
README.md, results/README.md and figures/README.md show of all results. Nothing is computed here: every number comes
from the run's own files.
"""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pandas as pd

from spider_utils.common.files import write_text
from spider_utils.evaluate.metrics import METRICS
from spider_utils.evaluate.paper import PAPER_TABLE
from tools.figures import RUN_CAPTIONS, gallery
from tools.front import write_front
from tools.notebooks import ROOT, cleaned, with_colab
from tools.studies import FIGURES, is_study, publish_figure, publish_study

TABLES = {
    "metrics.csv": "metrics.csv",
    "train_log.csv": "train_log.csv",
    "checkpoints/best.json": "best.json",
    "provenance.json": "provenance.json",
}
OF_THE_RUN = "0[1-6]_*.ipynb"  # the notebooks that follow show what is published anyway, whatever the run
LINK = re.compile(r"\]\(([\w./-]+)")  # relative, up to its anchor
DIGITS = {
    "dice": 3,
    "iou": 3,
    "hd95": 1,
    "asd": 2,
    "nsd_1": 3,
    "nsd_2": 3,
}  # of each metric that is shown


def score_rows(metrics: pd.DataFrame) -> list[str]:
    """Return the pooled test scores as lines of a Markdown table, with the paper's Dice where it gives one."""
    pooled = metrics.query("split == 'test' and sequence == 'all' and aggregation == 'pooled'")
    units = pooled.groupby("metric")["unit"].first()
    heads = [METRICS[name].heading(units[name]) for name in DIGITS]
    paper = PAPER_TABLE[PAPER_TABLE["sequence"] == "T2_SPACE"].set_index("class")["dice"]
    lines = [f"| structure | {' | '.join(heads)} | Dice in the paper |", "|" + " --- |" * (len(DIGITS) + 2)]
    for name in ("vertebrae", "canal", "discs", "foreground"):
        rows = pooled[pooled["class"] == name].set_index("metric")
        cells = [
            f"{rows.loc[m, 'value']:.{d}f} [{rows.loc[m, 'ci_low']:.{d}f}, {rows.loc[m, 'ci_high']:.{d}f}]"
            for m, d in DIGITS.items()
        ]
        theirs = (
            f"{paper[name]:.4f}" if name in paper else f"{paper[['vertebrae', 'canal', 'discs']].mean():.4f} (mean)"
        )
        lines.append(f"| {name} | {' | '.join(cells)} | {theirs} |")
    return lines


def command(settings: dict, out: str) -> str:
    """Return the command line that makes a run of these settings (of run_state.json)."""
    words = ["python -m spider_utils run", f"--source {settings['source']}"]
    if settings["data_dir"]:
        words.append(f"--data-dir {settings['data_dir']}")
    words += [f"--profile {settings['profile']}", f"--out {out}"]
    words += [f"-p {name} {value}" for name, value in settings["overrides"].items()]
    return " ".join(words)


def describe(folder: Path) -> str:
    """Return the Markdown that states a published run: its scores, and all that is needed to get them again."""
    about = json.loads((folder / "best.json").read_text(encoding="utf-8"))
    stage = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["train"]
    metrics = pd.read_csv(folder / "metrics.csv")
    split, training, best = about["split"], about["training"], about["best"]
    tested = metrics.query("split == 'test' and sequence == 'all' and aggregation == 'slices' and metric == 'dice'")
    log = pd.read_csv(folder / "train_log.csv")
    settings = stage["settings"]
    folds = "" if split["kind"] == "official" else f", fold {settings['fold']} of {settings['folds']}"
    facts = [
        f"All pixels of {tested['n'].max():.0f} slices of {len(split['test'])} unseen patients pooled, scored at "
        f"{settings['store_width']} × {settings['store_height']}; in brackets 95 % bootstrap intervals over patients. "
        f"Split: {split['kind']}{folds}, split seed {settings['split_seed']}: {len(split['train'])} patients train, "
        f"{len(split['validation'])} choose the epoch, {len(split['test'])} are tested "
        f"({', '.join(map(str, split['test']))}).",
        f"Network `{training['model']}`, width {training['width']}, run at {training['train_width']} × "
        f"{training['train_height']}, seed {training['seed']}, {len(log)} epochs, best epoch {best['epoch']}, no "
        f"augmentation. Data: {about['data']['slices']} slices of {about['data']['series']} series, fingerprint "
        f"`{about['data']['fingerprint'][:12]}`. Device: {stage['device']['type']} ({stage['device']['name']}); torch "
        f"{stage['packages']['torch']}; code {str(stage['code']['commit'])[:8]}"
        f"{' with uncommitted changes' if stage['code']['modified'] else ''}.",
        f"Command: `{(folder / 'command.txt').read_text(encoding='utf-8').strip()}`",
    ]
    return "\n\n".join(["\n".join(score_rows(metrics)), *facts])


def publish(run: Path) -> None:
    """Publish a run or a study, and write the pages that show all results and all figures."""
    publish_study(run) if is_study(run) else publish_run(run)
    write_front()
    write_text(FIGURES / "README.md", gallery())


def publish_run(run: Path) -> None:
    """Copy what readers should see of a finished run, and write its page."""
    name, target = run.name, ROOT / "results" / run.name
    settings = json.loads((run / "run_state.json").read_text(encoding="utf-8"))["settings"]
    target.mkdir(parents=True, exist_ok=True)
    places = {str(run): f"runs/{name}"}
    if settings["data_dir"]:
        # where the data lay is no result: the command names the place that the README's download gives it
        places[settings["data_dir"]] = settings["data_dir"] = f"data/{settings['source']}"
    split = json.loads((run / "checkpoints" / "best.json").read_text(encoding="utf-8"))["split"]["kind"]
    settings["overrides"].setdefault("split", split)  # "auto" would deal a larger download another way
    for path in sorted(run.glob(OF_THE_RUN)):
        notebook = cleaned(with_colab(nbformat.read(path, as_version=4), path.stem, None))
        text = LINK.sub(from_results, nbformat.writes(notebook))
        for absolute, relative in places.items():
            text = text.replace(absolute, relative)
        write_text(target / path.name, text + "\n")
    for source, copy in TABLES.items():
        shutil.copyfile(run / source, target / copy)
    write_text(target / "command.txt", command(settings, f"runs/{name}") + "\n")
    write_text(target / "README.md", run_page(target))
    for figure in RUN_CAPTIONS:
        publish_figure(run / "figures" / f"{figure}.png", f"{name}_{figure}")


def from_results(link: re.Match) -> str:
    """Return a link of a notebook as it leads to the same place from a folder below results/."""
    place = link[1]
    if place.startswith("../"):
        return f"](../{place}"
    if place.endswith(".ipynb") and not Path(place).match(OF_THE_RUN):
        return f"](../../notebooks/{place}"
    return link[0]


def run_page(folder: Path) -> str:
    """Return the page of a published run: its scores, its notebooks and its figures."""
    notebooks = ", ".join(f"[{path.stem}]({path.name})" for path in sorted(folder.glob(OF_THE_RUN)))
    figures = [f"![{text}](../../figures/{folder.name}_{name}.png)" for name, text in RUN_CAPTIONS.items()]
    return "\n\n".join([f"# {folder.name}", describe(folder), f"Executed notebooks: {notebooks}.", *figures]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run or study")
    publish(parser.parse_args().run.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
