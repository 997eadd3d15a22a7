"""The rate-distortion diagram."""
import io
from collections.abc import Mapping

from matplotlib.figure import Figure

from vaecodec_bench.bd import Curve


def rd_png(curves: Mapping[str, Curve], title: str) -> bytes:
    """A PNG file with one line for each codec's curve."""
    figure = Figure(figsize=(8, 5.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot([bpp for bpp, _ in curve], [psnr for _, psnr in curve], marker="o", markersize=4, label=name)
    axes.set(xlabel="rate (bits per pixel)", ylabel="RGB-PSNR (dB)", title=title)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
