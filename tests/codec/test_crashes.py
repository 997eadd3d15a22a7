"""An output is complete or not there, whatever stops the process: a kill, a full disk, a broken file."""

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

from helpers import kodak_crop, refused, run
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


pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals and mounts of POSIX")


@pytest.mark.slow
def test_killed_while_writing(tmp_path: Path, photo: Image.Image) -> None:
    """The output is always a complete one."""
    photo.save(tmp_path / "a.png")
    output = tmp_path / "a.vae"
    rng = random.Random(1)
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


@pytest.mark.slow
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
    assert {path.name for path in tmp_path.iterdir()} <= {"a.png", "a.vae"}


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


def test_full_disk(folder: Path, small_disk: Path) -> None:
    result = run("decode", "photo.vae", small_disk / "a.bmp", cwd=folder)
    refused(result, "a.bmp", "No space left")
    assert not list(small_disk.iterdir())


def test_read_only_folder(folder: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    result = run("decode", "photo.vae", small_disk / "a.png", cwd=folder)
    refused(result, "a.png", "Read-only file system")


@pytest.mark.slow
def test_broken_files_among_many_good_ones(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for i in range(200):
        kodak_crop(i % 24 + 1, 20, 16).save(source / f"{i:03}.png")
    broken = {f"{i:03}.png" for i in (3, 50, 51, 199)}
    for name in broken:
        (source / name).write_bytes((source / name).read_bytes()[:60])
    done = run("encode", "in", "-o", "out", "-q", cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert {Path(line.split(":")[1].strip()).name for line in lines} == broken
    written = sorted((tmp_path / "out").iterdir())
    assert len(written) == 196
    for path in written:
        Reader(path.read_bytes()).check_all()
