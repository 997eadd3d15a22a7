"""The command line as its users meet it: real processes, real files, exit codes and one-sentence errors."""

import io
import json
import os
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

import vaecodec
from conftest import psnr


def run(
    *args: object, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "vaecodec", *map(str, args)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )


def refused(result: subprocess.CompletedProcess[bytes], *words: str, code: int = 1) -> None:
    """Exit code, no traceback, one line that has all the words, nothing on standard output."""
    error = result.stderr.decode()
    assert result.returncode == code, error
    assert "Traceback" not in error
    assert result.stdout == b""
    if code == 1:
        assert len(error.strip().splitlines()) == 1, error
    assert all(word in error for word in words), error


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image, photo_file: bytes) -> Path:
    photo.save(tmp_path / "photo.png")
    (tmp_path / "photo.vae").write_bytes(photo_file)
    return tmp_path


def test_round_trip(folder: Path, photo: Image.Image, photo_file: bytes) -> None:
    result = run("encode", "photo.png", "out.vae", cwd=folder)
    assert result.returncode == 0 and result.stdout == b"" and b"bits per pixel" in result.stderr
    assert (folder / "out.vae").read_bytes() == photo_file
    assert stat.S_IMODE((folder / "out.vae").stat().st_mode) == stat.S_IMODE(
        (folder / "photo.png").stat().st_mode
    )
    for name in ("out.png", "out.JPG", "out.webp", "out.tiff"):
        assert run("decode", "out.vae", name, "--quiet", cwd=folder).stderr == b""
        with Image.open(folder / name) as image:
            assert image.size == photo.size and psnr(photo, image.convert("RGB")) > 29


def test_streams(folder: Path, photo: Image.Image, photo_file: bytes) -> None:
    encoded = run("encode", "-", "-", stdin=(folder / "photo.png").read_bytes())
    assert encoded.stdout == photo_file
    decoded = run("decode", "-", "-", "--format", "bmp", stdin=encoded.stdout)
    image = Image.open(io.BytesIO(decoded.stdout))
    assert image.format == "BMP" and image.size == photo.size


def test_several_inputs_and_one_bad(folder: Path, photo: Image.Image) -> None:
    pictures = folder / "pictures"
    pictures.mkdir()
    photo.save(pictures / "a.png")
    photo.convert("L").save(pictures / "b.jpg")
    (pictures / "broken.png").write_bytes(b"not a picture")
    (pictures / "notes.txt").write_text("no image")
    result = run(
        "encode", pictures, folder / "photo.png", "-o", folder / "out", "--quality", "20", "-q"
    )
    refused(result, "broken.png", "not an image")
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a.vae", "b.vae", "photo.vae"]
    assert (
        run("decode", folder / "out", "-o", folder / "back", "--format", "webp", "-q").returncode
        == 0
    )
    assert sorted(p.name for p in (folder / "back").iterdir()) == ["a.webp", "b.webp", "photo.webp"]


def test_targets(folder: Path) -> None:
    for option, value, low, high in (
        ("--size", "4k", 3920, 4000),
        ("--bpp", "0.9", 0.98 * 4132, 4133),
    ):
        assert run("encode", "photo.png", "t.vae", option, value, "-f", cwd=folder).returncode == 0
        assert low <= (folder / "t.vae").stat().st_size <= high
    assert run("encode", "photo.png", "t.vae", "--psnr", "33", "-f", cwd=folder).returncode == 0
    with Image.open(folder / "photo.png") as image:
        assert 33 <= psnr(image, vaecodec.decode((folder / "t.vae").read_bytes())) < 33.66
    refused(
        run("encode", "photo.png", "u.vae", "--size", "50", cwd=folder),
        "photo.png",
        "quality 1 takes",
    )
    assert not (folder / "u.vae").exists()


def test_info(folder: Path, photo_file: bytes) -> None:
    text = run("info", "photo.vae", cwd=folder).stdout.decode()
    assert "237 x 155 RGB, quality 50" in text
    fields = json.loads(run("info", "--json", "photo.vae", cwd=folder).stdout)
    assert (
        fields["bytes"] == len(photo_file) and fields["model"] == vaecodec.probe(photo_file).model
    )
    (folder / "cut.vae").write_bytes(photo_file[:-1])
    result = run("info", "cut.vae", "photo.vae", cwd=folder)
    assert result.returncode == 1 and b"cut.vae: cut short" in result.stderr
    assert b"cut.vae" not in result.stdout and b"photo.vae: 237" in result.stdout


def test_info_loads_no_network() -> None:
    code = (
        "import sys; sys.argv = ['vaecodec', 'info', 'nothing.vae']\nfrom vaecodec.cli.app import main\n"
        "try: main()\nexcept SystemExit: print([m for m in ('torch', 'numpy', 'onnxruntime', 'PIL') if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout.strip() == "[]", child.stderr


@pytest.mark.parametrize(
    "args, words",
    [
        (("encode", "photo.png"), ("INPUT", "OUTPUT")),
        (("encode",), ("Missing argument",)),
        (("encode", "photo.png", "a.vae", "b.vae"), ("-o DIR",)),
        (("encode", ".", "a.vae"), ("is a folder",)),
        (("encode", "photo.png", "a.vae", "--quality", "101"), ("--quality", "100")),
        (
            ("encode", "photo.png", "a.vae", "--quality", "50", "--bpp", "1"),
            ("--quality and --bpp",),
        ),
        (("encode", "photo.png", "a.vae", "--size", "forty"), ("forty",)),
        (("encode", "photo.png", "a.vae", "--bpp", "-1"), ("positive",)),
        (("encode", "-", "-o", "out"), ("standard input",)),
        (("decode", "photo.vae"), ("OUTPUT",)),
        (("info",), ("Missing argument",)),
        (("transmogrify",), ("transmogrify",)),
    ],
)
def test_wrong_usage(folder: Path, args: tuple[str, ...], words: tuple[str, ...]) -> None:
    before = sorted(folder.iterdir())
    refused(run(*args, cwd=folder), *words, code=2)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("empty.png", b"", ("empty",)),
        ("text.png", b"hello", ("not an image",)),
        ("missing.png", None, ("No such file",)),
        ("cut.png", "photo.png", ("damaged image",)),
    ],
)
def test_bad_pictures(
    folder: Path, name: str, data: bytes | str | None, words: tuple[str, ...]
) -> None:
    if data is not None:
        (folder / name).write_bytes(
            (folder / data).read_bytes()[:5000] if isinstance(data, str) else data
        )
    before = sorted(folder.iterdir())
    refused(run("encode", name, "new.vae", cwd=folder), name, *words)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda d: b"", ("empty",)),
        (lambda d: b"\x89PNG" + d[4:], ("signature",)),
        (lambda d: d[:4] + b"\x07" + d[5:], ("version 7", "newer")),
        (lambda d: d[:15], ("cut short",)),
        (lambda d: d[:-200], ("cut short",)),
        (lambda d: d[:300] + bytes([d[300] ^ 4]) + d[301:], ("damaged", "checksum")),
        (lambda d: d[:11] + b"\x7f" + d[12:], ("damaged header",)),
    ],
)
def test_bad_files(folder: Path, photo_file: bytes, change: object, words: tuple[str, ...]) -> None:
    (folder / "bad.vae").write_bytes(change(photo_file))  # type: ignore[operator]
    before = sorted(folder.iterdir())
    refused(run("decode", "bad.vae", "new.png", cwd=folder), "bad.vae", *words)
    assert sorted(folder.iterdir()) == before


def test_outputs_are_guarded(folder: Path) -> None:
    kept = (folder / "photo.vae").read_bytes()
    refused(
        run("encode", "photo.png", "photo.vae", "--quality", "1", cwd=folder),
        "photo.vae",
        "--force",
    )
    assert (folder / "photo.vae").read_bytes() == kept
    refused(
        run("encode", "photo.png", "photo.png", "--force", cwd=folder),
        "photo.png",
        "the input itself",
    )
    assert run("encode", "photo.png", "/dev/null", cwd=folder).returncode == 0
    assert (
        run("encode", "photo.png", "photo.vae", "--quality", "1", "--force", cwd=folder).returncode
        == 0
    )
    assert len((folder / "photo.vae").read_bytes()) < len(kept) / 2
    refused(
        run("encode", "photo.png", "no/such/folder/a.vae", cwd=folder),
        "no/such/folder/a.vae",
        "cannot be written",
    )
    refused(
        run("encode", "photo.png", "/dev/full", "--force", cwd=folder),
        "/dev/full",
        "cannot be written",
    )
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    (folder / "link.vae").symlink_to(folder / "target.vae")
    assert run("encode", "photo.png", "link.vae", cwd=folder).returncode == 0
    assert (folder / "link.vae").is_symlink() and (folder / "target.vae").is_file()
    refused(
        run("encode", "photo.png", "-o", "photo.png", cwd=folder), "photo.png", "cannot be created"
    )
    refused(run("decode", "photo.vae", "picture.xyz", cwd=folder), ".xyz")
    (folder / "same.jpg").write_bytes((folder / "photo.png").read_bytes())
    (folder / "same.png").write_bytes((folder / "photo.png").read_bytes())
    refused(
        run("encode", "-q", "same.jpg", "same.png", "-o", "out", cwd=folder),
        "same.png: would be",
        "the output of same.jpg",
    )
    assert (folder / "out" / "same.vae").is_file()


def test_pictures_with_too_many_pixels(folder: Path) -> None:
    for name, side in (
        ("large.png", 10_000),
        ("bomb.png", 20_000),
    ):  # Pillow itself warns at the first and refuses the second
        Image.new("1", (side, side)).save(folder / name)
        refused(
            run("encode", name, "new.vae", "--max-pixels", "99999999", cwd=folder),
            name,
            "pixels",
            "99999999",
        )
    refused(
        run("decode", "photo.vae", "new.png", "--max-pixels", "1000", cwd=folder),
        "photo.vae",
        "limit of 1000",
    )
    Image.new("1", (23_200, 23_200)).save(folder / "larger.png")
    refused(run("encode", "larger.png", "new.vae", cwd=folder), "larger.png", "536870912")


def test_what_cannot_be_represented_is_refused_and_what_is_changed_is_said(
    folder: Path, photo: Image.Image
) -> None:
    photo.convert("F").save(folder / "floats.tiff")
    refused(run("encode", "floats.tiff", "new.vae", cwd=folder), "floats.tiff", "mode F")
    photo.save(folder / "pages.tiff", save_all=True, append_images=[photo])
    done = run("encode", "pages.tiff", "pages.vae", cwd=folder)
    assert done.returncode == 0 and b"warning: only the first of its 2 frames" in done.stderr
    data = bytearray((folder / "photo.png").read_bytes())
    data[24] = 16  # claims 16 bits, has 8
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (folder / "deep.png").write_bytes(data)
    refused(run("encode", "deep.png", "new.vae", cwd=folder), "deep.png", "damaged")
    assert not (folder / "new.vae").exists()


def test_full_disk_leaves_nothing(folder: Path, photo: Image.Image) -> None:
    """A writer that fails half-way: the file size limit of the process stands in for the full disk."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); sys.argv = ['vaecodec', *sys.argv[1:]]\n"
        "from vaecodec.cli.app import main; main()"
    )
    before = sorted(folder.iterdir())
    result = subprocess.run(
        [sys.executable, "-c", code, "encode", "photo.png", "new.vae"],
        capture_output=True,
        cwd=folder,
    )
    refused(result, "new.vae", "cannot be written")
    assert sorted(folder.iterdir()) == before


def test_help_has_examples() -> None:
    for command in ("encode", "decode", "info", "bench"):
        assert b"Example" in run(command, "--help").stdout
    assert run("--version").stdout.decode().split() == ["vaecodec", vaecodec.__version__]


@pytest.mark.parametrize("missing", ["vaecodec_bench", "matplotlib"])
def test_commands_of_the_benchmark_say_what_is_missing(tmp_path: Path, missing: str) -> None:
    code = f"import sys; sys.modules['{missing}'] = None\nfrom vaecodec.cli.app import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "plot", "results.json"], capture_output=True, cwd=tmp_path
    )
    refused(result, f"plot needs the package {missing}", "pip install 'vaecodec[bench]'")


def test_entry_points_are_looked_up_only_when_needed(folder: Path) -> None:
    code = (
        "import importlib.metadata, sys; importlib.metadata.entry_points = None\n"
        "from vaecodec.cli.app import main; main()"
    )
    for command, crashes in (("info", False), ("bench", True)):
        result = subprocess.run(
            [sys.executable, "-c", code, command, "photo.vae"], capture_output=True, cwd=folder
        )
        assert (b"TypeError" in result.stderr) == crashes, result.stderr
