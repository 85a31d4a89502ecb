"""Run the commands of the README's section "Use" on files that the test makes, in the README's order."""

import re
import runpy
import shlex
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

Run = Callable[..., Any]
Save = Callable[..., Path]
Load = Callable[..., Image.Image]

ROOT = Path(__file__).parents[2]
FAST = ("-d", "cpu", "-m", "nearest")
"""Options that do not change what the section says about names, sizes and formats."""

EXPECTED = {
    "esc-upscale photo.jpg": {"photo_x4.jpg": (64, 48)},
    "esc-upscale photo.jpg -s 2 -o big.png": {"big.png": (32, 24)},
    "esc-upscale photo.jpg --size 3840x2160": {"photo_2880x2160.jpg": (2880, 2160)},
    "esc-upscale holiday -r": {"holiday_x4/a.jpg": (32, 24), "holiday_x4/deep/b.png": (32, 24)},
    "esc-upscale holiday --report holiday.html": {
        "holiday_x4/a.jpg": (32, 24),
        "holiday.html": None,
        "holiday_files/slider.html": None,
    },
    "esc-upscale holiday --dry-run": {},
    "esc-upscale scan.tif -f webp -q 90": {"scan_x4.webp": (64, 48)},
    "cat in.png | esc-upscale - -o - -s 2 > out.png": {"out.png": (32, 24)},
    "esc-upscale photo.jpg --preview auto": {"photo_x4_preview.png": None},
    "esc-upscale clip.mp4 -s 2": {"clip_x2.mp4": (128, 96)},
    "esc-upscale clip.mp4 --preview 9": {"clip_x4_preview.png": None},
    "esc-upscale photo.jpg -m ESC_DIV2K_X4.pth": {},
    "esc-upscale photo.jpg --tta": {"photo_x4.jpg": (64, 48)},
    "esc-upscale holiday --in-place --backup originals": {"originals/a.jpg": (8, 6)},
    "esc-upscale compare photo.png -m esc -m esc-real --html photo.html": {"photo.html": None},
    "esc-upscale compare photo.png --shrink -m esc-light -m esc -o sheet.png": {"sheet.png": None},
    "esc-upscale evaluate Set5 -s 4 -m bicubic": {},
    "esc-upscale export esc-x4.onnx": {"esc-x4.onnx": None},
}
"""Each command with its results and their sizes; None where the size is not said."""


def commands() -> list[str]:
    section = (ROOT / "README.md").read_text("utf-8").partition("\n## Use\n")[2].partition("\n## ")[0]
    lines = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[0].splitlines()
    return [line.partition("   #")[0].rstrip() for line in lines]


@pytest.fixture
def inputs(save: Save) -> None:
    for name in ("photo.jpg", "photo.png", "scan.tif", "in.png", "Set5/a.png"):
        save(name, size=(16, 12) if "Set5" not in name else (64, 48))
    save("photo.png", size=(64, 48))
    save("holiday/a.jpg"), save("holiday/deep/b.png")
    with av.open("clip.mp4", "w") as target:
        stream: Any = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for time in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * time, np.uint8), "rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def test_the_readme_has_these_commands() -> None:
    assert commands() == list(EXPECTED)


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("command", [one for one in EXPECTED if not one.endswith(".pth")])
def test_a_command_does_what_the_readme_says(run: Run, load: Load, command: str) -> None:
    if " export " in command:
        pytest.importorskip("onnx", reason="onnx is not installed")
    before = {path for path in Path().rglob("*") if path.is_file()}
    piped = command.startswith("cat ")
    words = shlex.split(command.rsplit(" | ", maxsplit=1)[-1].partition(" > ")[0])[1:]
    more = () if words[0] in ("compare", "evaluate", "export") else FAST
    ended = run(*words, *more, stdin=Path("in.png").read_bytes() if piped else b"")
    assert ended.code == 0, ended.stderr
    if piped:
        Path("out.png").write_bytes(ended.stdout)
    made = {
        path for path in Path().rglob("*") if path.is_file() and ".esc-upscale" not in path.parts
    } - before
    assert {path.as_posix() for path in made} == EXPECTED[command].keys()
    for name, size in EXPECTED[command].items():
        if name.endswith(".mp4"):
            with av.open(name) as clip:
                assert (clip.streams.video[0].width, clip.streams.video[0].height) == size
        elif size is not None:
            assert load(name).size == size


def test_the_picture_of_the_readme_is_what_the_command_makes() -> None:
    """Small changes of the weights are allowed."""
    script = runpy.run_path(str(ROOT / "tests/data/make_before_after.py"))
    with Image.open(ROOT / "tests/data/before-after.png") as image:
        shown, made = (np.asarray(one, np.float64) for one in (image, script["make_before_after"]()))
    assert shown.shape == made.shape
    assert np.square(shown - made).mean() < 255**2 / 10**4, "run: python tests/data/make_before_after.py"


def test_the_first_command_may_be_run_again(run: Run, load: Load) -> None:
    block = (ROOT / "README.md").read_text("utf-8").partition("<!-- command: main -->\n```sh\n")[2]
    words = shlex.split(block.partition("\n```")[0].partition(" && ")[2])
    assert words[0] == "esc-upscale"
    Path("tests/data").mkdir(parents=True)
    shutil.copy(ROOT / "tests/data/sample.png", "tests/data/sample.png")
    assert run(*words[1:], *FAST).code == 0
    low, high = (load(f"tests/data/sample{label}.png").size for label in ("", "_x4"))
    assert high == (4 * low[0], 4 * low[1])
    again = run(*words[1:], *FAST)
    assert (again.code, "is up to date" in again.stderr) == (0, True)
