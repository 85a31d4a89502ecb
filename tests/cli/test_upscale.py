import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageCms, ImageFilter
from torch import nn

Save = Callable[..., Path]
Load = Callable[..., Image.Image]
Run = Callable[..., Any]

NEAREST = ("-m", "nearest")


def files() -> list[str]:
    """Return all files except the records of results."""
    return sorted(
        str(path) for path in Path().rglob("*") if path.is_file() and ".esc-upscale" not in path.parts
    )


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_file(run: Run, save: Save, load: Load) -> None:
    save("in.png")
    ended = run("in.png", *NEAREST)
    assert (ended.code, ended.stdout) == (0, b"")
    assert ended.stderr.startswith("nearest x4 on cpu in float32\nin.png → in_x4.png (32x24, ")
    assert load("in_x4.png").size == (32, 24)


def test_quiet_says_nothing(run: Run, save: Save) -> None:
    save("in.png")
    ended = run("in.png", *NEAREST, "--quiet")
    assert (ended.code, ended.stdout, ended.stderr) == (0, b"", "")


def test_verbose_says_why(run: Run, save: Save) -> None:
    save("in.png")
    ended = run("in.png", *NEAREST, "-v", "-d", "cpu", "-p", "float32")
    assert "  cpu: asked for\n  float32: asked for\n" in ended.stderr
    assert "in.png → in_x4.png (8x6 → 32x24, PNG)\n" in ended.stderr


@pytest.mark.parametrize(
    ("tiling", "way"),
    [
        ("none", "the whole picture at once: "),
        ("exact", "exact, in strips: "),
        ("overlap", "tiles of 512 pixels that overlap: "),
    ],
)
def test_verbose_says_how_a_picture_was_cut(run: Run, save: Save, tiling: str, way: str) -> None:
    save("in.png")
    ended = run("in.png", *NEAREST, "-v", "-d", "cpu", "--tiling", tiling)
    assert f"\n  {way}" in ended.stderr


def test_a_preview_says_how_long_the_whole_picture_would_take(run: Run, save: Save) -> None:
    save("in.png", size=(300, 200))
    ended = run("in.png", *NEAREST, "-d", "cpu", "--preview", "auto")
    assert re.search(r"\n  part [\d,]+; all of it would take about \d+", ended.stderr)
    exact = run("in.png", *NEAREST, "-d", "cpu", "--preview", "auto", "--tiling", "exact", "--overwrite")
    assert "\n  part " in exact.stderr
    assert "would take" not in exact.stderr


def test_a_folder(run: Run, save: Save) -> None:
    save("in/1.png"), save("in/sub/2.jpg"), save("in/sub/er/3.webp")
    Path("in/notes.txt").write_text("hello")
    ended = run("-r", "in", *NEAREST, "-s", 2)
    assert ended.code == 0
    assert [name for name in files() if name.startswith("in_x2/")] == [
        "in_x2/1.png", "in_x2/sub/2.jpg", "in_x2/sub/er/3.webp",
    ]  # fmt: skip
    assert "3 done, 1 ignored (not pictures, or already results) in " in ended.stderr


def test_good_and_bad(run: Run, save: Save) -> None:
    save("in/good.png")
    Path("in/empty.png").touch()
    Path("in/notes.txt").write_text("hello")
    whole = save("in/truncated.png", size=(64, 64)).read_bytes()
    Path("in/truncated.png").write_bytes(whole[: len(whole) // 2])
    ended = run("in", *NEAREST)
    assert ended.code == 7
    assert "esc-upscale: in/empty.png is empty\n" in ended.stderr
    assert "esc-upscale: in/truncated.png is damaged or incomplete" in ended.stderr
    assert "1 done, 2 failed, 1 ignored (not pictures, or already results) in " in ended.stderr
    assert [name for name in files() if "_x4" in name] == ["in_x4/good.png"]


def test_all_names_are_spoken_as_they_are(run: Run, save: Save) -> None:
    names = ["[red]x[/red].png", "a :smile: b.png", "日本語 é.png", "-s.png", "[x].png", "back\\slash.png"]
    for name in names:
        save(name)
    ended = run(*NEAREST, "--", *names)
    assert ended.code == 0
    for name in names:
        assert f"{name} → {name.removesuffix('.png')}_x4.png (" in ended.stderr
        assert Path(f"{name.removesuffix('.png')}_x4.png").exists()


def test_names_cannot_command_the_terminal(run: Run, save: Save) -> None:
    save("\x1b[31mred\n.png")
    broken = os.fsdecode(b"\xff.png")
    save(broken)
    ended = run("*.png", *NEAREST)
    assert ended.code == 0
    assert "\\x1b[31mred\\n.png → " in ended.stderr
    assert "\\udcff.png → " in ended.stderr
    assert run("*.png", *NEAREST, "--overwrite", "--json", "-o", "out").code == 0
    assert "\\udcff.png → new/" in run("*.png", *NEAREST, "--dry-run", "-o", "new").text


def test_an_unquoted_pattern_and_one_left_alone(run: Run, save: Save) -> None:
    save("a1.png"), save("a2.png")
    assert run("a?.png", *NEAREST, "-o", "out").code == 0
    assert files() == ["a1.png", "a2.png", "out/a1.png", "out/a2.png"]
    ended = run("b?.png", *NEAREST)
    assert (ended.code, ended.stderr) == (3, "esc-upscale: b?.png: there is no such file\n")


def test_from_stdin_to_stdout(run: Run, save: Save, load: Load) -> None:
    content = save("in.png", mode="LA").read_bytes()
    for arguments in (("-", "-o", "-"), ("-",)):
        ended = run(*arguments, "-s", 2, *NEAREST, stdin=content)
        assert ended.code == 0
        result = load(ended.stdout)
        assert (result.format, result.mode, result.size) == ("PNG", "LA", (16, 12))
        assert "standard input → standard output (16x12, " in ended.stderr
    assert load(run("in.png", "-o", "-", "-f", "webp", *NEAREST).stdout).format == "WEBP"
    assert run("-", "in.png", "-o", "out/", *NEAREST, stdin=content).code == 0
    assert files() == ["in.png", "out/in.png", "out/stdin.png"]


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [
        (b"", "there is nothing on standard input"),
        (b"hello", "the data is not a picture that this program reads"),
    ],
)
def test_bad_standard_input(run: Run, stdin: bytes, sentence: str) -> None:
    ended = run("-", *NEAREST, stdin=stdin)
    assert (ended.code, ended.stdout, ended.stderr) == (3, b"", f"esc-upscale: {sentence}\n")


def test_json(run: Run, save: Save) -> None:
    save("in/a.png"), save("in/b.png"), save("in_x4/b.png")
    Path("in/c.png").touch()
    ended = run("in", *NEAREST, "--json", "--skip-existing")
    assert ended.code == 7
    lines = events(ended.text)
    assert {line["version"] for line in lines} == {2}
    assert [line["event"] for line in lines] == [
        "plan", "skip", "failed", "engine", "estimate", "start", "progress", "done", "summary",
    ]  # fmt: skip
    failed, done, summary = lines[2], lines[7], lines[8]
    assert (failed["input"], failed["exit_code"]) == ("in/c.png", 3)
    assert (done["output"], done["output_height"], done["output_width"]) == ("in_x4/a.png", 24, 32)
    assert [summary[key] for key in ("done", "skipped", "failed", "passed_over")] == [1, 1, 1, 0]
    assert ended.stderr == "esc-upscale: in/c.png is empty\n"


def test_json_tells_of_a_refusal(run: Run, save: Save) -> None:
    save("in.png"), save("in_x4.png")
    (line,) = events(run("in.png", *NEAREST, "--json").text)
    assert (line["event"], line["exit_code"]) == ("refused", 6)
    assert line["message"] == "'in_x4.png' already exists"


def test_the_model_is_chosen_and_said(run: Run, save: Save, scene: Image.Image) -> None:
    scene.crop((0, 0, 96, 96)).filter(ImageFilter.SHARPEN).save(save("a.png"))
    scene.crop((0, 0, 96, 96)).save(save("b.jpg"), quality=50)
    exact = ("-d", "cpu", "-p", "float32")
    plan = run("a.png", "b.jpg", "-s", 2, *exact, "-o", "out/", "--dry-run").text
    assert "a.png → out/a.png (96x96 → 192x192, PNG, esc: clean and sharp)\n" in plan
    assert "b.jpg → out/b.jpg (96x96 → 192x192, JPEG, esc-robust: JPEG rounded it in steps of " in plan
    said = run("a.png", "b.jpg", "-s", 2, *exact, "-o", "out/").stderr
    lines = ("esc x2 on cpu in float32\n", "esc-robust x2 on cpu in float32\n")
    assert (
        said.index(lines[0]) < said.index(lines[1]) < said.index("b.jpg → out/b.jpg (192x192, esc-robust, ")
    )
    assert "a.png → out/a.png (192x192, esc, " in said
    reasons = run("b.jpg", "-s", 2, *exact, "-v", "-o", "c.jpg").stderr
    assert "\n  esc-robust: JPEG rounded it in steps of " in reasons


def test_a_dry_run_only_tells(run: Run, save: Save) -> None:
    save("in/a.png", mode="RGBA"), save("in/b.png"), save("out/b.jpg")
    Path("in/c.png").touch()
    before = {name: Path(name).read_bytes() for name in files()}
    arguments = ("in", *NEAREST, "-s", 1.5, "-o", "out", "-f", "jpg", "--skip-existing", "--dry-run")
    ended = run(*arguments)
    assert ended.code == 7
    lost = "JPEG cannot hold transparency: transparent areas are blended with white"
    assert ended.text == f"in/a.png → out/a.jpg (8x6 → 12x9, JPEG; {lost})\n"
    assert "in/b.png: skipped, out/b.jpg already exists" in ended.stderr
    assert "in/c.png is empty" in ended.stderr
    lines = events(run(*arguments, "--json").text)
    assert [line["event"] for line in lines] == [
        "plan", "skip", "failed", "engine", "estimate",
    ]  # fmt: skip
    assert (lines[0]["output_height"], lines[0]["output_width"], lines[0]["lost"]) == (9, 12, [lost])
    assert {name: Path(name).read_bytes() for name in files()} == before
    assert run("in/a.png", "-m", "unknown", "--dry-run").code == 4
    assert run("in/a.png", "-d", "unknown", "--dry-run").code == 5


def test_what_is_there(run: Run, save: Save, load: Load) -> None:
    save("a.png"), save("b.png"), save("b_x4.png")
    refused = run("a.png", "b.png", *NEAREST)
    assert (refused.code, files()) == (6, ["a.png", "b.png", "b_x4.png"])
    assert refused.stderr == (
        "esc-upscale: 'b_x4.png' already exists\n  use --overwrite or --skip-existing\n"
    )
    skipped = run("a.png", "b.png", *NEAREST, "--skip-existing")
    assert skipped.code == 0
    assert "1 done, 1 skipped in " in skipped.stderr
    assert load("b_x4.png").size == (8, 6)
    assert run("a.png", "b.png", *NEAREST, "--overwrite").code == 0
    assert load("b_x4.png").size == (32, 24)


USAGE = [
    (("-s", "0"), "a scale must be a number above zero, not 0.0"),
    (("-s", "-1"), "a scale must be a number above zero, not -1.0"),
    (("-s", "nan"), "a scale must be a number above zero, not nan"),
    (("-s", "inf"), "the scale inf is too large: the maximum is 1,000"),
    (("-s", "1e300"), "the scale 1e+300 is too large: the maximum is 1,000"),
    (("-s", "four"), "'--scale' / '-s'"),
    (("-q", "0"), "'--quality' / '-q'"),
    (("-q", "101"), "'--quality' / '-q'"),
    (("--tile", "0"), "a tile must be at least one pixel long, not 0"),
    (("--tile", "1.5"), "'--tile'"),
    (("--overlap", "-1"), "an overlap cannot be -1 pixels"),
    (("-p", "float8"), "'--precision' / '-p'"),
    (("--tiling", "none", "--tile", "64"), "the tiling 'none' takes neither a tile size nor an overlap"),
    (("-f", "xyz"), "pictures cannot be written as 'xyz'"),
    (("-o", "out.xyz"), "the extension of 'out.xyz' is not that of a known format"),
    (("-o", ""), "the output has an empty name"),
    (("-o", "-", "--json"), "--json and the picture cannot both go to standard output"),
    (("-o", "-", "in.png", "other.png"), "only one picture can go to standard output"),
    (("--overwrite", "--skip-existing"), "--overwrite and --skip-existing contradict each other"),
    (("--no-such-option",), "No such option: --no-such-option"),
    (("",), "an input has an empty name"),
]


@pytest.mark.parametrize(("arguments", "sentence"), USAGE)
def test_usage_errors(run: Run, save: Save, arguments: tuple[str, ...], sentence: str) -> None:
    save("in.png")
    ended = run("in.png", *NEAREST, *arguments)
    assert ended.code == 2
    assert (sentence in ended.text) if "--json" in arguments else (ended.stdout == b"")
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert files() == ["in.png"]


def test_json_and_a_picture_from_stdin_need_a_name(run: Run) -> None:
    assert run("-", "--json", *NEAREST, stdin=b"x").code == 2


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("notes.txt", b"hello", "notes.txt is not a picture that this program reads"),
        ("empty.png", b"", "empty.png is empty"),
        ("phone.heic", b"\0\0\0\x20ftypheic\0\0\0\0", "phone.heic is damaged"),
    ],
)
def test_a_bad_input(run: Run, name: str, content: bytes, sentence: str) -> None:
    Path(name).write_bytes(content)
    ended = run(name, *NEAREST)
    assert ended.code == 3
    assert ended.stderr.startswith(f"esc-upscale: {sentence}")
    assert files() == [name]


def test_an_input_that_is_not_there(run: Run) -> None:
    ended = run("[nowhere].png", *NEAREST)
    assert (ended.code, ended.stderr) == (3, "esc-upscale: [nowhere].png: there is no such file\n")


def test_a_folder_of_nothing(run: Run) -> None:
    Path("in").mkdir()
    ended = run("in", *NEAREST)
    assert ended.code == 3
    assert ended.stderr == (
        "esc-upscale: there are no pictures or clips in the folder 'in'\n"
        "  use -r to search its subfolders, too\n"
    )


def test_no_such_model(run: Run, save: Save) -> None:
    save("in.png")
    ended = run("in.png", "-m", "nearst")
    assert (ended.code, ended.stderr) == (
        4, "esc-upscale: there is no model 'nearst'\n  did you mean 'nearest'?\n"
    )  # fmt: skip
    assert run("in.png", "-m", "no.safetensors").code == 4
    Path("damaged.safetensors").write_bytes(b"hello")
    assert run("in.png", "-m", "damaged.safetensors").code == 4


def test_no_such_device(run: Run, save: Save) -> None:
    save("in.png")
    ended = run("in.png", *NEAREST, "-d", "abacus")
    assert ended.code == 5
    assert ended.stderr.startswith(
        "esc-upscale: there is no device called 'abacus'\n  choose one of the devices here: cpu"
    )


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("in.png", "'in.png' is an input, and results replace inputs only with --in-place"),
        ("in.png/out.png", "'in.png' is not a folder"),
        ("folder/", "cannot write 'folder/in.png': it is a folder"),
    ],
)
def test_places_that_cannot_be_written(run: Run, save: Save, output: str, sentence: str) -> None:
    save("in.png")
    Path("folder/in.png").mkdir(parents=True)
    ended = run("in.png", *NEAREST, "--overwrite", "-o", output)
    assert ended.code == 6
    assert sentence in ended.stderr
    assert files() == ["in.png"]


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_during_the_final_write(
    run: Run, save: Save, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int, word: str
) -> None:
    """A second signal during the cleanup must not leave any files behind."""
    save("in.png"), save("in_x4.png")
    before = Path("in_x4.png").read_bytes()
    really = os.unlink

    def unlink_and_signal(*arguments: Any, **options: Any) -> None:
        if signal.getsignal(number) not in handlers:  # after the program's end it would hit the tests
            signal.raise_signal(number)
        really(*arguments, **options)

    def signal_and_wait(descriptor: int) -> None:
        os.kill(os.getpid(), number)  # raise_signal would reach this thread only
        time.sleep(0.5)  # gives the main thread time to receive the signal

    # A signal that comes just after the program's end must not end the process that runs the tests.
    former = signal.signal(number, lambda *_: None)
    try:
        handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
        monkeypatch.setattr(os, "fsync", signal_and_wait)
        monkeypatch.setattr(os, "unlink", unlink_and_signal)
        ended = run("in.png", *NEAREST, "--overwrite", "--quiet")
        assert (ended.code, ended.stderr) == (code, f"esc-upscale: {word}\n")
        assert Path("in_x4.png").read_bytes() == before
        assert files() == ["in.png", "in_x4.png"]
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    finally:
        signal.signal(number, former)


def test_an_ignored_signal_stays_ignored(run: Run, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save("in.png")
    really = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (signal.raise_signal(signal.SIGHUP), really(fd)))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run("in.png", *NEAREST).code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_checkpoint_file(
    run: Run, save: Save, load: Load, checkpoint: Path, tiny_network: nn.Module
) -> None:
    save("in.png", size=(24, 20))
    ended = run("in.png", "-m", checkpoint, "-p", "float32")
    assert (ended.code, ended.stdout) == (0, b"")
    assert ended.stderr.startswith(checkpoint.name)
    result = load("in_x2.png")
    low = torch.tensor(list(load("in.png").tobytes())).view(1, 20, 24, 3).permute(0, 3, 1, 2) / 255
    padded = torch.nn.functional.pad(low, (0, 8, 0, 12), mode="reflect")
    with torch.inference_mode():
        expected = tiny_network(padded)[..., :40, :48].clamp(0, 1).mul(255).round()
    high = torch.tensor(list(result.tobytes())).view(1, 40, 48, 3).permute(0, 3, 1, 2)
    assert (high - expected).abs().max() <= 1
    assert run("in.png", "-m", checkpoint, "-s", 4).code == 0
    assert load("in_x4.png").size == (96, 80)
    assert run("in.png", "-m", checkpoint, "-s", 1.5, "--tiling", "overlap", "--tile", 48).code == 0
    assert load("in_x1.5.png").size == (36, 30)


@pytest.mark.parametrize("scale", ["1.5", "2.7", "8", "0.5"])
def test_any_factor_is_exact(run: Run, save: Save, load: Load, scale: str) -> None:
    save("in.png", size=(7, 5))
    assert run("in.png", "-m", "bicubic", "-s", scale, "--quiet").code == 0
    assert load(f"in_x{scale}.png").size == (round(7 * float(scale)), round(5 * float(scale)))


def test_quality_reaches_the_file(run: Run, save: Save) -> None:
    save("in.jpg", size=(64, 64))
    for quality in (10, 100):
        assert run("in.jpg", *NEAREST, "-q", quality, "-o", f"{quality}.jpg").code == 0
    assert 2 * Path("10.jpg").stat().st_size < Path("100.jpg").stat().st_size


def test_a_profile_and_gray_and_orientation_arrive(run: Run, save: Save, load: Load) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[274] = 6
    save("in.jpg", exif=exif, icc_profile=profile), save("gray.png", mode="L")
    assert run("in.jpg", "gray.png", *NEAREST, "-s", 2, "-o", "out").code == 0
    assert load("out/in.jpg").info["icc_profile"] == profile
    assert load("out/in.jpg").size == (12, 16)
    assert load("out/gray.png").mode == "L"


def test_a_list_through_standard_input(run: Run, save: Save) -> None:
    save("in/a 1.png"), save("in/b.png")
    ended = run("--files-from", "-", "-o", "out", *NEAREST, stdin=b"in/a 1.png\0in/b.png\0in/c.png\0")
    assert ended.code == 7
    assert "in/c.png: there is no such file\n" in ended.stderr
    assert files() == ["in/a 1.png", "in/b.png", "out/in/a 1.png", "out/in/b.png"]
    ended = run("--files-from", "-", "-o", "out", *NEAREST)
    assert (ended.code, ended.stderr) == (0, "0 to do\n")


def test_a_stream_has_no_date_to_keep(run: Run, save: Save) -> None:
    content = save("in.png").read_bytes()
    ended = run("-", "-o", "out.png", "--keep-dates", *NEAREST, stdin=content)
    assert (ended.code, ended.stderr.count("a stream has no date, so none is kept")) == (0, 1)


def test_a_killed_run_in_place_loses_nothing(
    run: Run, save: Save, load: Load, start: Callable[..., Any]
) -> None:
    originals = {f"{number}.png": save(f"in/{number}.png").read_bytes() for number in range(30)}
    arguments = ("in", *NEAREST, "-s", 2, "--in-place", "--backup", "kept", "-j", 1)
    process = start(*arguments, "--json")
    for line in process.stdout:
        if json.loads(line)["event"] == "done":
            break
    process.kill()
    process.communicate()
    sizes = {name: load(f"in/{name}").size for name in originals}
    assert (16, 12) in sizes.values()
    for name, content in originals.items():
        if sizes[name] == (8, 6):
            assert Path("in", name).read_bytes() == content
        else:
            assert Path("kept", name).read_bytes() == content
    ended = run(*arguments)
    assert ended.code == 0
    assert {load(f"in/{name}").size for name in originals} == {(16, 12)}
    assert all(Path("kept", name).read_bytes() == content for name, content in originals.items())
    assert run(*arguments).stderr.splitlines()[-1].startswith("0 done, 30 skipped")


def test_verbose_says_how_many_threads_run(start: Callable[..., Any], save: Save) -> None:
    """A process of its own is used, because the niceness cannot be lowered again."""
    save("in.png")
    process = start("in.png", *NEAREST, "-d", "cpu", "-v", "--threads", 1, "--nice", 19)
    _, said = process.communicate()
    assert (process.returncode, said.decode().count("\n  1 thread: asked for\n")) == (0, 1)


def test_programs_hear_how_many_threads_run(run: Run, save: Save) -> None:
    save("in.png")
    ended = run("in.png", *NEAREST, "-d", "cpu", "--json", "--threads", 1)
    (engine,) = (event for event in events(ended.text) if event["event"] == "engine")
    assert (engine["threads"], engine["threads_reason"]) == (1, "asked for")


def test_colors_under_alpha_are_data(run: Run, save: Save, load: Load) -> None:
    noise = load(save("noise.png", size=(8, 6)))
    noise.putalpha(0)
    noise.save("in.png")
    ended = run("in.png", "-m", "bicubic", "-s", 2, "-o", "out.webp", "--alpha", "data")
    assert "note" not in ended.stderr
    run("noise.png", "-m", "bicubic", "-s", 2, "-o", "opaque.png")
    result = load("out.webp")
    assert result.getchannel("A").getextrema() == (0, 0)
    assert result.convert("RGB").tobytes() == load("opaque.png").tobytes()
    ended = run("in.png", "-m", "bicubic", "-s", 2, "-o", "out.gif", "--alpha", "data")
    assert "note: GIF loses the colors under alpha 0\n" in ended.stderr


def test_a_texture_stays_tileable(run: Run, save: Save, load: Load) -> None:
    texture = load(save("in.png", size=(64, 32)))
    texture.rotate(0, translate=(0, 0)).save("a.png")
    shifted = Image.new("RGB", texture.size)
    shifted.paste(texture, (32, 0)), shifted.paste(texture, (-32, 0))
    shifted.save("b.png")
    for name in ("a.png", "b.png"):
        run(
            name,
            "-m",
            "esc-light",
            "-s",
            2,
            "-p",
            "float32",
            "-d",
            "cpu",
            "--seamless",
            "x",
            "--runtime",
            "torch",
        )
    high, expected = load("b_x2.png"), load("a_x2.png")
    rolled = Image.new("RGB", high.size)
    rolled.paste(expected, (64, 0)), rolled.paste(expected, (-64, 0))
    difference = torch.frombuffer(bytearray(high.tobytes()), dtype=torch.uint8).int()
    difference -= torch.frombuffer(bytearray(rolled.tobytes()), dtype=torch.uint8).int()
    assert difference.abs().max() <= 1
    refused = run("a.png", "--seamless", "x", "--tiling", "overlap", "-o", "c.png")
    assert (refused.code, "cannot run in tiles" in refused.stderr) == (2, True)


def test_a_shard_without_an_input_says_so(run: Run, save: Save) -> None:
    save("in.png")
    texts = [run("in.png", *NEAREST, "-s", 2, "--shard", shard).stderr for shard in ("1/2", "2/2")]
    empty = [text for text in texts if "note: no input belongs to the shard" in text]
    assert len(empty) == 1
    assert "in_x2.png" in "".join(texts)


def test_a_result_of_another_model_is_named_with_its_model(run: Run, save: Save) -> None:
    save("in.png")
    assert run("in.png", *NEAREST, "-s", 2).code == 0
    ended = run("in.png", "-m", "bicubic", "-s", 2, "-d", "cpu")
    assert ended.code == 6
    assert "'in_x2.png' already exists, made by the model 'nearest'\n" in ended.stderr


def test_names_that_are_set_apart_are_said_before_the_work(run: Run, save: Save) -> None:
    save("in/a.png"), save("in/a.jpg"), save("in/b.png")
    ended = run("in", *NEAREST, "-s", 2, "-f", "png")
    assert ended.code == 0
    assert [name for name in files() if name.startswith("in_x2/")] == [
        "in_x2/a.png", "in_x2/a_jpg.png", "in_x2/b.png",
    ]  # fmt: skip
    note = "note: names that several results would share get the extension of the input, as in a_jpg.png"
    assert f"{note} (1 of 3 files)\n" in ended.stderr
    assert ended.stderr.index(note) < ended.stderr.index("in/b.png →")
    assert ended.stderr.count("get the extension") == 1
