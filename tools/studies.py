"""Publish a finished study: its tables and its page to results/<name>/, its figures to figures/.

Nothing is computed here: every number comes from the study's own files. `tools.publish` calls this for a folder whose
provenance.json names a study.
"""

import json
import shlex
import shutil
from pathlib import Path

from spider_utils.common.files import atomic_path, write_text
from tools.notebooks import ROOT, smaller_png_bytes
from tools.pages import describe_study

FIGURES = ROOT / "figures"
LARGEST_SVG = 1_000_000  # bytes; a larger one is left out
PER_SLICE = ("overlap.csv", "labels.csv")  # too long for a repository; the summaries are what is read
QUESTIONS = {
    "paper_claim": "At the paper's size and length, what does a Dice gain when slices are dealt at random?",
    "full_size": "How far does the combination lie above the paper's network at the paper's size, over three seeds?",
    "peers": "How does nnU-Net do on the very same slices and unseen patients, at half size, with three seeds?",
    "peers_longer": "The same where ours trains four times as long, in no more processor time than nnU-Net takes",
    "peers_full_size": "How does nnU-Net do at the paper's size, with the batches that it plans itself?",
    "size": "What do slices of full size add at half the width, and can a training finish on parts of them?",
    "distillation": "What does a network gain that is taught by an ensemble of two seeds?",
    "leakage": "The same on smaller slices, over three seeds",
    "leakage_strong": "The same on smaller slices, with augmentation that hinders learning by heart",
    "choices": "What is each of the paper's choices worth on unseen patients?",
    "length": "Which network, input, loss or augmentation beats the paper's, all trained until flat?",
    "ablation": "The same after a short training, with more arms: what looks better early?",
    "shipped": "The two networks that are shipped, trained half as long: how soon is a Dice of 0.90 reached?",
    "errors": "How far does the shipped combination lie above the paper's network, where does it fail, and why?",
    "copying": "What does a copied mask score, without a network?",
    "reference": "By what conventions were the reference masks drawn?",
    "ceiling": "How much of the error is the references' own convention, and what could an ideal reader reach?",
    "filters": "Which slice filter can have made the released set?",
    "labels": "What does the authors' label repair (APTA) change?",
    "roundtrip": "What does the detour over slices cost a volume, without any error of a network?",
    "counting": "Does a network of T2 SPACE find the vertebrae and discs of T1 and T2?",
    "sequences": "What do networks of T2 SPACE score on T1 and T2 with masks, and where do they fail?",
    "resolution": "Does T2 SPACE score best for its resolution?",
    "one_network": "What makes a network of T2 SPACE read T1 and T2 of unseen patients too?",
    "self_training": "What do a network's own labels of unlabelled T1 and T2 slices add?",
    "all_sequences": "How good is one network for T1, T2 and T2 SPACE on patients that it has not met?",
    "bodies": "How much of the vertebrae of another site's volumes does the shipped network find?",
}
MIXED = {  # joined sources: the second folder of pairs holds the labels carried over, the third a study's own
    "released+pairs+pairs": "data/released:data/pairs:data/carried",
    "released+pairs+pairs+pairs": "data/released:data/pairs:data/carried:data/self",
}
PHANTOM = "**PHANTOM**: synthetic spines; these numbers say nothing about patients."
CAPTIONS = {
    "leakage": "What a leaky split is worth: the same network, steps and slices, and masks that are only copied.",
    "lengths": "Dice over the training, and how far each arm lies above or below the reference at each length.",
    "arms": "How far each choice lies above or below the paper's text on unseen patients, paired by patient.",
    "ablation": "What each network, input, loss and augmentation adds, paired by patient, and what it costs.",
    "ablation_by_class": "What each of them adds to the pooled Dice of each class.",
    "pairs": "Every patient with both networks, the reference and the other.",
    "roundtrip": "What the detour over slices costs a volume when the network is perfect (PHANTOM).",
    "counting": "T1 and T2 slices without masks: overlays, and counted structures against the record.",
    "sequences": "Dice on T1, T2 and T2 SPACE, with and without the canal, of patients that the network has not met.",
    "worst": "The worst T1 and T2 slices: image, reference and prediction.",
    "resolution": "T2 SPACE as coarse as T2 beside T1 and T2 themselves, and what each step changes.",
    "gains": "What each arm adds to the foreground Dice, sequence by sequence, paired by patient.",
    "scores": "Dice of one network on each sequence, on patients that it has not met.",
    "errors_groups": "Dice of unseen patients by class, place and size.",
    "errors_patients": "Dice of each unseen patient.",
    "errors_distance": "How many of the wrong pixels lie how near to the reference's boundary.",
    "errors_where": "Where the wrong pixels sit, by class.",
    "errors_causes": "Why pixels are wrong, by class.",
    "errors_example": "The very worst slice: hits and errors, wrong pixels by region, and by cause.",
    "errors_worst": "The ten worst slices of unseen patients.",
    "errors_reference": "Faults that are suspected of the references.",
    "errors_levels": "Dice of each vertebra and disc by level.",
    "errors_pathology": "Dice of discs and vertebrae by SPIDER's gradings.",
    "reliability": "Are the network's probabilities right? Reliability curves of unseen patients.",
    "uncertainty": "Does the network's uncertainty find its worst slices?",
    "bodies": "T2 TSE of another site: the share of each vertebral body that is called vertebra.",
    "reference_audit": "The references' own conventions, series by series.",
    "reference_examples": "The series whose references differ most, close up.",
    "ceiling": "Dice with each convention neutralised, and of an ideal reader of the majority's convention.",
    "copying": "Dice of masks that are only copied, beside the paper's.",
    "neighbour_overlap": "How much two masks of one patient overlap, one to three slices apart.",
}


def is_study(folder: Path) -> bool:
    """Return True for the folder of a study, finished or published."""
    note = folder / "provenance.json"
    return note.is_file() and "study" in json.loads(note.read_text(encoding="utf-8")).get("settings", {})


def published_figures(folder: Path) -> dict[str, str]:
    """Return the figures of a published study and their captions."""
    return {name: text for name, text in CAPTIONS.items() if (FIGURES / f"{folder.name}_{name}.png").is_file()}


def publish_figure(picture: Path, name: str) -> None:
    """Copy a PNG, made smaller, and the SVG beside it to figures/`name`; an SVG that is too large is left out."""
    with atomic_path(FIGURES / f"{name}.png") as path:
        path.write_bytes(smaller_png_bytes(picture.read_bytes()))
    vector, target = picture.with_suffix(".svg"), FIGURES / f"{name}.svg"
    target.unlink(missing_ok=True)  # of an earlier run
    if vector.is_file() and vector.stat().st_size <= LARGEST_SVG:
        with atomic_path(target) as path:
            path.write_bytes(vector.read_bytes())


def publish_study(run: Path) -> None:
    """Copy a study's tables and figures, and write its page."""
    target = ROOT / "results" / run.name
    target.mkdir(parents=True, exist_ok=True)
    for path in [*run.glob("*.csv"), run / "provenance.json", run / "study.json"]:
        if path.is_file() and path.name not in PER_SLICE:
            shutil.copyfile(path, target / path.name)
    for name in CAPTIONS:
        picture = run / "figures" / f"{name}.png"
        if picture.is_file():
            publish_figure(picture, f"{run.name}_{name}")
    write_text(target / "command.txt", study_command(run) + "\n")
    write_text(target / "README.md", study_page(target))


def study_page(folder: Path) -> str:
    """Return the page of a published study: its question, what was found, and its figures."""
    settings = read_settings(folder)
    parts = [f"# {folder.name}", QUESTIONS[folder.name]]
    parts += [PHANTOM] if settings["source"] == "phantom" else []
    figures = [f"![{text}](../../figures/{folder.name}_{name}.png)" for name, text in published_figures(folder).items()]
    return "\n\n".join([*parts, describe_study(folder), *figures]) + "\n"


def read_settings(folder: Path) -> dict:
    """Return the settings of a study, finished or published: `study`, `source` and what was set by hand."""
    return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["settings"]


def study_command(run: Path) -> str:
    """Return the command line that makes a study again."""
    settings = read_settings(run)
    name, source = settings.pop("study"), settings.pop("source")
    if "trained" in settings:  # the networks of a study's folds
        settings = {"study": f"runs/{settings.pop('trained')}"} | settings
    place = "--source phantom" if source == "phantom" else f"--source {source} --data-dir data/{source}"
    if source in MIXED:
        place = f"--source {source} --data-dir {MIXED[source]}"
    own = {"roundtrip": "", "bodies": f"--data-dir data/{source}", "errors": f"{place} --metadata data/spider"}
    own |= {"sequences": f"--data-dir data/{source}", "resolution": "--metadata data/spider", "ceiling": ""}
    own["counting"] = f"--data-dir data/{source} --metadata data/spider"
    place = own.get(name, place)
    words = ["python -m spider_utils study", name, place, f"--out runs/{run.name}"]
    return " ".join(
        word for word in words + [f"-p {key} {shlex.quote(str(value))}" for key, value in settings.items()] if word
    )
