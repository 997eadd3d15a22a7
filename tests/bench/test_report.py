"""The report, opened from its file in Chromium without a screen."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from helpers import kodak_crop
from vaecodec_bench import peers, results
from vaecodec_bench.report.build import report_quality
from vaecodec_bench.report.page import write_page
from vaecodec_bench.speed import measure_speed

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.torch,  # for MS-SSIM
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs Debian's packages chromium and chromium-driver"
    ),
]
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,1400",
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A report of two photographs, one of which has markup as its name."""
    folder = tmp_path_factory.mktemp("images")
    kodak_crop(23, 192, 176).save(folder / "a.png")
    kodak_crop(5, 176, 192).save(folder / "<b onload=alert(1)><script>.png")
    place = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(peers.EFFORTS, peers.OURS_EFFORT_3)
        patch.setattr(
            peers, "PEERS", tuple(peer for peer in peers.PEERS if peer.name in ("JPEG", "WebP"))
        )
        assert report_quality(folder, place, None, 1, "psnr,ms-ssim,ssimulacra2", 2)
        assert measure_speed(folder, place, None, 2, rounds=2, large=False) == 0
        write_page(place)
    yield place


@pytest.fixture(scope="module")
def page(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
    driver.get((out / "index.html").as_uri())
    yield driver
    driver.quit()


def test_the_folder(out: Path) -> None:
    names = {path.name for path in out.iterdir()}
    assert names == {
        "index.html",
        "results.json",
        "results.csv",
        "speed.json",
        "speed.png",
        "speed.svg",
        "viewer",
        *(
            f"rd-{metric}.{kind}"
            for metric in ("psnr", "ms-ssim", "ssimulacra2")
            for kind in ("png", "svg")
        ),
    }
    text = (out / "index.html").read_text()
    assert (
        "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text
    )
    assert len(text) < 3_000_000


def test_nothing_goes_wrong(page: webdriver.Chrome) -> None:
    assert page.get_log("browser") == []


def test_the_curves_are_there(page: webdriver.Chrome, out: Path) -> None:
    found = results.read(out / "results.json")
    buttons = page.find_elements(By.CSS_SELECTOR, "#metrics button")
    assert [button.text for button in buttons] == ["RGB-PSNR", "MS-SSIM", "SSIMULACRA 2"]
    for button, metric in zip(buttons, found.metrics, strict=True):
        button.click()
        curves = page.find_elements(By.CSS_SELECTOR, "#chart .curve")
        assert {curve.get_attribute("data-codec") for curve in curves} == {
            "vaecodec",
            "JPEG",
            "WebP",
        }
        ours = next(curve for curve in curves if curve.get_attribute("data-codec") == "vaecodec")
        points = [
            tuple(map(float, p.split(","))) for p in (ours.get_attribute("points") or "").split()
        ]
        expected = found.curve("vaecodec", metric)
        assert len(points) == len(expected) == 8
        for axis in (0, 1):  # both axes are linear, whatever their scale
            drawn, value = [p[axis] for p in points], [p[axis] for p in expected]
            middle = (value[3] - value[0]) / (value[7] - value[0])
            assert (drawn[3] - drawn[0]) / (drawn[7] - drawn[0]) == pytest.approx(middle, abs=1e-6)
        assert ours.size["width"] > 300 and ours.size["height"] > 150
    legend = page.find_element(By.CSS_SELECTOR, "#legend button:nth-child(2)")
    legend.click()
    assert len(page.find_elements(By.CSS_SELECTOR, "#chart .curve")) == 2
    legend.click()


def test_the_bd_rates_are_those_of_the_results(page: webdriver.Chrome, out: Path) -> None:
    rates = results.read(out / "results.json").bd_rates()
    shown = [cell.text for cell in page.find_elements(By.CSS_SELECTOR, "#bd-table tr.ours td")]
    assert shown[0] == "vaecodec" and shown[-1] == "2"
    expected = [rate.rate for rate in rates if rate.codec == "vaecodec"]
    assert (
        shown[1:-1] == [f"{rate:+.1f} %".replace("-", "−") for rate in expected]
        and len(expected) == 3
    )
    assert len(page.find_elements(By.CSS_SELECTOR, "#image-table tbody tr")) == 2


def test_the_divider_moves(page: webdriver.Chrome) -> None:
    divider = page.find_element(By.ID, "divider")
    stage, line, ours = (page.find_element(By.ID, name) for name in ("stage", "line", "ours"))

    def place() -> float:
        clip = ours.value_of_css_property("clip-path")
        assert clip.startswith("inset(")
        drawn = (line.rect["x"] + line.rect["width"] / 2 - stage.rect["x"]) / stage.rect["width"]
        assert 100 - float(clip.split()[1].removesuffix("%")) == pytest.approx(100 * drawn, abs=1)
        return drawn

    assert place() == pytest.approx(0.5, abs=0.01)
    divider.send_keys(Keys.HOME)
    assert place() == pytest.approx(0, abs=0.01)
    divider.send_keys(Keys.PAGE_UP)
    assert 0.02 < place() < 0.5
    divider.send_keys(Keys.END)
    assert place() == pytest.approx(1, abs=0.01)
    pointer = webdriver.ActionChains(page)
    pointer.move_to_element_with_offset(stage, -40, 0).click_and_hold().move_by_offset(
        10, 0
    ).release().perform()
    assert place() == pytest.approx(0.5 - 30 / stage.rect["width"], abs=0.02)


def test_both_pictures_and_sizes_follow_the_choice(page: webdriver.Chrome) -> None:
    seen = set()
    widths = {"a.png": 192, "<b onload=alert(1)><script>.png": 176}
    for name in widths:
        Select(page.find_element(By.ID, "pick-image")).select_by_value(name)
        for peer in ("JPEG", "WebP", "original"):
            Select(page.find_element(By.ID, "pick-peer")).select_by_value(peer)
            for rate in ("0.5", "1"):
                Select(page.find_element(By.ID, "pick-rate")).select_by_value(rate)
                for side in ("ours", "theirs"):
                    width = page.execute_script(
                        f"let i = document.getElementById('{side}'); "
                        "return i.decode().then(() => i.naturalWidth)"
                    )
                    assert width == widths[name]
                cells = [c.text for c in page.find_elements(By.CSS_SELECTOR, "#sizes tbody td")]
                sizes = [int(cells[i].replace(",", "")) for i in (1, 5)]
                seen.add((name, peer, rate, *sizes))
                if peer != "original":
                    assert abs(sizes[1] / sizes[0] - 1) < 0.12
                    assert float(cells[2]) <= float(rate)
    assert len(seen) == 12 and len({key[3:] for key in seen}) == 12


def test_speed(page: webdriver.Chrome) -> None:
    rows = page.find_elements(By.CSS_SELECTOR, "#bars .bar")
    assert page.find_element(By.ID, "speed").is_displayed()
    assert sum(row.text.startswith("vaecodec\n1 (1–1)") for row in rows) == 4
    assert sum("JPEG" in row.text for row in rows) >= 4
