"""The front door: the table of results in README.md, and the list of everything published in results/README.md.

    python -m tools.front

Both stand between markers and are read from the tables below results/; `tools.publish` writes them anew.
"""

import argparse
import sys
from collections.abc import Iterable

import pandas as pd

from spider_utils.common.files import read_json, write_text
from spider_utils.data.labels import FOREGROUND
from tools.claim import RESULTS, command_of
from tools.headline import COPIED, INDEX, PAPER, TABLE, write_headline
from tools.markdown import interval, markdown_table, seeds_told, with_block
from tools.notebooks import README
from tools.studies import QUESTIONS, is_study, read_settings

SHOWN = {  # lines of the README's table: how they are told, and their names in results/headline.csv
    "ours, **unseen patients**": "our network, the paper's size",
    "ours as by default, **unseen patients**": "our network of T2 SPACE",
    "nnU-Net v2 2D, **unseen patients**": "nnU-Net v2, 2D, the paper's size",
    "the authors' network, **unseen patients**": "the authors' network",
    "the same, random split (LEAKY)": "the authors' network, random split",
    "a neighbour's mask, random split (LEAKY)": COPIED,
    "the paper (validation data)": PAPER,
}
TOLD = ("full_size", "errors", "peers_full_size", "paper_claim")  # the studies of these lines
REPRODUCTION = "What does the paper's network score on unseen patients, notebook by notebook?"


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write_front()
    return 0


def write_front() -> None:
    """Write the README's tables, the list of results/README.md and its card of headline numbers."""
    write_headline()
    page = with_block(README.read_text(encoding="utf-8"), "result", result_block())
    write_text(README, with_block(page, "sequences", sequence_table()))
    write_text(INDEX, with_block(INDEX.read_text(encoding="utf-8"), "studies", index_block()))


def result_block() -> str:
    """Return the README's result: honest lines first, leaky ones second, the paper's last; then how they were made."""
    table = pd.read_csv(TABLE).set_index("name")
    lines = []
    for title, name in SHOWN.items():
        row = table.loc[name]
        digits = 4 if name == PAPER else 3
        mean = f"{row['mean']:.4f}" if name == PAPER else interval(row, "mean")
        made = [f"{row['size']}, {row['epochs']:.0f} epochs" if pd.notna(row["epochs"]) else ""]
        made += [
            f"[{row['folder']}](results/{row['folder']}/README.md)" if pd.notna(row["folder"]) else "split not stated"
        ]
        lines.append([title, *(f"{row[one]:.{digits}f}" for one in FOREGROUND), mean, *made])
    heads = ["Dice of", *FOREGROUND, "mean of the three", "made with", "from"]
    return "\n\n".join([markdown_table(heads, lines), result_facts()])


def sequence_table() -> str:
    """Return what one network for all sequences scores on patients that it has not met, a line a group of slices."""
    dice = pd.read_csv(RESULTS / "all_sequences" / "by_sequence.csv").query("aggregation == 'pooled'")
    lines = []
    for (sequence, position), part in dice.groupby(["sequence", "position"], sort=False):
        if (part["class"] == "foreground").any():
            first = part.iloc[0]
            title = f"{sequence.replace('_', ' ')}, {position} ({first['slices']} / {first['patients']})"
            lines.append([title, *short_cells(part)])
    heads = ["[one network](results/all_sequences/README.md) (slices / patients)", *FOREGROUND, "mean"]
    return markdown_table(heads, lines)


def short_cells(part: pd.DataFrame) -> list[str]:
    """Return the value of each structure and, with its interval, that of the foreground, of a row a class."""
    rows = part.set_index("class")
    return [*(f"{rows.loc[name, 'value']:.3f}" for name in FOREGROUND), interval(rows.loc["foreground"], "value")]


def result_facts() -> str:
    """Return data, split, seed and devices of the README's table, and the command of its last study.

    Raises ValueError where the studies differ in what the sentence says of them all, or a study used two devices.
    """
    folders = [RESULTS / study for study in TOLD]
    studies = [read_json(folder / "study.json") for folder in folders]
    trainings = pd.concat([pd.read_csv(folder / "trainings.csv").assign(study=folder.name) for folder in folders])
    machines = trainings.groupby("study", sort=False)["machine"].agg(one_of).reset_index()
    seeds = trainings.groupby("study", sort=False)["seed"].agg(seeds_told)
    most = seeds.mode()[0]
    others = "".join(f" ({study}: {told})" for study, told in seeds[seeds != most].items())
    devices = "; ".join(
        f"{', '.join(part['study'])} on {machine}" for machine, part in machines.groupby("machine", sort=False)
    )
    data = [study["data"] for study in studies]
    stored = [one["preprocess"] for one in data]
    folds = one_of(study["study"]["folds"] for study in studies)
    height, width = (one_of(one[f"store_{side}"] for one in stored) for side in ("height", "width"))
    return (
        f"{one_of(one['slices'] for one in data)} T2 SPACE slices of {one_of(one['series'] for one in data)} patients, "
        f"released by the paper's authors (fingerprint `{one_of(one['fingerprint'] for one in data)[:12]}`); each held "
        f"out once, pixels pooled, at {width} × {height}; 95 % intervals over patients and seeds. Networks: "
        f"{folds} folds, {most}{others}; {devices}. For example:\n\n"
        f"```bash\n{command_of(RESULTS / TOLD[-1])}\n```"
    )


def one_of(values: Iterable):
    """Return the value that all have. Raises ValueError where they differ."""
    (value,) = set(values)
    return value


def index_block() -> str:
    """Return the list of what is published: folder, question, source of the data."""
    rows = []
    for folder in sorted(path.parent for path in RESULTS.glob("*/command.txt")):
        question, source = REPRODUCTION, "released"
        if is_study(folder):
            settings = read_settings(folder)
            question, source = QUESTIONS[folder.name], settings["source"]
        shown = "PHANTOM" if source == "phantom" else f"real MRI (`{source}`)"
        rows.append([f"[{folder.name}]({folder.name}/README.md)", question, shown])
    return markdown_table(["folder", "question", "data"], rows)


if __name__ == "__main__":
    sys.exit(main())
