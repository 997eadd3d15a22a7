"""`encode`, `decode` and `info` as users run them: processes, files, exit codes, one-line errors."""

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
from helpers import psnr, refused, run, succeeded
from vaecodec import engine


def test_encode_writes_what_the_function_returns(folder: Path, photo_file: bytes) -> None:
    result = run("encode", "photo.png", "out.vae", cwd=folder)
    assert "bits per pixel" in succeeded(result)
    assert result.stdout == b""
    assert (folder / "out.vae").read_bytes() == photo_file


@pytest.mark.skipif(os.name != "posix", reason="needs permissions of POSIX")
def test_outputs_have_ordinary_permissions(folder: Path) -> None:
    succeeded(run("encode", "photo.png", "out.vae", cwd=folder))
    modes = [stat.S_IMODE((folder / name).stat().st_mode) for name in ("out.vae", "photo.png")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("name", ["out.png", "out.JPG", "out.webp", "out.tiff"])
def test_decode_to_every_type(folder: Path, photo: Image.Image, name: str) -> None:
    assert run("decode", "photo.vae", name, "--quiet", cwd=folder).stderr == b""
    with Image.open(folder / name) as image:
        assert image.size == photo.size
        assert psnr(photo, image.convert("RGB")) > 29


def test_streams(folder: Path, photo: Image.Image, photo_file: bytes) -> None:
    encoded = run("encode", "-", "-", stdin=(folder / "photo.png").read_bytes())
    assert encoded.stdout == photo_file
    decoded = run("decode", "-", "-", "--format", "bmp", stdin=encoded.stdout)
    image = Image.open(io.BytesIO(decoded.stdout))
    assert image.format == "BMP"
    assert image.size == photo.size


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
    succeeded(run("decode", folder / "out", "-o", folder / "back", "--format", "webp", "-q"))
    assert sorted(p.name for p in (folder / "back").iterdir()) == ["a.webp", "b.webp", "photo.webp"]


@pytest.mark.parametrize(
    ("option", "value", "low", "high"),
    [("--size", "4k", 3920, 4000), ("--bpp", "0.9", 0.98 * 4132, 4133)],
)
def test_limits_of_size(folder: Path, option: str, value: str, low: float, high: float) -> None:
    succeeded(run("encode", "photo.png", "out.vae", option, value, cwd=folder))
    assert low <= (folder / "out.vae").stat().st_size <= high


def test_limit_of_psnr(folder: Path, photo: Image.Image) -> None:
    succeeded(run("encode", "photo.png", "out.vae", "--psnr", "33", cwd=folder))
    assert 33 <= psnr(photo, vaecodec.decode(folder / "out.vae")) < 33.66


def test_a_limit_out_of_reach(folder: Path) -> None:
    result = run("encode", "photo.png", "out.vae", "--size", "50", cwd=folder)
    refused(result, "photo.png", "quality 1 takes")
    assert not (folder / "out.vae").exists()


def test_info(folder: Path) -> None:
    result = run("info", "photo.vae", cwd=folder)
    assert "237 x 155 RGB, quality 50" in result.stdout.decode()


def test_info_for_programs(folder: Path, photo_file: bytes) -> None:
    fields = json.loads(run("info", "--json", "photo.vae", cwd=folder).stdout)
    assert fields["bytes"] == len(photo_file)
    assert fields["model"] == vaecodec.probe(photo_file).model


def test_info_about_one_damaged_file_of_two(folder: Path, photo_file: bytes) -> None:
    (folder / "cut.vae").write_bytes(photo_file[:-1])
    result = run("info", "cut.vae", "photo.vae", cwd=folder)
    assert result.returncode == 1
    assert b"cut.vae: cut short" in result.stderr
    assert b"cut.vae" not in result.stdout
    assert b"photo.vae: 237" in result.stdout


@pytest.mark.parametrize(
    ("argument", "expected"), [("nothing.vae", "[]"), ("--engine", "['numpy']")]
)
def test_info_loads_no_network(argument: str, expected: str) -> None:
    code = (
        f"import atexit, sys; sys.argv = ['vaecodec', 'info', '{argument}']\n"
        "names = ('torch', 'numpy', 'onnxruntime', 'PIL')\n"
        "atexit.register(lambda: print([m for m in names if m in sys.modules]))\n"
        "from vaecodec.cli.app import main; main()"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout.splitlines()[-1] == expected, child.stderr


@pytest.mark.parametrize("name", engine.available())
def test_info_about_the_engine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("VAECODEC_ENGINE", name)
    fields = json.loads(run("info", "--engine", "--json").stdout)
    assert fields == {"engine": name, "available": list(engine.available())}
    words = run("info", "--engine").stdout.decode().replace(",", "").replace(")", "").split()
    assert words[:2] == ["engine", name]
    assert {*words} >= {*engine.available()}


def test_info_about_an_unknown_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAECODEC_ENGINE", "abacus")
    refused(run("info", "--engine"), "VAECODEC_ENGINE=abacus", "numpy")


def test_info_about_the_engine_and_a_file(folder: Path) -> None:
    lines = run("info", "--engine", "photo.vae", cwd=folder).stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["engine", "photo.vae:"]


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
        (("info",), ("files, or --engine",)),
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


def test_existing_outputs_are_kept(folder: Path, photo_file: bytes) -> None:
    result = run("encode", "photo.png", "photo.vae", "--quality", "1", cwd=folder)
    refused(result, "photo.vae", "--force")
    assert (folder / "photo.vae").read_bytes() == photo_file


def test_force_replaces_an_output(folder: Path, photo_file: bytes) -> None:
    succeeded(run("encode", "photo.png", "photo.vae", "--quality", "1", "--force", cwd=folder))
    assert (folder / "photo.vae").stat().st_size < len(photo_file) / 2


def test_an_input_is_never_the_output(folder: Path) -> None:
    result = run("encode", "photo.png", "photo.png", "--force", cwd=folder)
    refused(result, "photo.png", "the input itself")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("encode", "photo.png", "no/folder/a.vae"), ("no/folder/a.vae", "cannot be written")),
        (("encode", "photo.png", "-o", "photo.png"), ("photo.png", "cannot be created")),
        (("decode", "photo.vae", "picture.xyz"), (".xyz",)),
    ],
)
def test_outputs_that_cannot_be(
    folder: Path, args: tuple[str, ...], words: tuple[str, ...]
) -> None:
    refused(run(*args, cwd=folder), *words)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the devices of Linux")
def test_devices_are_written_to_and_not_replaced(folder: Path) -> None:
    succeeded(run("encode", "photo.png", "/dev/null", cwd=folder))
    result = run("encode", "photo.png", "/dev/full", "--force", cwd=folder)
    refused(result, "/dev/full", "cannot be written")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_a_link_is_followed(folder: Path) -> None:
    (folder / "link.vae").symlink_to(folder / "target.vae")
    succeeded(run("encode", "photo.png", "link.vae", cwd=folder))
    assert (folder / "link.vae").is_symlink()
    assert (folder / "target.vae").is_file()


def test_two_inputs_never_share_an_output(folder: Path) -> None:
    (folder / "same.jpg").write_bytes((folder / "photo.png").read_bytes())
    (folder / "same.png").write_bytes((folder / "photo.png").read_bytes())
    refused(
        run("encode", "-q", "same.jpg", "same.png", "-o", "out", cwd=folder),
        "same.png: would be",
        "the output of same.jpg",
    )
    assert (folder / "out" / "same.vae").is_file()


@pytest.mark.parametrize(
    ("side", "limit"),
    [
        (10_000, "99999999"),  # Pillow warns about this many pixels
        (20_000, "99999999"),  # and refuses this many
        (23_200, "536870912"),  # the limit by default
    ],
)
def test_images_with_too_many_pixels(folder: Path, side: int, limit: str) -> None:
    Image.new("1", (side, side)).save(folder / "large.png")
    options = ("--max-pixels", limit) if limit == "99999999" else ()
    result = run("encode", "large.png", "new.vae", *options, cwd=folder)
    refused(result, "large.png", "pixels", limit)


def test_files_with_too_many_pixels(folder: Path) -> None:
    result = run("decode", "photo.vae", "new.png", "--max-pixels", "1000", cwd=folder)
    refused(result, "photo.vae", "limit of 1000")


def test_modes_that_cannot_be_represented(folder: Path, photo: Image.Image) -> None:
    photo.convert("F").save(folder / "floats.tiff")
    refused(run("encode", "floats.tiff", "new.vae", cwd=folder), "floats.tiff", "mode F")


def test_a_warning_about_what_is_left_out(folder: Path, photo: Image.Image) -> None:
    photo.save(folder / "pages.tiff", save_all=True, append_images=[photo])
    result = run("encode", "pages.tiff", "pages.vae", cwd=folder)
    assert "warning: only the first of its 2 frames" in succeeded(result)


def test_a_png_that_claims_more_bits_than_it_has(folder: Path) -> None:
    data = bytearray((folder / "photo.png").read_bytes())
    data[24] = 16  # bits per sample
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (folder / "deep.png").write_bytes(data)
    refused(run("encode", "deep.png", "new.vae", cwd=folder), "deep.png", "damaged")
    assert not (folder / "new.vae").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs limits of POSIX")
def test_full_disk_leaves_nothing(folder: Path) -> None:
    """The process's limit for the size of files stands in for the full disk."""
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
