"""Results of a benchmark that nobody ran, for the tests of diagrams and tables."""

from vaecodec_bench.peers import OURS
from vaecodec_bench.results import Results, Sample


def made_up(
    shift: float,
    images: tuple[str, ...] = ("a.png",),
    codecs: tuple[str, ...] = (OURS, "JPEG", "AVIF"),
) -> Results:
    """Return curves of five points. Each codec takes 10 % more bits than the one before."""
    found = Results(
        {}, {"psnr": "test"}, dict.fromkeys(codecs, "1"), {}, dict.fromkeys(images, (100, 100))
    )
    for number, codec in enumerate(codecs):
        for step in range(5):
            rate = 0.2 * 2**step * 1.1**number
            found.samples += [
                Sample(
                    codec, image, step, round(rate * 1250), rate, {"psnr": 28 + 3.0 * step + shift}
                )
                for image in images
            ]
    return found
