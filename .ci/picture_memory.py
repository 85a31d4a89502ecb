"""Measure the peak memory of each picture format in fresh processes, one after the other, as a table.

The columns are: writing a generated picture, reading it, and enlarging it by 2 with ``nearest``, which needs
no memory for a network, into its own format. Each has the peak, and the bytes per pixel of the picture
beyond the peak for a small one. Run it from the repository's folder:

    python .ci/picture_memory.py [--kinds "PNG;HEIC"] [--megapixels 1,4,16]

Of formats that are only read, a small file is made for the test, so the first column means nothing.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_SMALL_MEGAPIXELS = 0.01

_READ = """
import sys
from pathlib import Path
from esc_cli.media.read import read_file
read_file(Path(sys.argv[1]))
"""
_WRITE = """
import sys
from pathlib import Path
import numpy as np, torch
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.write import encode_file
color = torch.from_numpy(np.load(sys.argv[1]))
format = FORMATS[sys.argv[2]]
if format.written_as is not None:
    colors = (color[0].permute(1, 2, 0).float() / 255).numpy()
    Path(sys.argv[3]).write_bytes(format.sample(colors))
    raise SystemExit
depth_bits = {torch.uint8: 8, torch.uint16: 16, torch.float32: 32}[color.dtype]
file = PictureFile((Picture(color, None, False, Metadata(), sys.argv[2], depth_bits=depth_bits),))
Path(sys.argv[3]).write_bytes(encode_file(file, format))
"""

_DRAW = """
import sys
import numpy as np
path, type, side = sys.argv[1], sys.argv[2], int(sys.argv[3])
down, across = np.mgrid[:side, :side].astype(np.float32) / side
random = np.random.default_rng(0)
planes = [0.5 + 0.4 * np.sin(8 * down + 5 * across + phase) for phase in range(3)]
shares = np.stack(planes) + random.normal(0, 0.01, (3, side, side)).astype(np.float32)
largest = 1 if type == "f4" else np.iinfo(type).max
np.save(path, (shares.clip(0, 1) * largest).astype(type)[np.newaxis])
"""
"""Draw a smooth picture with a little noise, (1, 3, H, W), that compresses about as photos do."""

_EXTENSIONS = {"JPEG XL": "jxl", "camera raw": "tif", "Radiance HDR": "hdr", "OpenEXR": "exr"}

KINDS = {
    "PNG": ("PNG", "u1"),
    "PNG, 16 bits": ("PNG", "u2"),
    "JPEG": ("JPEG", "u1"),
    "WebP": ("WEBP", "u1"),
    "TIFF": ("TIFF", "u1"),
    "TIFF, 16 bits": ("TIFF", "u2"),
    "TIFF, floats": ("TIFF", "f4"),
    "GIF": ("GIF", "u1"),
    "BMP": ("BMP", "u1"),
    "AVIF": ("AVIF", "u1"),
    "HEIC": ("HEIC", "u1"),
    "JPEG XL": ("JPEG XL", "u1"),
    "camera raw": ("camera raw", "u1"),
    "Radiance HDR": ("Radiance HDR", "f4"),
    "OpenEXR": ("OpenEXR", "f4"),
}


def main() -> None:
    """Print one line for each kind of picture and each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default=";".join(KINDS), help="names of the table, with ; between them")
    parser.add_argument("--megapixels", default="1,4,16")
    arguments = parser.parse_args()
    megapixels = [float(number) for number in arguments.megapixels.split(",")]
    for kind in arguments.kinds.split(";"):
        with tempfile.TemporaryDirectory() as folder:
            small = _peaks(kind, _SMALL_MEGAPIXELS, Path(folder))
            for number in megapixels:
                peaks = _peaks(kind, number, Path(folder))
                columns = [
                    f"{peak / 2**20:.0f} MB, {(peak - none) / (number * 10**6):.1f}"
                    for none, peak in zip(small, peaks, strict=True)
                ]
                print(f"| {kind} | {number:g} | {' | '.join(columns)} |", flush=True)


def _peaks(kind: str, megapixels: float, folder: Path) -> tuple[int, int, int]:
    """Return the largest memory of writing, reading and enlarging a picture, in bytes."""
    format, type = KINDS[kind]
    array, file = folder / "picture.npy", folder / "picture"
    target = folder / f"result.{_EXTENSIONS.get(format, format.lower())}"
    # Another process draws: the system counts the memory of the parent at the start as the child's.
    _peak_bytes("-c", _DRAW, str(array), type, str(round(math.sqrt(megapixels * 10**6))))
    written = _peak_bytes("-c", _WRITE, str(array), format, str(file))
    read = _peak_bytes("-c", _READ, str(file))
    options = ("-m", "nearest", "-s", "2", "-d", "cpu", "--quiet", "--overwrite")
    return written, read, _peak_bytes("-m", "esc_cli", str(file), "-o", str(target), *options)


def _peak_bytes(*arguments: str) -> int:
    """Run Python, and return the largest memory that it has had."""
    process = subprocess.Popen([sys.executable, *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments} has failed")
    return usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
