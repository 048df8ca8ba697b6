"""Both downloads against a server on the loopback address: whole, resumed, damaged, malicious, unreachable."""

import hashlib
import io
import re
import socket
import struct
import subprocess
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from spider_utils.common.errors import SpiderError
from spider_utils.data.download import (
    MANIFEST,
    RELEASED_ARCHIVE,
    download_released,
    download_spider,
    extract_zip,
    git_blob_id,
    read_manifest,
)
from spider_utils.data.sources import find_series, read_stack


class Server:
    """Files by path, and a log of (path, asked range, bytes sent)."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.log: list[tuple[str, str | None, int]] = []
        self.break_after: int | None = None  # bytes of a body after which the connection is closed
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path, asked = self.path.partition("?")[0], self.headers.get("Range")
                content = outer.files.get(path)
                if content is None:
                    self.send_error(404)
                    outer.log.append((path, asked, 0))
                    return
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
                if start >= len(content):
                    self.send_error(416)
                    outer.log.append((path, asked, 0))
                    return
                body = content[start:]
                self.send_response(206 if asked else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                sent = body[: outer.break_after]
                self.wfile.write(sent)
                outer.log.append((path, asked, len(sent)))

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.close()


@pytest.fixture
def dead_url(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def make_zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as content:
        for name, data in members.items():
            content.writestr(name, data)
    return buffer.getvalue()


def one_line(caught) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def files_below(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- released slices


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 5), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def released(server, tmp_path):
    """Four files of two patients on the server, as GitHub packs them, and their manifest."""
    pictures = {
        f"{kind}/{patient}_t2_SPACE_slice{number}.png": png(value)
        for kind, patient, number, value in (
            ("images", 5, 49, 10),
            ("masks", 5, 49, 76),
            ("images", 12, 50, 20),
            ("masks", 12, 50, 150),
        )
    }
    rows = ["patient,slice,image_bytes,image_sha1,mask_bytes,mask_sha1"]
    for name in ("5_t2_SPACE_slice49.png", "12_t2_SPACE_slice50.png"):
        patient, number = re.findall(r"\d+", name.replace("t2", ""))
        image, mask = pictures[f"images/{name}"], pictures[f"masks/{name}"]
        rows.append(f"{patient},{number},{len(image)},{git_blob_id(image)},{len(mask)},{git_blob_id(mask)}")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n")

    def serve(changed: dict[str, bytes | None] | None = None):
        state = {name: data for name, data in (pictures | (changed or {})).items() if data is not None}
        members = {f"repo-abc/Data/t2_SPACE/{name}": data for name, data in state.items()}
        server.files["/all.zip"] = make_zip(members | {"repo-abc/README.md": b"text", "../evil.txt": b"out"})

    serve()
    return pictures, manifest, serve


def test_released_slices_are_fetched_checked_and_not_fetched_twice(server, released, tmp_path):
    pictures, manifest, _ = released
    out = tmp_path / "out"
    download_released(out, f"{server.url}/all.zip", manifest)
    assert files_below(out) == set(pictures)
    for name, data in pictures.items():
        assert (out / name).read_bytes() == data
    series = find_series("released", out)
    assert [one.patient for one in series] == [5, 12]
    assert (read_stack(series[1]).classes() == 2).all()
    download_released(out, f"{server.url}/all.zip", manifest)
    assert len(server.log) == 1


def test_only_missing_and_damaged_slices_are_written_again(server, released, tmp_path):
    pictures, manifest, _ = released
    out = tmp_path / "out"
    download_released(out, f"{server.url}/all.zip", manifest)
    kept, damaged, missing = sorted(pictures)[:3]
    before = (out / kept).stat().st_mtime_ns
    (out / damaged).write_bytes(pictures[damaged][:-1] + b"?")
    (out / missing).unlink()
    download_released(out, f"{server.url}/all.zip", manifest)
    assert (out / damaged).read_bytes() == pictures[damaged]
    assert (out / missing).read_bytes() == pictures[missing]
    assert (out / kept).stat().st_mtime_ns == before


def test_a_slice_that_differs_is_refused_by_name_and_not_stored(server, released, tmp_path):
    pictures, manifest, serve = released
    name = "masks/12_t2_SPACE_slice50.png"
    wrong = pictures[name][:-1] + b"?"  # the right size
    for content in (wrong, wrong + b"longer"):
        serve({name: content})
        with pytest.raises(SpiderError, match=f"{name}.*{git_blob_id(pictures[name])}") as caught:
            download_released(tmp_path / "out", f"{server.url}/all.zip", manifest)
        one_line(caught)
        assert files_below(tmp_path / "out") == set(pictures) - {name}
    serve({name: None})
    with pytest.raises(SpiderError, match=f"{name}.*found none"):
        download_released(tmp_path / "out", f"{server.url}/all.zip", manifest)
    serve()
    download_released(tmp_path / "out", f"{server.url}/all.zip", manifest)
    assert files_below(tmp_path / "out") == set(pictures)


def test_an_archive_put_there_by_hand_is_used(server, released, tmp_path, dead_url):
    pictures, manifest, _ = released
    out = tmp_path / "out"
    out.mkdir()
    (out / RELEASED_ARCHIVE).write_bytes(server.files["/all.zip"])
    download_released(out, f"{dead_url}/all.zip", manifest)
    assert files_below(out) == set(pictures)


def test_released_without_a_network_says_how_to_fetch_by_hand(released, tmp_path, dead_url):
    with pytest.raises(SpiderError, match="could not be reached") as caught:
        download_released(tmp_path / "out", f"{dead_url}/all.zip", released[1])
    message = one_line(caught)
    assert f"{dead_url}/all.zip" in message and str(tmp_path / "out" / RELEASED_ARCHIVE) in message


def test_members_of_one_name_are_refused(tmp_path):
    """One packed file that the archive lists a hundred times, and two files of one name."""
    content = make_zip({"images/a.mha": np.random.default_rng(0).bytes(10_000)})
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    counts = struct.pack("<HHHHIIH", 0, 0, 100, 100, 100 * (end - start), start, 0)
    (tmp_path / "images.zip").write_bytes(content[:start] + content[start:end] * 100 + content[end : end + 4] + counts)
    assert len(zipfile.ZipFile(tmp_path / "images.zip").infolist()) == 100
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as twice, pytest.warns(UserWarning, match="Duplicate name"):
        for text in ("one", "another"):
            twice.writestr("images/a.mha", text)
    for name in ("images.zip", "twice.zip"):
        with pytest.raises(SpiderError, match=f"{name}: expected a zip archive, found a damaged one; remove it"):
            extract_zip(tmp_path / name, tmp_path / "images")
        assert not (tmp_path / "images").exists()


def test_released_http_error_broken_connection_and_no_zip_are_one_line(server, released, tmp_path):
    _, manifest, _ = released
    with pytest.raises(SpiderError, match="gone.zip.*404") as caught:
        download_released(tmp_path / "out", f"{server.url}/gone.zip", manifest)
    one_line(caught)
    server.break_after = 100
    with pytest.raises(SpiderError, match="when the connection broke off"):
        download_released(tmp_path / "out", f"{server.url}/all.zip", manifest)
    server.break_after = None
    server.files["/all.zip"] = b"<html>sign in</html>"
    with pytest.raises(SpiderError, match="zip archive") as caught:
        download_released(tmp_path / "out", f"{server.url}/all.zip", manifest)
    one_line(caught)
    assert not any("/" in name or name.endswith(".zip") for name in files_below(tmp_path / "out"))


def test_blob_id_is_what_git_computes():
    content = b"\x89PNG not really\n"
    answer = subprocess.run(["git", "hash-object", "--stdin"], input=content, capture_output=True, check=True)
    assert git_blob_id(content) == answer.stdout.decode().strip()


def test_committed_manifest_fits_the_real_slices(shared_data):
    files = {one.path: one for one in read_manifest(MANIFEST)}
    assert len(files) == 1706
    assert len({path.split("_")[0] for path in files if path.startswith("images/")}) == 41
    assert sum(one.size for one in files.values()) == 181_258_840
    real = sorted((shared_data / "released_t2_space").glob("*/*.png"))
    assert len(real) == 2 * 622
    for path in real[::25]:
        one = files[f"{path.parent.name}/{path.name}"]
        assert (one.size, one.blob) == (path.stat().st_size, git_blob_id(path.read_bytes()))


# --- SPIDER


@pytest.fixture
def spider(server, tmp_path):
    """Two series on the server, packed as on Zenodo, and the archives' checksums."""
    archives = {}
    for kind, value in (("masks", 100), ("images", 7)):
        members = {}
        for name in ("1_t1", "2_t2_SPACE"):
            path = tmp_path / "volume.mha"
            voxels = np.random.default_rng(value).integers(0, 5000, (9, 90, 90), np.int16) if value == 7 else None
            volume = sitk.GetImageFromArray(np.full((9, 90, 90), value, np.uint8) if voxels is None else voxels)
            sitk.WriteImage(volume, str(path))
            members[f"{kind}/{name}.mha"] = path.read_bytes()
        server.files[f"/{kind}.zip"] = make_zip(members)
        archives[f"{kind}.zip"] = hashlib.sha256(server.files[f"/{kind}.zip"]).hexdigest()
    server.files["/overview.csv"] = b"new_file_name,sex,subset\n1_t1,F ,training\n2_t2_SPACE,M,validation\n"
    server.files["/radiological_gradings.csv"] = b"Patient,IVD label,Pfirrman grade\n1,1,3\n"
    return archives


SPIDER_FILES = {
    "overview.csv",
    "radiological_gradings.csv",
    "download.json",
    *(f"{kind}/{name}.mha" for kind in ("images", "masks") for name in ("1_t1", "2_t2_SPACE")),
}


def test_spider_is_fetched_extracted_and_not_fetched_twice(server, spider, tmp_path, capsys):
    out = tmp_path / "out"
    download_spider(out, server.url, spider)
    assert files_below(out) == SPIDER_FILES
    assert re.search("overview.csv: no published checksum", capsys.readouterr().out)
    first, second = find_series("spider", out)
    assert (first.subset, second.subset) == ("training", "validation")
    assert (read_stack(first).classes() == 2).all()
    asked = len(server.log)
    assert asked == 4
    download_spider(out, server.url, spider)
    assert len(server.log) == asked
    (out / "masks" / "1_t1.mha").unlink()
    download_spider(out, server.url, spider)
    assert [path for path, _, _ in server.log[asked:]] == ["/masks.zip"]
    assert files_below(out) == SPIDER_FILES


def test_a_broken_download_goes_on_where_it_stopped(server, spider, tmp_path):
    out = tmp_path / "out"
    whole = server.files["/images.zip"]
    for name in ("masks.zip", "overview.csv", "radiological_gradings.csv"):
        out.mkdir(exist_ok=True)
        (out / name).write_bytes(server.files[f"/{name}"])
    server.break_after = 200_000
    with pytest.raises(SpiderError, match=f"images.zip.*expected {len(whole)} bytes.*broke off") as caught:
        download_spider(out, server.url, spider)
    one_line(caught)
    have = (out / ".images.zip.part").stat().st_size
    assert 100_000 < have <= 200_000 < len(whole)
    server.break_after = None
    download_spider(out, server.url, spider)
    assert server.log == [("/images.zip", None, 200_000), ("/images.zip", f"bytes={have}-", len(whole) - have)]
    assert files_below(out) == SPIDER_FILES


def test_a_part_that_is_whole_already_is_used(server, spider, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".images.zip.part").write_bytes(server.files["/images.zip"])
    download_spider(out, server.url, spider)
    assert sum(sent for path, _, sent in server.log if path == "/images.zip") == 0
    assert files_below(out) == SPIDER_FILES


def test_a_damaged_archive_is_refused_and_not_left_in_place(server, spider, tmp_path):
    out = tmp_path / "out"
    good = server.files["/images.zip"]
    server.files["/images.zip"] = good[:-5] + b"12345"
    with pytest.raises(SpiderError, match=f"images.zip.*SHA-256 {spider['images.zip']}") as caught:
        download_spider(out, server.url, spider)
    one_line(caught)
    assert not any("images" in name for name in files_below(out))
    server.files["/images.zip"] = good
    download_spider(out, server.url, spider)
    assert files_below(out) == SPIDER_FILES


def test_a_page_in_place_of_a_table_is_refused_and_not_left(server, spider, tmp_path):
    server.files["/overview.csv"] = b"<html>\n<body>sign in, please</body>\n"
    with pytest.raises(SpiderError, match="overview.csv") as caught:
        download_spider(tmp_path / "out", server.url, spider)
    one_line(caught)
    assert files_below(tmp_path / "out") == set()


def test_spider_without_a_network_says_what_to_fetch_and_where_to_put_it(spider, tmp_path, dead_url):
    with pytest.raises(SpiderError, match=f"{dead_url}/overview.csv.*could not be reached") as caught:
        download_spider(tmp_path / "out", dead_url, spider)
    message = one_line(caught)
    for part in ("images.zip", "masks.zip", "radiological_gradings.csv", "zenodo.org/records/10159290"):
        assert part in message
    assert str(tmp_path / "out") in message


def test_spider_http_error_is_one_line(server, spider, tmp_path):
    del server.files["/masks.zip"]
    with pytest.raises(SpiderError, match="masks.zip.*404") as caught:
        download_spider(tmp_path / "out", server.url, spider)
    one_line(caught)


@pytest.mark.parametrize("name", ["../evil.mha", "images/../../evil.mha", "/evil.mha", "C:\\evil.mha", "..\\evil.mha"])
def test_a_member_that_leaves_its_folder_is_refused(tmp_path, name):
    archive = tmp_path / "a" / "images.zip"
    archive.parent.mkdir()
    archive.write_bytes(make_zip({"images/1_t1.mha": b"fine", name: b"evil"}))
    with pytest.raises(SpiderError, match="images.zip.*evil.mha") as caught:
        extract_zip(archive, tmp_path / "a" / "images")
    one_line(caught)
    assert files_below(tmp_path) == {"a/images.zip"}


def test_a_link_in_an_archive_is_refused(tmp_path):
    link = zipfile.ZipInfo("images/1_t1.mha")
    link.create_system = 3
    link.external_attr = 0o120777 << 16
    archive = tmp_path / "images.zip"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr(link, "/etc/hostname")
    with pytest.raises(SpiderError, match="1_t1.mha"):
        extract_zip(archive, tmp_path / "images")
    assert files_below(tmp_path) == {"images.zip"}


def test_a_malicious_archive_is_refused_even_with_a_right_checksum(server, spider, tmp_path):
    server.files["/masks.zip"] = make_zip({"../../evil.mha": b"evil"})
    sums = spider | {"masks.zip": hashlib.sha256(server.files["/masks.zip"]).hexdigest()}
    with pytest.raises(SpiderError, match="evil.mha"):
        download_spider(tmp_path / "deep" / "out", server.url, sums)
    assert not list(tmp_path.rglob("evil.mha"))


def test_members_with_and_without_a_top_folder_land_in_the_same_place(tmp_path):
    archive = tmp_path / "masks.zip"
    archive.write_bytes(make_zip({"masks/": b"", "masks/1_t1.mha": b"one", "2_t1.mha": b"three"}))
    assert extract_zip(archive, tmp_path / "masks") == {"1_t1.mha": 3, "2_t1.mha": 5}
    assert (tmp_path / "masks" / "1_t1.mha").read_bytes() == b"one"
    assert (tmp_path / "masks" / "2_t1.mha").read_bytes() == b"three"


def test_a_damaged_member_leaves_no_file(tmp_path):
    archive = tmp_path / "masks.zip"
    content = bytearray(make_zip({"1_t1.mha": bytes(range(256)) * 8}))
    content[60] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(SpiderError, match="masks.zip.*damaged") as caught:
        extract_zip(archive, tmp_path / "masks")
    one_line(caught)
    assert files_below(tmp_path) == {"masks.zip"}
