"""Compare the answers to mistakes with a stored text, so that every change of the words is visible.

Set ESC_RENEW_SENTENCES=1 to store the current answers.
"""

import os
import re
import shlex
import warnings
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

Run = Callable[..., Any]

STORED = Path(__file__).parent / "sentences.txt"

MISTAKES = """
missing.png
notes.txt
empty.png
damaged.png
huge.png --max-megapixels 1
'*.gif'
folder_without_pictures
in.png -m unknown
in.png -m broken.safetensors
in.png -m missing.safetensors
in.png -s 0
in.png -s x
in.png -s 1000000
in.png --size 0x0
in.png -s 2 --size 50%
in.png -f jepg
in.png -q 101
in.png -o out
in.png -o out.xyz
in.png -o out.jpg -f png
in.png -o in.png
in.png -o in.png/a.png
in.png in2.png -o out.png
in.png in2.png -o -
in.png -o there.png
in.png --metadata all,exif
in.png --metadata gps
in.png --name {stem}_{size}
in.png --name {steam}
in.png --name '{width:05}'
in.png --name {stem
in.png --name ' '
in.png --name big/{stem}
in.png --name {stem}.webp
in.png --name {stem}
in.png --name {stem}_{model} -m auto
in.png --name {stem}_big -o out.png
in.png --name {stem}_big -o -
in.png in2.png --name big
in.png --in-place
in.png --backup kept
in.png --in-place --yes -o out.png
in.png --in-place --yes -f webp
in.png --in-place --backup .
in.png --in-place --yes --preview auto
- --in-place --yes
clip.mp4 --in-place --yes --start 1
in.png --retune --preview auto
in.png --retune --ray local
in.png --log-file in2.png
in.png --log-file missing/log.txt
in.png --report report.png
in.png --report missing/report.html
in.png --report report.html --dry-run
in.png -o - --report report.html
frames -r --report frames/report.html
in.png --watch
frames --watch --fail-fast
-s 2
--files-from missing.txt
--files-from in.png -o -
- --files-from -
in.png --shard 3/2
in.png --shard x
in.png --tiling sometimes
in.png --tile 0
in.png --tiling none --tile 64
in.png --attention loud
in.png --audio loud
in.png --runtime ncnn
in.png --precision int8
in.png -d tpu
in.png -d cuda:99
in.png -j 0
in.png --threads 0
in.png --nice 20
in.png --overwrite --skip-existing
in.png -o - --json
in.png --crf -1
in.png --scael 2
in.png -f webp --size 20000x20000!
clip.mp4 --crf 99
clip.mp4 --crf 20 --codec-option b=1M
clip.mp4 --crf 20 -o out.y4m
clip.mp4 --video-codec mjpeg --pixel-format yuv420p -o out.mkv
clip.mp4 --video-codec nope
clip.mp4 --video-codec aac
clip.mp4 --video-codec libvpx-vp9 -o out.mov
clip.mp4 --codec-option nope
clip.mp4 --codec-option nope=1
clip.mp4 --codec-option tune=nope
clip.mp4 --preset nope
clip.mp4 --pixel-format nope
clip.mp4 --start nope
clip.mp4 --start 2 --end 1
clip.mp4 --start 9
clip.mp4 --fps 25
clip.mp4 --preview 0
clip.mp4 --preview 0,0,8,8
clip.mp4 --preview 2 -o out.html
comic.cbz --preview auto
in.png --preview 1,2,3
in.png --preview 99,0
in.png --preview 0,0,99,99
in.png --preview auto -o out.mp4
in.png --preview auto -o out.html -f png
in.png in2.png --preview auto -o out.html
in.png -o out.html
clip.mp4 --preview 2 -o out.mp4
clip.mp4 -o out.jpg
clip.mp4 -o - -f mkv
clip.mp4 -o %d.png --crf 3
cut.mp4
comic.cbz -o out.png
comic.cbz -o out.zip -f cbz
comic.cbz -o -
comic.cbz --crf 20
in.png -o out.cbz
frames -o out.cbz
clip.mp4 -o out.cbz
comic.cbr
cut.cbz
locked.cbz
slip.cbz
twice.cbz
link.cbz
bomb.cbz
text.zip
frames/%d.png -o out.mp4
'frames/%d.png' --fps 10
'missing/%d.png' --fps 10 -o out.mp4
evalute in
evaluate missing
evaluate folder_without_pictures
evaluate in.png
compare in.png -o sheet.png --crop 1,2
compare in.png -o sheet.png --crop 0,0,99,99
compare in.png -o sheet.png --degradation real
compare in.png -o there.png
models infoo
models info unknown
models average in.png in2.png -o out.safetensors
train missing -o run
train folder_without_pictures -o run
train frames -o run --preset esc-lite-x2
train frames -o run --resume
benchmark --size 3
benchmark --runtime ncnn
export out.png
export out.onnx -m unknown
export out.onnx -m nearest
export out.onnx -m auto
export out.onnx -s 5
export out.onnx -p bfloat16
export out.onnx --size 3
export out.onnx --size 8x99
export missing/out.onnx
help unknown
""".strip().splitlines()
"""Arguments of commands that must fail, in a folder with the files that ``mistakes`` makes."""


@pytest.fixture
def mistakes(save: Callable[..., Path]) -> None:
    """Make files with various defects, and a few files without defects."""
    for name in ("in.png", "in2.png", "there.png", "in.jpg", "frames/1.png", "frames/2.png"):
        save(name)
    save("huge.png", size=(2000, 1000))
    Path("notes.txt").write_text("hello")
    Path("empty.png").touch()
    Path("damaged.png").write_bytes(Path("in.png").read_bytes()[:60])
    Path("folder_without_pictures").mkdir()
    Path("broken.safetensors").write_bytes(b"x" * 100)
    with av.open("clip.mp4", "w") as file:
        stream: Any = file.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for time in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * time, np.uint8), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    Path("cut.mp4").write_bytes(Path("clip.mp4").read_bytes()[:-200])
    archives()


def archives() -> None:
    """Make archives, most of which are refused."""
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    entries: dict[str, list[str | zipfile.ZipInfo]] = {
        "comic.cbz": ["a.png"], "slip.cbz": ["../../a.png"], "twice.cbz": ["a.png", "a.png"],
        "link.cbz": [link], "text.zip": [], "locked.cbz": ["a.png"],
    }  # fmt: skip
    for name, held in entries.items():
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(name, "w") as archive:
            for entry in held:
                archive.writestr(entry, Path("in.png").read_bytes())
    with zipfile.ZipFile("bomb.cbz", "w") as archive:
        archive.writestr("a.png", bytes(1000))  # a PNG has another size with another version of zlib
    Path("cut.cbz").write_bytes(Path("comic.cbz").read_bytes()[:-30])
    Path("comic.cbr").write_bytes(b"Rar!\x1a\x07\x01\0" + bytes(99))
    for name, offset, value in (("locked.cbz", 8, b"\1\0"), ("bomb.cbz", 24, b"\0\0\0\x20")):
        content = Path(name).read_bytes()
        place = content.index(b"PK\1\2") + offset  # in the central directory
        Path(name).write_bytes(content[:place] + value + content[place + len(value) :])


@pytest.mark.usefixtures("mistakes")
def test_mistakes_are_answered_as_stored(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    said = []
    before = sorted(Path().rglob("*"))
    for arguments in MISTAKES:
        chosen = shlex.split(arguments)
        baseline = () if chosen[0].isalpha() or "-m" in chosen else ("-m", "nearest")
        ended = run(*chosen, *baseline)
        assert ended.code in (2, 3, 4, 5, 6), (arguments, ended)
        assert bool(ended.stdout) == ("--json" in chosen), arguments
        assert "Traceback" not in ended.stderr, arguments
        assert sorted(Path().rglob("*")) == before, arguments
        words = re.sub(r"devices here: .*", "devices here: cpu", ended.stderr.rstrip())
        words = words.replace(str(tmp_path), "FOLDER")
        said.append(f"$ esc-upscale {arguments}\n{words}\n(exit code {ended.code})\n")
    text = "\n".join(said)
    if os.environ.get("ESC_RENEW_SENTENCES"):
        STORED.write_text(text, encoding="utf-8")
    assert text == STORED.read_text(encoding="utf-8")
