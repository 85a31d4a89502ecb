"""Run the program on real files that upscalers get wrong, and read the results with other libraries.

The files lie beside a developer's checkout. These tests use only the files that take no time. The table of
all files, including the large ones, is in the notes of the release.
"""

import csv
from pathlib import Path

import pytest
import pyvips

from esc_cli.errors import ExitCode
from esc_cli.jobs.upscale import Report, upscale_files

LARGEST_BYTES = 600_000
NOT_MADE = {
    "bad_bomb.gif": "4365 megapixels",
    "bad_crc.png": "a checksum does not match",
    "bad_empty.png": "is empty",
    "bad_truncated.jpg": "is damaged or incomplete",
    "bad_truncated.png": "is damaged",
    "jpeg_12bit.jpg": "",
    "heic_10bit.heic": "",
}
"""Refused files, and words of the error message. Without its optional package, HEIC is refused, too."""

LARGE = ("photo_12mp_progressive_text.jpg", "photo_adobe_rgb_4k.jpg", "p3_irot.avif")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with links to the small files of the corpus."""
    source = Path(__file__).parents[2] / "shared" / "corpus"
    if not source.is_dir():
        pytest.skip("the corpus is missing")
    folder = tmp_path_factory.mktemp("corpus") / "in"
    folder.mkdir()
    with (source / "manifest.csv").open(encoding="utf-8") as manifest:
        for row in csv.DictReader(manifest):
            if int(row["bytes"]) < LARGEST_BYTES and row["file"] not in LARGE:
                (folder / row["file"]).symlink_to(source / row["file"])
    return folder


@pytest.fixture(scope="module")
def report(corpus: Path) -> Report:
    return upscale_files([corpus], scale=2, model="nearest")


@pytest.fixture(scope="module")
def results(report: Report) -> dict[Path, Path]:
    """Return the result of each input."""
    failed = {failure.name for failure in report.failures}
    tasks = [task for task in report.plan.tasks if task.source.name not in failed]
    return {task.source.content: task.target for task in tasks}  # type: ignore[misc]


def test_each_file_is_made_or_refused_with_a_sentence(
    corpus: Path, report: Report, results: dict[Path, Path]
) -> None:
    failures = {Path(failure.name).name: failure.error for failure in report.failures}
    assert set(failures) <= set(NOT_MADE)
    assert set(NOT_MADE) - set(failures) <= {"heic_10bit.heic"}
    for name, error in failures.items():
        assert error.exit_code is ExitCode.BAD_INPUT
        assert NOT_MADE[name] in error.message
    assert report.exit_code is ExitCode.SOME_FAILED
    assert set(results) == {path for path in corpus.iterdir() if path.name not in failures}
    assert all(target.is_file() for target in results.values())


def test_each_file_gets_a_model_or_is_refused(corpus: Path, tmp_path: Path) -> None:
    """A dry run decodes all files."""
    report = upscale_files([corpus], tmp_path, scale=2, device="cpu", precision="float32", dry_run=True)
    assert {Path(failure.name).name for failure in report.failures} <= set(NOT_MADE)
    models = {Path(task.source.name).name: task.choice and task.choice.model for task in report.plan.tasks}
    assert models["photo_plain_512x341.jpg"] == "esc-robust"
    assert models["gray_alpha.png"] == "esc"
    assert None not in models.values()


def test_sizes_depths_and_profiles_by_libvips(results: dict[Path, Path]) -> None:
    """libvips reads both the sources and the results."""
    seen = 0
    for source, result in results.items():
        try:
            low = pyvips.Image.new_from_file(str(source)).autorot()
        except pyvips.Error:
            continue  # HEIC, Lab, and floats that libvips does not know
        high = pyvips.Image.new_from_file(str(result))
        assert (high.width, high.height) == (low.width * 2, low.height * 2), source.name
        if low.interpretation not in ("cmyk", "labs", "lab"):
            assert high.format == low.format, source.name
            assert is_transparent(high) == is_transparent(low), source.name
            assert kept(low, "icc-profile-data") <= kept(high, "icc-profile-data"), source.name
        for field in ("exif-ifd3-GPSLatitude", "n-pages", "loop"):
            assert kept(low, field) <= kept(high, field), (source.name, field)
        assert kept(high, "orientation") <= {1}, source.name
        seen += 1
    assert seen > 40


def is_transparent(image: pyvips.Image) -> bool:
    """Return whether a picture has alpha that is not opaque everywhere. A result may omit opaque alpha."""
    largest = 65535 if image.format == "ushort" else 255
    return bool(image.hasalpha() and image[image.bands - 1].min() < largest)


def kept(image: pyvips.Image, field: str) -> set[object]:
    """Return the value of a field of a picture's file as a set, which is empty if the file has no value."""
    if not image.get_typeof(field):
        return set()
    value = image.get(field)
    return {bytes(value) if isinstance(value, memoryview) else value}
