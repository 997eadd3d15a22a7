"""Diagrams of runs, alone and together."""

import json
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from made_up_results import made_up
from vaecodec.cli.app import main
from vaecodec.errors import VaecodecError
from vaecodec_bench import results
from vaecodec_bench.peers import OURS, OURS_EFFORT_3
from vaecodec_bench.published.curves import KODAK, curves_for
from vaecodec_bench.report import plot


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    paths = []
    for name, shift in (("mine", 0.0), ("theirs", 1.5)):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "results.json")
        paths[-1].write_bytes(results.to_json(made_up(shift)))
    return paths


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is saved."""
    kept: list[Figure] = []
    save = plot.save_figure
    monkeypatch.setattr(
        plot, "save_figure", lambda figure, kind: kept.append(figure) or save(figure, kind)
    )
    return kept


def test_an_overlay_has_ours_of_each_run_and_each_peer_once(
    runs: list[Path], tmp_path: Path, figures: list[Figure]
) -> None:
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        plot.overlay(runs, tmp_path / f"rd.{kind}", "psnr")
        assert (tmp_path / f"rd.{kind}").read_bytes().startswith(start)
    with Image.open(tmp_path / "rd.png") as diagram:
        diagram.load()
        assert diagram.width >= 1000
    lines = figures[0].axes[0].get_lines()
    assert [line.get_label() for line in lines] == [
        "vaecodec, mine",
        "vaecodec, theirs",
        "JPEG",
        "AVIF",
    ]
    assert list(lines[1].get_ydata()) == [29.5, 32.5, 35.5, 38.5, 41.5]
    assert list(lines[2].get_xdata()) == pytest.approx([0.22, 0.44, 0.88, 1.76, 3.52])
    assert {line.get_linestyle() for line in lines} == {"-"}


def test_runs_are_compared_by_bd_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = (
        (0.0, (OURS, "JPEG", OURS_EFFORT_3)),
        (1.5, (OURS, OURS_EFFORT_3)),
        (0.0, ("JPEG",)),
        (90.0, (OURS,)),
    )
    runs = []
    for number, (shift, codecs) in enumerate(both):
        (tmp_path / f"run {number}").mkdir()
        runs.append(tmp_path / f"run {number}" / "results.json")
        runs[-1].write_bytes(results.to_json(made_up(shift, codecs=codecs)))
    plot.overlay(runs, tmp_path / "rd.png", "psnr")
    assert (
        capsys.readouterr().out.splitlines()
        == [  # 3 dB are a doubling; the second run's slow codec is 10 % nearer
            "vaecodec, run 1: BD-rate (psnr) vs run 0: \u221229.3 %",
            "vaecodec, run 3: BD-rate (psnr) vs run 0: none: the curves share no range of quality: one covers 28.00 to 40.00, "
            "the other 118.00 to 130.00",
            f"{OURS_EFFORT_3}, run 1: BD-rate (psnr) vs run 0: \u221235.7 %",
        ]
    )


def test_published_curves_are_dashed_and_only_with_kodak(
    tmp_path: Path, figures: list[Figure]
) -> None:
    assert curves_for(["kodim01.png"]) == []
    found = made_up(0, tuple(sorted(f"{name}.png" for name in KODAK)))
    assert len(plot.write_diagrams(found, tmp_path)) == 2
    published = [
        line for line in figures[0].axes[0].get_lines() if "published" in str(line.get_label())
    ]
    assert {str(line.get_label()).removesuffix(", published") for line in published} == {
        "bmshj2018-hyperprior",
        "mbt2018-mean",
        "mbt2018",
        "cheng2020-anchor",
        "ELIC (paper)",
        "BPG 4:4:4 (x265)",
        "VVC intra (VTM)",
        "Cool-Chic 5.0",
    }
    assert all(line.get_linestyle() == "--" for line in published)
    for entry in curves_for(found.images):
        assert "/" in entry.source and len(entry.curve) >= 5
        assert sorted(entry.curve) == sorted(entry.curve, key=lambda point: point[1])


def test_equal_diagrams_are_equal_files(tmp_path: Path) -> None:
    first, second = (
        (plot.write_diagrams(made_up(0), tmp_path), (tmp_path / "rd-psnr.svg").read_bytes())
        for _ in range(2)
    )
    assert first == second and re.search(rb"<svg[^>]* viewBox", first[1])


def test_the_command(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv", ["vaecodec", "plot", *map(str, runs), "-o", str(tmp_path / "rd.png")]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code and (tmp_path / "rd.png").exists()


def test_bad_input(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "rd.png"
    other, broken, empty = (tmp_path / name for name in ("other.json", "broken.json", "empty.json"))
    other.write_bytes(results.to_json(made_up(0, ("b.png",))))
    broken.write_text("{")
    data = json.loads(runs[0].read_text())
    empty.write_text(json.dumps(data | {"samples": []}))
    for files, name, metric, message in (
        (
            [runs[0]],
            "rd.docx",
            "psnr",
            r"rd\.docx: the name of a diagram must end in \.png, \.svg, \.pdf",
        ),
        ([runs[0]], "rd.png", "vmaf", "no metric 'vmaf'"),
        (runs, "rd.png", "ms-ssim", "results.json: has no values of ms-ssim, only psnr"),
        ([runs[0], other], "rd.png", "psnr", "other.json: was measured on other images than"),
        ([broken], "rd.png", "psnr", "broken.json: not a results.json of vaecodec bench"),
        ([empty], "rd.png", "psnr", "empty.json: not a results.json of vaecodec bench"),
        ([tmp_path / "none.json"], "rd.png", "psnr", r"none.json: cannot be read \(No such file"),
        ([runs[0]], "no/rd.png", "psnr", r"rd\.png: cannot be written"),
    ):
        with pytest.raises(VaecodecError, match=message):
            plot.overlay(files, out.parent / name, metric)
    assert not out.exists()


def test_bd_rates_against_each_anchor_use_the_pictures_that_both_have() -> None:
    found = made_up(0, ("a.png", "b.png"))
    rates = {(r.reference, r.codec): r for r in found.bd_rates()}
    assert rates["JPEG", OURS].rate == pytest.approx(100 * (1 / 1.1 - 1))
    assert rates["JPEG", "AVIF"].rate == pytest.approx(10)
    assert rates["AVIF", "JPEG"].rate == pytest.approx(100 * (1 / 1.1 - 1))
    found.samples = [s for s in found.samples if s.codec != OURS or s.image == "b.png"]
    assert {r.images for r in found.bd_rates() if r.codec == OURS} == {1}
