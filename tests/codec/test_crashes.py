"""Whatever stops it, an output is whole or not there: kills, full disks, read-only folders; broken files among good ones."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from conftest import kodak_crop
from vaecodec.format.reader import Reader

KILLS = int(os.environ.get("VAECODEC_KILLS", "10"))
LOOP = """
import sys
from vaecodec import encode
from vaecodec.image.files import write_file
from pathlib import Path
from PIL import Image
image = Image.open(sys.argv[1])
data = encode(image) * 400  # large enough that writing takes a while
print("ready", flush=True)
while True:
    write_file(Path(sys.argv[2]), data)
"""


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vaecodec", *args], capture_output=True, text=True, cwd=cwd
    )


def test_killed_while_writing(tmp_path: Path, photo: Image.Image) -> None:
    """The output is always one that was written as a whole."""
    photo.save(tmp_path / "a.png")
    output, rng = tmp_path / "a.vae", random.Random(1)
    child = None
    sizes = set()
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(tmp_path / "a.png"), str(output)],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.05))
        child.kill()
        child.wait()
        if output.exists():
            sizes.add(output.stat().st_size)
            output.unlink()
    assert len(sizes) == 1


def test_the_command_killed_at_any_time(tmp_path: Path) -> None:
    kodak_crop(9, 500, 400).save(tmp_path / "a.png")
    rng = random.Random(2)
    for _ in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-m", "vaecodec", "encode", "a.png", "a.vae"],
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0.2, 1.6))
        child.kill()
        child.wait()
        if (tmp_path / "a.vae").exists():
            Reader((tmp_path / "a.vae").read_bytes()).check_all()
            (tmp_path / "a.vae").unlink()


def test_terminated_politely_leaves_no_temporary_file(tmp_path: Path) -> None:
    kodak_crop(9, 500, 400).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "vaecodec", "encode", "a.png", "a.vae"]
    child = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    time.sleep(0.7)
    child.send_signal(signal.SIGTERM)
    _, error = child.communicate()
    assert b"Traceback" not in error
    assert not list(tmp_path.glob(".*")) and {p.name for p in tmp_path.iterdir()} <= {
        "a.png",
        "a.vae",
    }


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk(tmp_path: Path, small_disk: Path, photo_file: bytes) -> None:
    (tmp_path / "a.vae").write_bytes(photo_file)
    failed = run("decode", "a.vae", str(small_disk / "a.bmp"), cwd=tmp_path)
    assert failed.returncode == 1 and "a.bmp" in failed.stderr and "No space left" in failed.stderr
    assert "Traceback" not in failed.stderr and not list(small_disk.iterdir())


def test_read_only_folder(tmp_path: Path, small_disk: Path, photo_file: bytes) -> None:
    (tmp_path / "a.vae").write_bytes(photo_file)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    failed = run("decode", "a.vae", str(small_disk / "a.png"), cwd=tmp_path)
    assert (
        failed.returncode == 1
        and "Read-only file system" in failed.stderr
        and "Traceback" not in failed.stderr
    )


def test_broken_files_among_many_good_ones(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for i in range(200):
        kodak_crop(i % 24 + 1, 20, 16).save(source / f"{i:03}.png")
    broken = {f"{i:03}.png" for i in (3, 50, 51, 199)}
    for name in broken:
        (source / name).write_bytes((source / name).read_bytes()[:60])
    done = run("encode", "in", "-o", "out", "-q", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert {Path(line.split(":")[1].strip()).name for line in done.stderr.splitlines()} == broken
    written = sorted((tmp_path / "out").iterdir())
    assert len(written) == 196
    for path in written:
        Reader(path.read_bytes()).check_all()
