"""Test the whole GPU run on the CPU, as far as that is possible without a GPU."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from esc_cli.checkpoints.files import read_state_dict
from esc_cli.training.pairs import split_by_source

ROOT = Path(__file__).parents[2]
TINY = {"device": "cpu", "batch": 1, "patch-px": 16, "steps": 10, "height": 8, "width": 8, "patience": 4}
MOST_FILES, MOST_BYTES = 8, 16 * 2**20

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is not a git checkout")


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Pack some small pictures, and return the paths of the packed files."""
    folder = tmp_path_factory.mktemp("gpu_run")
    (folder / "pictures").mkdir()
    random = np.random.default_rng(0)
    for number in range(18):  # 16 are held out
        small = Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(folder / "pictures" / f"{number}.png")
    paths = {"pictures": folder / "carried" / "pictures", "exact": folder / "carried" / "exact.safetensors"}
    said = gpu_run("pack", str(folder / "pictures"), **paths)
    assert "without these:\nweights/esc-fp-x2.safetensors" in said
    assert len(list(paths["pictures"].iterdir())) == 18
    return paths


def gpu_run(*words: str, **options: Any) -> str:
    given = [word for name, one in options.items() for word in (f"--{name}", str(one))]
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}  # compiling takes minutes
    ended = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "gpu_run"), *words, *given],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of the script again, with the folder of the script in the module search path."""
    monkeypatch.syspath_prepend(ROOT / ".ci" / "gpu_run")
    for one in ("call", "settings", name):
        monkeypatch.delitem(sys.modules, one, raising=False)
    return import_module(name)


def test_call_a_checks_everything_and_chooses(carried: dict[str, Any], tmp_path: Path) -> None:
    said = [
        json.loads(line) for line in gpu_run("a", **TINY, **carried, seconds=500, out=tmp_path).splitlines()
    ]
    assert said == [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert said[-1]["verdict"] == "GO"
    assert said[-1]["reasons"] == []
    checks = {event["check"] for event in said if event.get("ok")}
    assert checks >= {"float32", "bfloat16", "strips"}
    variants = {event["variant"] for event in said if "ms_a_step" in event}
    assert variants == {"plain", "tuned", "compiled", "graph", "recorded"}
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "a.stderr.txt"}


def test_call_b_trains_both_scales_and_brings_them_back(carried: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    shares = ("--shares", "2", "2", "5")
    said = gpu_run("b", "graph", *shares, **TINY, **carried, seconds=300, out=out)
    events = [json.loads(line) for line in said.splitlines()]
    assert events[-1]["verdict"] == "DONE"
    assert [event["trained"] for event in events if "trained" in event] == [2, 4]
    assert {event["run"] for event in events if "run" in event} == {"x2", "x4"}
    assert any(event.get("attention") == "sdpa" and event["ms"] > 0 for event in events)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert len(files) <= MOST_FILES
    assert all(path.stat().st_size < MOST_BYTES for path in files)
    head = read_state_dict(out / "x4" / "weights.safetensors")["to_img.weight"]
    assert head.shape[0] == 48
    check_what_came_back(out, carried["pictures"])


def check_what_came_back(out: Path, pictures: Path) -> None:
    """Measure the new weights; then check that the shipped weights are not better than themselves."""
    command = [
        sys.executable,
        str(ROOT / ".ci" / "ship_gpu_run"),
        str(out),
        str(pictures),
        "sets",
        "--dry-run",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    reports = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [report["scale"] for report in reports] == [2, 4]
    for report in reports:
        assert report["held_out_psnr"]["new"] == pytest.approx(report["last"]["psnr"], abs=0.02)
        assert report["better"] == (report["held_out_psnr"]["new"] > report["held_out_psnr"]["shipped"])
    assert ended.returncode == (0 if any(report["better"] for report in reports) else 1)
    for scale in (2, 4):
        shipped = (ROOT / "weights" / f"esc-x{scale}.safetensors").read_bytes()
        (out / f"x{scale}" / "weights.safetensors").write_bytes(shipped)
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert '"better": true' not in again.stdout


def test_the_tests_of_call_a_need_no_library_that_is_missing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "av", "hypothesis", "onnx", "openvino", "pydantic", "pyvips", "ray", "scipy", "spandrel"
    script = (
        f"import sys; sys.modules |= dict.fromkeys({missing})\n"  # importing one of them fails from now on
        "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )
    chosen = [*module("checks", monkeypatch).CUDA_TESTS]
    command = [sys.executable, "-c", script, "-q", "--collect-only", "-m", "cuda", *chosen]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_stage_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call, settings = module("call", monkeypatch), module("settings", monkeypatch)
    with call.Call("a", 60.0, tmp_path, settings.Settings(device="cpu")) as running:
        (event,) = running.run(call.Stage("latency", 1.0))  # the stage takes longer than this limit
    assert event["failure"] == "did not end within 1 s"
    assert call.failures([event]) == {"latency": event["failure"]}


def test_the_fastest_variant_that_learns_alike_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    decide = module("first_call", monkeypatch).decide

    def step(name: str, loss: float, ms: float) -> dict[str, Any]:
        return {"stage": f"variant {name}", "variant": name, "loss": loss, "ms_a_step": ms}

    steps = [step("plain", 1.0, 100), step("compiled", 1.005, 60), step("graph", 1.02, 20)]
    assert decide(steps) == ("compiled", [])
    wrong = {"stage": "gradients", "check": "bfloat16", "ok": False}
    assert decide([*steps, wrong]) == (None, ["gradients: bfloat16"])
    slow = {"stage": "tests", "failure": "did not end within 60 s"}
    assert decide([*steps, slow]) == ("compiled", ["tests: did not end within 60 s"])
    strips = {"stage": "exactness", "check": "strips", "ok": False}
    assert decide([*steps, strips]) == ("compiled", ["exactness: strips"])
    assert decide(steps[1:])[0] is None
    assert decide([step("plain", float("nan"), 100)])[0] is None


@pytest.mark.parametrize("seconds", [60.0, 200.0, 330.0, 400.0, 480.0, 560.0])
def test_the_time_is_shared_out_and_kept(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = module("second_call", monkeypatch).plan(seconds)
    assert plan.x2_s + plan.x4_s + plan.latency_s < seconds
    assert plan.x4_s == 0 or plan.x4_s >= 45
    assert plan.x2_s >= 0.6 * (plan.x2_s + plan.x4_s)


def test_the_carried_pictures_hold_out_what_the_training_pictures_do(shared: Path) -> None:
    splits = [split_by_source(shared / name, 16) for name in ("gpu-pack/pictures", "training-images")]
    roots = [shared / name for name in ("gpu-pack/pictures", "training-images")]

    def names(paths: tuple[Path, ...], root: Path) -> set[str]:
        return {path.relative_to(root).with_suffix("").as_posix() for path in paths}

    carried, whole = (names(split.validation, root) for split, root in zip(splits, roots, strict=True))
    assert carried
    assert carried <= whole
    assert not names(splits[0].training, roots[0]) & whole
