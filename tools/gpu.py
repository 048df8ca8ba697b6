"""The paper's settings on a GPU, in one sitting (`make gpu`), which may stand in another machine (`make gpu-pack`).

    python -m tools.gpu run                      the studies of STUDIES, in runs/gpu
    python -m tools.gpu pack                     build/spider_gpu.tar.gz: the committed code and the slice store
    python -m tools.gpu unpack ARCHIVE FOLDER    what came back, checked against its digest

OUT/store/, OUT/source.json    the slices, prepared once for all studies
OUT/<study>/                   what `python -m spider_utils study` leaves
OUT/<out>_tables.tar.gz        tables, figures and JSON of what is done by now; .sha256 beside it

One seed after the other, each in all studies, so that a sitting that ends early has whole tables of fewer seeds. What
is finished is not done again, what is cut off goes on.
"""

import argparse
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from spider_utils.commands.study import run_command, study_store
from spider_utils.common.command import exit_status
from spider_utils.common.errors import SpiderError
from spider_utils.common.files import REPOSITORY, atomic_path, file_digest, read_json, write_json, write_text
from spider_utils.data.store import SliceStore
from spider_utils.models.saved import select_device
from spider_utils.studies.harness import is_done
from spider_utils.studies.peers import refuse_missing
from spider_utils.studies.plan import plan
from spider_utils.studies.study_file import load_study

STUDIES = ("paper_claim", "full_size")
OUT = {"cuda": Path("runs/gpu"), "cpu": Path("runs/gpu_toy")}
TOY = {"folds": 2, "epochs": 2, "score_epochs": "1, 2", "width": 2, "train_height": 64, "train_width": 64}
TOY_SEEDS = 1
TABLES, WEIGHTS = ("[!.]*.csv", "[!.]*.json", "figures/[!.]*"), ("trainings/*/*/best.*", "trainings/*/*/training.json")
NO_GPU = (
    "device: expected a CUDA GPU, which the paper's size needs, found none; carry it to a machine that has one "
    "(make gpu-pack), or try it at toy size: make gpu DEVICE=cpu"
)


def run(
    out: Path, source: str | None, data_dir: str | None, device: str, peers: bool, weights: bool, workers: int = 1
) -> None:
    """Do what is not done yet of all studies in `out`, `workers` trainings at a time; pack the tables after each. On
    "cpu" all is of toy size.

    Raises SpiderError before anything is made where there is no such device, then before anything is trained where a
    peer is not installed.
    """
    toy = device == "cpu"
    try:
        select_device(device)
    except SpiderError as error:
        raise SpiderError(NO_GPU) from error
    store = shared_store(out, source, data_dir)
    rounds = []
    for name in STUDIES:
        values: dict[str, Any] = {"device": device} | (TOY if toy else {})
        if not peers:
            values["arms"] = ",".join(arm.name for arm in load_study(name).arms if "peer" not in arm.values)
        seeds = load_study(name).seeds[: TOY_SEEDS if toy else None]
        for count in range(1, len(seeds) + 1):
            own = values | {"seeds": ",".join(map(str, seeds[:count]))}
            trainings = plan(load_study(name, own), store.table)
            for one in trainings:
                refuse_missing(one.peer)
            if count == len(seeds) or not all(is_done(one, store.info, out / name) for one in trainings):
                rounds.append((count, name, own))
    for _, name, own in sorted(rounds, key=lambda one: one[0]):
        run_command(name, out / name, read_json(out / "source.json")["source"], workers=workers, overrides=own)
        print(f"{name}, seeds {own['seeds']}: tables and figures in {pack_tables(out, weights)}")


def shared_store(out: Path, source: str | None, data_dir: str | None) -> SliceStore:
    """Open or make the slice store of `out`, and link each study's to it. `source`: as the store's, or "released"."""
    source = source or read_json(out / "source.json").get("source", "released")
    store = study_store(out, source, data_dir, {})
    write_json(out / "source.json", {"source": source})
    for name in STUDIES:
        (out / name).mkdir(exist_ok=True)
        if not (out / name / "store").exists():
            (out / name / "store").symlink_to(Path("..") / "store", target_is_directory=True)
    return store


def pack_tables(out: Path, weights: bool) -> Path:
    """Pack the tables, figures and JSON of all studies, on demand the networks too; return the archive."""
    top = out.resolve().name
    wanted = [path for name in STUDIES for glob in TABLES + weights * WEIGHTS for path in (out / name).glob(glob)]
    named = {f"{top}/{path.relative_to(out)}": path for path in [out / "source.json", *wanted]}
    return write_archive(out / f"{top}_tables.tar.gz", named)


def pack(out: Path, source: str | None, data_dir: str | None, archive: Path, root: Path = REPOSITORY) -> None:
    """Pack a clone of the committed code, which tells its commit wherever it runs, and the slice store of `out`.

    Raises SpiderError where files differ from the commit: they would stay behind.
    """
    if git(root, "status", "--porcelain", "--untracked-files=no"):
        raise SpiderError(f"{root}: expected all changes to be committed, found others, which would not travel; commit")
    shared_store(out, source, data_dir)
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "code"
        git(root, "clone", "--quiet", "--depth", "1", "--no-tags", "--template=", root.as_uri(), str(clone))
        git(clone, "remote", "remove", "origin")  # a place of this machine, as the logs have
        kept = (path for path in clone.rglob("*") if path.is_file() and ".git/logs" not in path.as_posix())
        named = {path.relative_to(clone).as_posix(): path for path in kept}
        named |= {f"runs/gpu/store/{path.name}": path for path in (out / "store").glob("[!.]*")}
        named |= {"runs/gpu/source.json": out / "source.json"}
        write_archive(archive, {f"{archive.name.partition('.')[0]}/{name}": path for name, path in named.items()})
    print(f"Packed: {archive}; on the other machine: tar -xzf {archive.name}, then `make gpu` in what comes out")


def write_archive(archive: Path, named: dict[str, Path]) -> Path:
    """Write files, by their names in it, into a .tar.gz, and its digest beside it as sha256sum does; return it."""
    with atomic_path(archive) as path, path.open("wb") as made, tarfile.open(archive.name, "w:gz", made) as target:
        for name, file in sorted(named.items()):
            target.add(file, name, filter=lambda one: one.replace(uid=0, gid=0, uname="", gname="", deep=False))
    write_text(digest_of(archive), f"{file_digest(archive)}  {archive.name}\n")
    return archive


def digest_of(archive: Path) -> Path:
    """Return the file beside an archive that holds its digest."""
    return archive.with_name(f"{archive.name}.sha256")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder. Raises SpiderError where it is another than its digest tells, or a member would
    leave the folder; then nothing is written.
    """
    if digest_of(archive).read_text(encoding="utf-8").split()[:1] != [file_digest(archive)]:
        raise SpiderError(
            f"{archive}: expected the digest in {digest_of(archive).name}, found another; bring both again"
        )
    try:
        with tarfile.open(archive) as content:
            for member in content.getmembers():
                tarfile.data_filter(member, str(folder))
            content.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise SpiderError(f"{archive}: expected an archive of this tool, found that {error}; bring it again") from error


def git(folder: Path, *words: str) -> str:
    """Return what git says of a folder. Raises SpiderError where it refuses."""
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    if done.returncode:
        raise SpiderError(f"{folder}: expected a checkout of git, found {done.stderr.strip()}; clone the repository")
    return done.stdout


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    runs, packs, unpacks = (actions.add_parser(name) for name in ("run", "pack", "unpack"))
    for one in (runs, packs):
        one.add_argument("--source", help="of the slices (default: that of the store in OUT, or released)")
        one.add_argument("--data-dir", metavar="DIR", help="their folder; without it the store in OUT, or fetched")
        one.add_argument("--out", type=Path, metavar="DIR", help="default runs/gpu, of toy size runs/gpu_toy")
    runs.add_argument("--device", default="cuda", choices=OUT, help="cuda; or cpu, at toy size")
    runs.add_argument("--peers", choices=("yes", "no"), help="nnU-Net, too (default: yes, at toy size no)")
    runs.add_argument("--weights", default="no", choices=("yes", "no"), help="yes: the networks come back, too")
    runs.add_argument("--workers", type=int, default=1, help="trainings at a time, that share the GPU")
    packs.add_argument("--archive", type=Path, default=Path("build/spider_gpu.tar.gz"), help="to be written")
    unpacks.add_argument("archive", type=Path, help="its .sha256 beside it")
    unpacks.add_argument("folder", type=Path)
    one = parser.parse_args(words)
    if one.action == "unpack":
        return exit_status(lambda: unpack(one.archive, one.folder), one.folder)
    if one.action == "pack":
        out = one.out or OUT["cuda"]
        return exit_status(lambda: pack(out, one.source, one.data_dir, one.archive), out)
    out, peers = one.out or OUT[one.device], one.peers or ("no" if one.device == "cpu" else "yes")
    answers = peers == "yes", one.weights == "yes"
    return exit_status(lambda: run(out, one.source, one.data_dir, one.device, *answers, one.workers), out)


if __name__ == "__main__":
    sys.exit(main())
