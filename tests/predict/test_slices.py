"""Masks for PNG slices: what is read, what is written, and what is said of the rest.

The network of most tests is a ruler: it gives a pixel the class k whose brightness 85 k is nearest, so that the mask of
a slice can be told without it.
"""

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from spider_utils.__main__ import main
from spider_utils.common.errors import SpiderError
from spider_utils.data.png import read_grey, slice_key
from spider_utils.masks.cleanup import CleanupSettings, clean_up
from spider_utils.predict import network
from spider_utils.predict.network import InferenceSettings
from spider_utils.predict.segment import predict_masks, segment_batches
from spider_utils.predict.slices import predict_folder
from spider_utils.predict.views import VIEWS, Identity
from spider_utils.train.checkpoints import load_network, write_network
from spider_utils.train.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 32)


class Ruler(nn.Module):
    """Classes by the brightness of one channel; notes what it has seen."""

    def __init__(self, channel: int = 0):
        super().__init__()
        self.channel, self.seen = channel, []

    def forward(self, slices):
        self.seen.append(slices)
        levels = torch.arange(4, device=slices.device).view(1, 4, 1, 1) / 3
        return -100 * (slices[:, self.channel : self.channel + 1] - levels) ** 2


@pytest.fixture
def use(monkeypatch):
    """Put a network in the place of the one on disk: use(model, training=..., inference=..., data=...)."""

    def put(model, training=None, **description):
        settings = {"model": "ruler", "width": 1, "train_height": SIZE[0], "train_width": SIZE[1]}
        described = {"training": settings | (training or {})} | description
        monkeypatch.setattr(network, "load_network", lambda weights, device: (model, described))
        return model

    return put


@pytest.fixture
def slices(tmp_path) -> Path:
    folder = tmp_path / "slices"
    folder.mkdir()
    return folder


def blocks(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A class map of 4 x 2 blocks, all classes in it, (H, W) uint8."""
    order = np.random.default_rng(seed).permutation([0, 1, 2, 3, 0, 1, 2, 3]).reshape(4, 2)
    return np.kron(order, np.ones((size[0] // 4, size[1] // 2))).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path, format="PNG")
    return path


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.mode == "L"
        return np.asarray(picture)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_masks_have_the_names_of_the_slices(slices, tmp_path, use):
    use(Ruler())
    for number in range(7):  # more than a batch, the last one is not full
        save(slices / f"s{number}.png", blocks(number) * 85)
    save(slices / "b.PNG", blocks(9) * 85)
    (slices / ".hidden.png").write_bytes(b"")
    (slices / "notes.txt").write_text("")
    (slices / "folder.png").mkdir()
    done = predict_folder(slices, tmp_path / "new" / "masks", "n.safetensors", "cpu", batch_size=3)
    assert names(tmp_path / "new" / "masks") == ["b.PNG", *(f"s{number}.png" for number in range(7))]
    assert sorted(path.name for path in done.masks) == names(tmp_path / "new" / "masks") and not done.left_out
    for number in range(7):
        np.testing.assert_array_equal(read(tmp_path / "new" / "masks" / f"s{number}.png"), blocks(number))


def test_slices_of_different_sizes_keep_theirs(slices, tmp_path, use):
    model = use(Ruler())
    sizes = {"a": SIZE, "b": (128, 64), "c": (32, 16), "d": (100, 90)}
    for seed, (name, size) in enumerate(sizes.items()):
        save(slices / f"{name}.png", blocks(seed, size) * 85)
    predict_folder(slices, tmp_path / "masks", "n.safetensors", "cpu", batch_size=4)
    assert [tuple(batch.shape) for batch in model.seen] == [(4, 1, *SIZE)]
    for seed, (name, size) in enumerate(sizes.items()):
        mask, wanted = read(tmp_path / "masks" / f"{name}.png"), blocks(seed, size)
        assert mask.shape == wanted.shape
        rows, columns = np.arange(4) * size[0] // 4 + size[0] // 8, np.arange(2) * size[1] // 2 + size[1] // 4
        middles = np.ix_(rows, columns)  # of the blocks
        np.testing.assert_array_equal(mask[middles], wanted[middles])


def test_the_brightness_of_a_slice_does_not_matter(slices, tmp_path, use):
    """Each slice is scaled by its own minimum and maximum, at 8 and at 16 bits; a slice of one grey is background."""
    model = use(Ruler())
    wanted = blocks(1)
    save(slices / "a.png", wanted * 20 + 50)
    save(slices / "b.png", wanted.astype(np.uint16) * 85 + 40_000)
    save(slices / "c.png", wanted.astype(np.uint16) * 20_000)
    save(slices / "d.png", np.full(SIZE, 200, np.uint8))
    predict_folder(slices, tmp_path / "masks", "n.safetensors", "cpu", batch_size=4)
    for name in "abc":
        np.testing.assert_array_equal(read(tmp_path / "masks" / f"{name}.png"), wanted)
    assert not read(tmp_path / "masks" / "d.png").any()
    assert model.seen[0].dtype == torch.float32
    torch.testing.assert_close(model.seen[0][1, 0], torch.from_numpy(wanted / 3).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "I;16"])
def test_every_kind_of_grey_png_is_read(tmp_path, mode):
    pixels = blocks(2) * 85
    if mode == "I;16":
        picture = Image.fromarray(pixels.astype(np.uint16) * 257)
    elif mode == "1":
        picture, pixels = Image.fromarray(pixels > 100), np.where(pixels > 100, 255, 0)
    else:
        picture = Image.fromarray(pixels).convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(7)
    picture.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as written:
        assert written.mode.startswith("I" if mode == "I;16" else mode)
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), pixels.astype(int) * (257 if mode == "I;16" else 1))


def bad_files(folder: Path) -> dict[str, str]:
    """Write files that cannot be segmented; return what is to be said of each."""
    good = save(folder / "whole.png", np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)).read_bytes()
    (folder / "whole.png").unlink()
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "head.png").write_bytes(good[:20])
    (folder / "text.png").write_text("not a picture")
    Image.fromarray(blocks(0)).save(folder / "photo.png", format="JPEG")
    colour = np.stack([blocks(0) * 85] * 3, axis=-1)
    colour[5, 5, 1] += 1
    save(folder / "colour.png", colour)
    unreadable = "expected a PNG slice, found a file that cannot be read"
    said = dict.fromkeys(("cut", "empty", "head", "text", "photo"), unreadable) | {"colour": "expected a grey slice"}
    return {f"{name}.png": what for name, what in said.items()}


def test_a_bad_file_does_not_cost_the_others_and_the_command_says_so(slices, tmp_path, use, capsys):
    use(Ruler())
    wrong = bad_files(slices)
    for seed, name in enumerate(("a.png", "k.png", "z.png")):
        save(slices / name, blocks(seed) * 85)
    out = tmp_path / "masks"
    assert main(["predict", "--input", str(slices), "--output", str(out), "--weights", "n.safetensors"]) == 1
    assert names(out) == ["a.png", "k.png", "z.png"]
    for seed, name in enumerate(names(out)):
        np.testing.assert_array_equal(read(out / name), blocks(seed))
    printed = capsys.readouterr()
    assert printed.out == f"3 of 9 slices segmented with n.safetensors (ruler, width 1), label maps: {out}\n"
    said = [line for line in printed.err.splitlines() if line.startswith(("left out", "error"))]
    assert len(said) == 7 and said[-1] == f"error: {slices}: 6 of 9 slices could not be segmented, see above"
    for line, (name, what) in zip(said, sorted(wrong.items()), strict=False):
        assert line.startswith(f"left out: {slices / name}: {what}") and "earlier" not in line


def test_an_old_mask_of_a_bad_file_is_pointed_out_and_others_are_overwritten(slices, tmp_path, use):
    use(Ruler())
    out = tmp_path / "masks"
    for name in ("a.png", "b.png"):
        save(slices / name, blocks(0) * 85)
    predict_folder(slices, out, "n.safetensors", "cpu")
    save(slices / "a.png", blocks(1) * 85)
    (slices / "b.png").write_bytes(b"")
    done = predict_folder(slices, out, "n.safetensors", "cpu")
    assert list(done.left_out) == [slices / "b.png"]
    assert done.left_out[slices / "b.png"].endswith(f"{out / 'b.png'} is of an earlier run")
    np.testing.assert_array_equal(read(out / "a.png"), blocks(1))


def test_one_file(slices, tmp_path, use):
    use(Ruler())
    save(slices / "a.png", blocks(0) * 85)
    save(slices / "b.png", blocks(1) * 85)
    predict_folder(slices / "b.png", tmp_path / "masks", "n.safetensors", "cpu")
    assert names(tmp_path / "masks") == ["b.png"]
    np.testing.assert_array_equal(read(tmp_path / "masks" / "b.png"), blocks(1))


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("nowhere", "masks", "nowhere: expected a volume, or a folder of volumes or PNG slices, found none"),
        ("empty", "masks", "empty: expected volumes"),
        ("notes.txt", "masks", "notes.txt: expected a volume"),
        ("slices", "slices", "slices: the masks would overwrite the slices"),
        ("slices", "empty/../slices", "slices: the masks would overwrite the slices"),
        ("slices/a.png", "slices", "slices: the masks would overwrite the slices"),
        ("slices", "notes.txt", "notes.txt is a file; name another"),
    ],
)
def test_what_cannot_start_is_one_line(slices, tmp_path, use, capsys, source, output, message):
    use(Ruler())
    save(slices / "a.png", blocks(0) * 85)
    before = (slices / "a.png").read_bytes()
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    line = [
        "predict",
        "--input",
        str(tmp_path / source),
        "--output",
        str(tmp_path / output),
        "--weights",
        "n.safetensors",
    ]
    assert main(line) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and message in said[0]
    assert names(slices) == ["a.png"] and (slices / "a.png").read_bytes() == before
    assert not (tmp_path / "masks").exists()


def test_missing_weights_are_named(slices, tmp_path, monkeypatch, capsys):
    save(slices / "a.png", blocks(0) * 85)
    monkeypatch.setattr(network, "WEIGHTS", tmp_path / "weights")
    line = ["predict", "--input", str(slices), "--output", str(tmp_path / "masks")]
    assert main(line) == 2
    assert main([*line, "--weights", str(tmp_path / "mine.safetensors")]) == 2
    default, named = capsys.readouterr().err.splitlines()
    assert default.startswith(f"error: {tmp_path / 'weights' / 'spine_t2space.safetensors'}: no such checkpoint")
    assert named.startswith(f"error: {tmp_path / 'mine.safetensors'}: no such checkpoint")
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"training": {}}', '{"training": 3}'])
def test_a_description_that_is_none_is_named(slices, tmp_path, trained, text, capsys):
    save(slices / "a.png", blocks(0) * 85)
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(Path(trained).read_bytes())
    weights.with_suffix(".json").write_text(text)
    line = ["predict", "--input", str(slices), "--output", str(tmp_path / "masks"), "--weights", str(weights)]
    assert main(line) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'mine.json'}: expected the JSON") and error.count("\n") == 1


def test_neighbours_are_found_by_number(slices, tmp_path, use):
    """A ruler on the channel before: the mask of a slice shows the slice before it."""
    for number in (8, 9, 10, 12):
        save(slices / f"5_t2_slice{number}.png", blocks(number) * 85)
    save(slices / "6_t2_slice11.png", blocks(11) * 85)  # another series
    save(slices / "other.png", blocks(1) * 85)  # no number
    shown = {
        "5_t2_slice8": 8,  # there is none before the first one
        "5_t2_slice9": 8,
        "5_t2_slice10": 9,
        "5_t2_slice12": 12,  # 11 is missing
        "6_t2_slice11": 11,
        "other": 1,
    }
    model = use(Ruler(channel=0), training={"neighbours": 1})
    predict_folder(slices, tmp_path / "masks", "n.safetensors", "cpu", batch_size=2)
    assert all(batch.shape[1] == 3 for batch in model.seen)
    for name, seed in shown.items():
        np.testing.assert_array_equal(read(tmp_path / "masks" / f"{name}.png"), blocks(seed), err_msg=name)
    use(Ruler(channel=2), training={"neighbours": 1})
    predict_folder(slices / "5_t2_slice9.png", tmp_path / "one", "n.safetensors", "cpu")
    np.testing.assert_array_equal(read(tmp_path / "one" / "5_t2_slice9.png"), blocks(10))


def test_for_a_missing_neighbour_stands_the_next_one_nearer(slices, tmp_path, use):
    for number in (1, 3, 4, 6):
        save(slices / f"s{number:02d}.png", blocks(number) * 85)
    save(slices / "s05.png", blocks(5) * 85)
    (slices / "s05.png").write_bytes((slices / "s05.png").read_bytes()[:40])  # cannot be read
    model = use(Ruler(), training={"neighbours": 2})
    done = predict_folder(slices, tmp_path / "masks", "n.safetensors", "cpu", batch_size=1)
    assert list(done.left_out) == [slices / "s05.png"]
    found = [[level.argmin().item() for level in levels_of(batch[0])] for batch in model.seen]
    order = [1, 3, 4, 6]
    wanted = [[1, 1, 1, 1, 3], [1, 3, 3, 4, 4], [3, 3, 4, 4, 6], [4, 6, 6, 6, 6]]
    assert [[order[place] for place in places] for places in found] == wanted


def levels_of(channels: torch.Tensor) -> list[torch.Tensor]:
    """Return each channel's mean difference from the slices 1, 3, 4 and 6."""
    known = torch.stack([torch.from_numpy(blocks(number) / 3).float() for number in (1, 3, 4, 6)])
    return [(known - channel).abs().mean(dim=(1, 2)) for channel in channels]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("12_t2_SPACE_slice061.png", ("12_t2_SPACE_slice", 61)),
        ("7.png", ("", 7)),
        ("a7.PNG", ("a", 7)),
        ("a7b.png", ("a7b.png", -1)),
    ],
)
def test_series_and_number_of_a_name(name, key):
    assert slice_key(Path(name)) == key


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A network as a training leaves it; its weights are drawn, its norms fitted to noise so that classes vary."""
    folder = tmp_path_factory.mktemp("trained")
    settings = TrainSettings(width=2, train_height=64, train_width=32, device="cpu", seed=3)
    torch.manual_seed(3)
    model = settings.network().train()
    with torch.no_grad():
        for _ in range(20):
            model(torch.rand(4, 1, *SIZE))
    write_network(model.eval(), {"training": asdict(settings)}, folder)
    return folder / "best.safetensors"


def noise(count: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Slices of noise that reach from 0 to 255, (count, H, W) uint8."""
    images = np.random.default_rng(5).integers(0, 256, (count, *size), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = 0, 255
    return images


@pytest.mark.parametrize("size", [SIZE, (90, 70)])
def test_a_folder_gives_the_masks_that_are_scored(slices, tmp_path, trained, size):
    images = noise(5, size)
    for number, image in enumerate(images):
        save(slices / f"{number}.png", image)
    predict_folder(slices, tmp_path / "masks", trained, "cpu")
    wanted = predict_masks(network.ready_network(trained, "cpu"), images)
    assert len(np.unique(wanted)) > 1
    found = np.stack([read(tmp_path / "masks" / f"{number}.png") for number in range(5)])
    assert (found == wanted).mean() > 0.9999


def test_half_precision_weights_work(slices, tmp_path, trained):
    half = tmp_path / "half.safetensors"
    tensors = load_file(trained)
    save_file({name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}, half)
    half.with_suffix(".json").write_text(trained.with_suffix(".json").read_text())
    for number, image in enumerate(noise(3)):
        save(slices / f"{number}.png", image)
    predict_folder(slices, tmp_path / "full", trained, "cpu")
    done = predict_folder(slices, tmp_path / "half", half, "cpu")
    assert done.network == "half.safetensors (paper_text, width 2)"
    pairs = [(read(tmp_path / "full" / name), read(tmp_path / "half" / name)) for name in names(tmp_path / "full")]
    assert len(np.unique(pairs[0][0])) > 1 and np.mean([full == half for full, half in pairs]) > 0.98


class Darker(Identity):
    """A view whose every pixel is another one."""

    def apply(self, images):
        return images**1.25


def test_views_and_cleaning_follow_the_json(slices, tmp_path, trained, use, monkeypatch):
    monkeypatch.setitem(VIEWS, "darker", Darker())
    images = noise(2)
    for number, image in enumerate(images):
        save(slices / f"{number}.png", image)
    model, described = load_network(trained, torch.device("cpu"))
    x = torch.from_numpy(images / 255).float()[:, None]
    with torch.no_grad():
        plain, dark = (model(view).softmax(1) for view in (x, x**1.25))
    wanted = ((plain + dark) / 2).argmax(1).byte().numpy()
    assert (wanted != plain.argmax(1).numpy()).any()
    views = {"views": ["identity", "darker"]}
    rules = CleanupSettings(vertebra_pixels=2000, disc_pixels=2000, canal_share=0.3, hole_pixels=3000)
    cleaned = np.stack([clean_up(mask, rules) for mask in wanted])
    assert (cleaned != wanted).any()
    for name, used, masks in (
        ("views", views, wanted),
        ("both", views | {"cleanup": asdict(rules)}, cleaned),
        ("written", json.loads(json.dumps(asdict(InferenceSettings(("identity", "darker"), rules)))), cleaned),
        ("off", {"views": ["identity"], "cleanup": None}, plain.argmax(1).numpy()),
    ):
        use(model, training=described["training"], inference=used)
        predict_folder(slices, tmp_path / name, "n.safetensors", "cpu")
        found = np.stack([read(tmp_path / name / f"{number}.png") for number in range(2)])
        assert (found == masks).mean() > 0.999, name


def test_one_view_gives_the_same_mask_by_logits_and_by_probabilities(trained):
    inputs, sizes = torch.from_numpy(noise(3))[:, None], [(90, 70), SIZE, (40, 20)]
    once = network.ready_network(trained, "cpu")
    again = replace(once, settings=InferenceSettings(views=("identity", "identity")))
    (_, plain, logits), (_, twice, scores) = (
        next(segment_batches(used, [(None, inputs, sizes)])) for used in (once, again)
    )
    torch.testing.assert_close(logits.softmax(dim=1), scores.softmax(dim=1), rtol=0, atol=1e-6)
    for one, two, size in zip(plain, twice, sizes, strict=True):
        assert one.shape == size and one.dtype == np.uint8
        assert (one == two).mean() > 0.999 and len(np.unique(one)) > 1


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"inference": {"views": ["upside_down"]}}, "n.json: inference: views: expected one or more of identity, "),
        ({"inference": {"views": []}}, "n.json: inference: views: expected .*, found none"),
        ({"inference": {"views": [["identity"]]}}, "n.json: inference: views: expected .*, found \\['identity'\\]"),
        ({"inference": {"views": "identity"}}, "n.json: inference: views: expected one or more of"),
        ({"inference": {"views": None}}, "n.json: inference: views: expected .*, found None"),
        ({"inference": {"cleanup": 3}}, "n.json: inference: cleanup: expected its rules, or null for none, found 3"),
        (
            {"inference": {"cleanup": {"hole_pixels": math.inf}}},
            "hole_pixels: expected a number of 0 or more, found inf",
        ),
        ({"inference": {"tta": True}}, "n.json: inference: .*tta"),
        ({"inference": {"cleanup": {"island": 3}}}, "n.json: inference: .*island"),
        ({"inference": {"cleanup": {"canal_share": 2}}}, "n.json: inference: canal_share: expected 0 to 1"),
        ({"data": {"preprocess": {"geometry": "pad"}}}, "n.safetensors: trained with geometry 'pad'"),
        ({"split": {"preprocess": {"intensity": "volume_percentile"}}}, "trained with intensity 'volume_percentile'"),
    ],
)
def test_a_network_that_cannot_be_followed_is_refused(slices, tmp_path, use, description, message):
    save(slices / "a.png", blocks(0))
    use(Ruler(), **description)
    with pytest.raises(SpiderError, match=message):
        predict_folder(slices, tmp_path / "masks", "n.safetensors", "cpu")
    assert not (tmp_path / "masks").exists()


def test_all_views_are_usable_by_name(slices, tmp_path, use):
    """A ruler does not mind shifts and scales."""
    use(Ruler(), inference={"views": list(VIEWS)})
    save(slices / "a.png", blocks(3) * 85)
    predict_folder(slices, tmp_path / "masks", "n.safetensors", "cpu")
    mask = read(tmp_path / "masks" / "a.png")
    np.testing.assert_array_equal(mask[8::16, 8::16], blocks(3)[8::16, 8::16])


def test_nothing_is_left_behind_when_writing_fails(slices, tmp_path, use, monkeypatch):
    use(Ruler())
    save(slices / "a.png", blocks(0) * 85)

    def full(self, path, **options):
        Path(path).write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(SpiderError, match=r"a.png: cannot be written \(No space left on device\)"):
        predict_folder(slices, tmp_path / "masks", "n.safetensors", "cpu")
    assert names(tmp_path / "masks") == []


def test_predicting_needs_neither_jupyter_nor_matplotlib(slices, tmp_path, trained):
    save(slices / "a.png", noise(1)[0])
    line = ["predict", "--input", str(slices), "--output", str(tmp_path / "masks"), "--weights", str(trained)]
    code = (
        f"import sys; from spider_utils.__main__ import main; status = main({line!r}); "
        "print('status', status, *sorted({'matplotlib', 'IPython', 'ipywidgets', 'papermill'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    told = f"exit {done.returncode}, out {done.stdout!r}, err {done.stderr!r}"  # of too little memory, too
    assert done.returncode == 0 and "status 0" in done.stdout.splitlines(), told
    assert names(tmp_path / "masks") == ["a.png"]
