"""The model card of the shipped networks, weights/README.md, written from the JSON beside each: no number is typed."""

import json
from pathlib import Path

from spider_utils.common.files import write_text
from spider_utils.common.parameters import read_group
from spider_utils.data.labels import FOREGROUND
from spider_utils.predict.network import ALL_SEQUENCES, DEFAULT_MODEL, FINEST
from spider_utils.studies.cost import network_cost
from spider_utils.train.settings import TrainSettings
from tools.markdown import markdown_table

HEAD = """# The shipped networks

Four-class segmentation (background, vertebrae, spinal canal, intervertebral discs) of sagittal slices of the lumbar
spine. `python -m spider_utils predict --input FOLDER --output FOLDER` uses `{default}`; `--weights NAME` takes
another. `{finest}` sees slices at their full size: on unseen T2 SPACE patients it scores best, with 16 times the
multiply-adds (two cores take 2 min 40 s for 622 slices, 26 s with the default network); on volumes, T1 and T2 it was
not measured. For T1 and T2 take `{all}`: on unseen patients it is the better one there. It is not the
default because, by the rule that was set before it was trained, its difference on T2 SPACE would have to be above
-0.005 with its whole interval, which reaches a little further (results/all_sequences).

"""
USE = """## Intended use

Research and teaching: to see what a network of this kind does to one's own slices, as a starting point for
training, and as the baseline to beat. **Not a medical device**: not for diagnosis, planning or measurement in
patients.

## Limits

- `{all}` has learnt from {slices} slices of {patients} patients of one data set ({sequences};
  most of T1 and some of T2 with labels carried over from T2 SPACE), the other networks from T2 SPACE alone. Other
  sequences and regions of the spine, children, implants and fractures are unknown to them, and slices far from the
  midline are few or none; there they fail. `predict` notes what looks doubtful in a volume (`volumes.csv`), which is
  not every failure.
- A slice is seen at {width} × {height} pixels, by `{finest}` at twice that, stretched: sagittal, front
  at the left, head at the top, about as much of the body as SPIDER's slices show. It
  finds structures, not levels: no vertebra has a number.
- It looks at a slice together with its two neighbours in the series; where a slice comes alone it does a little worse
  (results/errors, "without neighbouring slices").
- The references of T2 SPACE are those that the paper's authors released. They were not drawn alike for all patients
  (see results/reference), so part of the error is theirs.
- The scores are of cross-validation: the same settings, trained on two thirds of the patients and scored on the
  rest. The shipped weights themselves have met all these patients and cannot be scored on them. The settings
  were chosen on the same patients, which favours them a little; SPIDER's official validation patients were never
  used.

## Data and licence

SPIDER: van der Graaf et al., Lumbar spine segmentation in MR images: a dataset and a public benchmark, Scientific
Data 2024 (CC BY 4.0), as sliced and relabelled by Ahmed et al. 2025 in their public repository. The weights are
derived from these data and given under CC BY 4.0; name both.
"""


def write_card(folder: Path) -> None:
    """Write README.md into the folder of the shipped networks."""
    described = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    every = described[ALL_SEQUENCES]
    parts = [HEAD.format(default=DEFAULT_MODEL, finest=FINEST, all=ALL_SEQUENCES)]
    for name in sorted(described, key=lambda name: name != DEFAULT_MODEL):
        parts.append(network_section(name, described[name], (folder / f"{name}.safetensors").stat().st_size))
    met = every["trained_on"]
    facts = {"all": ALL_SEQUENCES, "finest": FINEST, "slices": met["slices"], "patients": len(met["patients"])}
    facts["sequences"] = ", ".join(f"{count} of {name.replace('_', ' ')}" for name, count in met["sequences"].items())
    size = {"width": every["training"]["train_width"], "height": every["training"]["train_height"]}
    write_text(folder / "README.md", "".join(parts) + USE.format(**facts, **size))


def network_section(name: str, made: dict, size: int) -> str:
    """Return what the card says of one network: what it is, how it was trained, what it scores on unseen patients."""
    training, study = made["training"], made["study"]
    cost = network_cost(read_group(TrainSettings, training))
    views = len(made["inference"]["views"])
    cleaned = "masks cleaned up" if made["inference"]["cleanup"] else "masks not cleaned up"
    trained_on = made["trained_on"]
    facts = [
        ["network", f"`{training['model']}`, width {training['width']}, {1 + 2 * training['neighbours']} slice(s) in"],
        ["parameters", f"{cost['parameters']:,}; {size / 1e6:.1f} MB in half precision"],
        ["multiply-adds of a slice", f"{cost['multiply_adds'] / 1e9:.2f} G"],
        ["input", f"{training['train_width']} × {training['train_height']}, grey, scaled 0..1 by minimum and maximum"],
        ["loss", f"`{training['loss']}`"],
        ["augmentation", training["augmentation"]],
        [
            "training",
            f"{training['epochs']} epochs, batch {training['batch_size']}, Adam, learning rate "
            f"{training['learning_rate']}, {training['schedule']}, seed {training['seed']}",
        ],  # fmt: skip
        [
            "trained on",
            f"{trained_on['slices']} slices of {len(trained_on['patients'])} patients, none of the validation subset",
        ],
        ["inference", f"{views} view(s) of a slice, {cleaned}"],
        [
            "half precision",
            f"{made['half_precision']['equal_pixels']:.5%} of the pixels of "
            f"{made['half_precision']['slices']} slices keep their class",
        ],  # fmt: skip
        ["data fingerprint", f"`{made['data']['fingerprint'][:12]}`"],
        [
            "code, device",
            f"`{made['provenance']['code']['commit'][:8]}`, {made['provenance']['device']['type']} "
            f"({made['provenance']['device']['name']})",
        ],  # fmt: skip
        ["command", f"`{made['command']}`"],
    ]
    seeds = made["scores"].get("seeds", 1)
    drawn = f"patients and {seeds} seeds" if seeds > 1 else "patients"
    told = (
        f"On {made['scores']['patients']} unseen patients, each held out once (study `{study['name']}`, arm "
        f"`{study['arm']}`, used as `{study['option']}`; in brackets 95 % bootstrap intervals over {drawn}):"
    )
    table = markdown_table(["", ""], facts)
    scores = made["scores"]
    rows = sequence_rows(scores["by_sequence"]) if "by_sequence" in scores else score_rows(scores["table"])
    return f"## {name}\n\n{table}\n\n{told}\n\n{rows}\n\n"


def sequence_rows(table: list[dict]) -> str:
    """Return pooled Dice as a table, a row for each sequence and position of its slices, classes in columns."""
    groups: dict[tuple[str, str, int, int], dict[str, str]] = {}
    for row in table:
        key = (row["sequence"].replace("_", " "), row["position"], row["slices"], row["patients"])
        low = "" if row["ci_low"] is None else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        groups.setdefault(key, {})[row["class"]] = f"{row['value']:.3f}{low}"
    lines = [
        [
            f"{sequence}, {position}",
            f"{slices} of {patients}",
            *(cells.get(name, "") for name in (*FOREGROUND, "foreground")),
        ]
        for (sequence, position, slices, patients), cells in groups.items()
    ]
    return markdown_table(["Dice, pooled", "slices of patients", *FOREGROUND, "foreground"], lines)


def score_rows(table: list[dict]) -> str:
    """Return scores as a table, classes in rows: pooled Dice, mean Dice of patients, pooled HD95 and ASD."""
    columns = [("pooled", "dice"), ("patients", "dice"), ("pooled", "hd95"), ("pooled", "asd")]
    heads = ["class"]
    for aggregation, metric in columns:
        unit = next(row["unit"] for row in table if row["metric"] == metric)
        name = {"dice": "Dice"}.get(metric, metric.upper())
        heads.append(f"{name}, {aggregation}" + ("" if unit == "ratio" else f" ({unit})"))
    lines = []
    for name in (*FOREGROUND, "foreground"):
        cells = [name]
        for aggregation, metric in columns:
            row = next(
                one for one in table if (one["class"], one["aggregation"], one["metric"]) == (name, aggregation, metric)
            )
            digits = 3 if metric == "dice" else 2
            value, low, high = (f"{row[key]:.{digits}f}" for key in ("value", "ci_low", "ci_high"))
            cells.append(f"{value} [{low}, {high}]")
        lines.append(cells)
    return markdown_table(heads, lines)
