"""The command line: python -m spider_utils COMMAND; --help lists the commands."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from spider_utils.common.command import exit_status
from spider_utils.common.errors import SpiderError
from spider_utils.common.parameters import read_overrides
from spider_utils.data.sources import SOURCES, get_source

SOURCE: dict[str, Any] = {
    "metavar": "NAME",
    "help": f"where the series come from: {', '.join(SOURCES)}, or several joined by +",
}


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaint is one line, like every other error of this program."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    1 where `check` finds errors, or `predict` or `score` leave files out; else see `exit_status`.
    """
    options = make_parser().parse_args(arguments)
    place = getattr(options, "out", None) or getattr(options, "output", None)
    return exit_status(lambda: options.command(options), place, is_file=options.command in (check, score))


def make_parser() -> argparse.ArgumentParser:
    """Build the parser; each command's function is below, with its arguments beside it."""
    parser = OneLineParser(prog="python -m spider_utils", description="Lumbar spine MRI: from volumes to scores.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=OneLineParser)
    for name, (add_arguments, command) in COMMANDS.items():
        described = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        add_arguments(described)
        described.set_defaults(command=command)
    return parser


def add_phantom_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--patients", type=int, default=12, metavar="N", help="number of patients (default 12)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same spines (default 0)")
    cap = "make series coarser until a slice has about N pixels; 0: full size, large and slow (default 57600)"
    parser.add_argument("--pixels", type=int, default=57_600, metavar="N", help=cap)


def phantom(options: argparse.Namespace) -> None:
    """Write a set of synthetic lumbar spines in SPIDER's format."""
    from spider_utils.data.phantom import make_phantom

    make_phantom(options.out, patients=options.patients, seed=options.seed, most_pixels=options.pixels)


def add_download_arguments(parser: argparse.ArgumentParser) -> None:
    fetched = [one.name for one in SOURCES.values() if one.fetch]
    parser.add_argument("--source", required=True, choices=fetched, help="which data set")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")


def download(options: argparse.Namespace) -> None:
    """Fetch the released slices or the SPIDER dataset and check every file."""
    fetch = SOURCES[options.source].fetch
    assert fetch is not None  # the others are no choices of --source
    fetch(options.out)


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a SPIDER folder (images/, masks/, tables), or one of volumes")
    parser.add_argument("--out", metavar="CSV", help="also write the table of problems to this file")


def check(options: argparse.Namespace) -> int:
    """List every problem of a data set at once; exit status 1 when there are errors."""
    from spider_utils.data.check.dataset import check_dataset
    from spider_utils.data.check.findings import ERROR, as_text, count, summary, write_findings

    findings, series = check_dataset(options.folder)
    if options.out:
        write_findings(findings, options.out)
    if findings:
        print(as_text(findings))
    print(summary(findings, series))
    return 1 if count(findings, ERROR) else 0


def known_source(name: str) -> str:
    """Return the name of a source, or of several joined. Raises ArgumentTypeError on an unknown one."""
    try:
        get_source(name)
    except SpiderError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return name


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", required=True, type=known_source, **SOURCE)
    parser.add_argument("--data-dir", metavar="DIR", help="the data's folder; of joined sources, joined by :")
    parser.add_argument("--profile", required=True, help="a file of parameters: smoke, cpu or paper")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for notebooks, checkpoints and scores")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p", dest="overrides", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter"
    )


def run(options: argparse.Namespace) -> None:
    """Execute the nine notebooks, or those that are still to do, and show the scores."""
    overrides = read_overrides(options.overrides)
    from spider_utils.commands.notebooks import print_results, run_notebooks

    out = run_notebooks(options.source, options.data_dir, options.profile, options.out, overrides)
    print_results(out)


def train(options: argparse.Namespace) -> None:
    """Train the network of a run, and no more; also by processes on several devices (accelerate launch)."""
    overrides = read_overrides(options.overrides)
    from spider_utils.commands.train import train_network

    if told := train_network(options.source, options.data_dir, options.profile, options.out, overrides):
        print(told)


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a study of this package, see the README; or a YAML")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for store, trainings, tables and figures")
    parser.add_argument("--source", default="released", type=known_source, **SOURCE)
    parser.add_argument("--data-dir", metavar="DIR", help="the data's folder; without it the data are fetched into OUT")
    parser.add_argument("--metadata", metavar="DIR", help="the folder of SPIDER's tables, where a study needs them")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="trainings at a time (default: one a core)")
    parser.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="train on the workers of this Dask scheduler"
    )
    add_overrides(parser)


def study(options: argparse.Namespace) -> None:
    """Answer one question with a table: what a split, a choice or a better network is worth."""
    overrides = read_overrides(options.overrides)
    from spider_utils.commands.study import run_command

    run_command(
        options.name,
        options.out,
        source=options.source,
        data_dir=options.data_dir,
        workers=options.workers,
        overrides=overrides,
        scheduler=options.scheduler,
        metadata=options.metadata,
    )
    print(f"Tables and figures: {options.out}")


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input", required=True, metavar="IN",
        help="a volume (MHA, NIfTI, NRRD, or the folder of a DICOM series), a folder of them, or of grey PNG slices",
    )  # fmt: skip
    parser.add_argument("--output", required=True, metavar="OUT", help="folder for the label maps, another than IN")
    parser.add_argument("--weights", metavar="FILE", help="a network, its .json beside it, or a shipped one by name")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default auto)")
    parser.add_argument(
        "--labels", default="four", help="of volumes: four (0..3) or spider (vertebrae and discs numbered)"
    )
    parser.add_argument(
        "--format", default="mha", help="of volumes' label maps: mha (compressed), or input, as each volume"
    )


def predict(options: argparse.Namespace) -> int:
    """Segment volumes or PNG slices: a label map each, 0 background, 1 vertebrae, 2 canal, 3 discs."""
    from spider_utils.predict.slices import holds_slices, predict_folder

    if holds_slices(options.input):
        if (options.labels, options.format) != ("four", "mha"):
            raise SpiderError(
                f"{options.input}: PNG slices have no --labels or --format; leave them out, give a volume"
            )
        slices = predict_folder(options.input, options.output, options.weights, options.device)
        written, left_out, network, what = slices.masks, slices.left_out, slices.network, "slices"
    else:
        from spider_utils.predict.volumes import predict_volumes

        volumes = predict_volumes(
            options.input, options.output, options.weights, options.device, options.labels, options.format
        )
        written, left_out, network, what = volumes.label_maps, volumes.left_out, volumes.network, "volumes"
    for problem in left_out.values():
        print(f"left out: {problem}", file=sys.stderr)
    total = len(written) + len(left_out)
    print(f"{len(written)} of {total} {what} segmented with {network}, label maps: {options.output}")
    if left_out:
        print(
            f"error: {options.input}: {len(left_out)} of {total} {what} could not be segmented, see above",
            file=sys.stderr,
        )
    return 1 if left_out else 0


def add_score_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prediction", required=True, metavar="P", help="a label map, or a folder of them")
    parser.add_argument("--reference", required=True, metavar="R", help="what is true: a file, or a folder, same names")
    held = "what label maps without a number above 3 hold: four (classes) or spider (vertebrae); default: as it looks"
    parser.add_argument("--convention", choices=("four", "spider"), help=held)
    parser.add_argument("--out", required=True, metavar="CSV", help="table to write")


def score(options: argparse.Namespace) -> int:
    """Score label maps of volumes in 3D: the four classes, and SPIDER's own score of numbered structures."""
    from spider_utils.evaluate.files import score_files, score_lines

    scores = score_files(options.prediction, options.reference, options.out, options.convention)
    for problem in scores.failed.values():
        print(f"left out: {problem}", file=sys.stderr)
    if scores.unpaired:
        print(f"not scored, as they have no prediction: {', '.join(scores.unpaired)}", file=sys.stderr)
    if scores.scored:
        print(*score_lines(scores.table), f"Table: {options.out}", sep="\n")
    if scores.failed:
        total = scores.scored + len(scores.failed)
        problem = f"{len(scores.failed)} of {total} volumes were not scored, see above"
        print(f"error: {options.prediction}: {problem}", file=sys.stderr)
    return 1 if scores.failed else 0


def add_carry_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labelled", required=True, metavar="DIR", help="the released T2 SPACE slices and masks")
    parser.add_argument("--images", required=True, metavar="DIR", help="the slices without masks, 12_t1.png, 12_t2.png")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write, a set of source pairs")


def carry(options: argparse.Namespace) -> None:
    """Carry T2 SPACE labels over to the same patients' unlabelled T1 and T2 slices, by registration."""
    from spider_utils.commands.carry import carry_labels

    table = carry_labels(options.labelled, options.images, options.out)
    print(f"{table['passed'].sum()} of {len(table)} slices have got labels, in {options.out}; all: carried.csv there")


COMMANDS = {
    "phantom": (add_phantom_arguments, phantom),
    "download": (add_download_arguments, download),
    "check": (add_check_arguments, check),
    "run": (add_run_arguments, run),
    "train": (add_run_arguments, train),
    "study": (add_study_arguments, study),
    "predict": (add_predict_arguments, predict),
    "score": (add_score_arguments, score),
    "carry": (add_carry_arguments, carry),
}

if __name__ == "__main__":
    sys.exit(main())
