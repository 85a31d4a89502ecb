"""Collect the files to carry to the lent machine, and check their size before a machine is requested."""

import shutil
import subprocess
from pathlib import Path

from settings import ROOT, Settings

MOST_BYTES = 64 * 2**20
NEEDED_WEIGHTS = ("esc-x2", "esc-x4")


def pack(pictures: Path, settings: Settings, root: Path = ROOT) -> bool:
    """Copy the pictures, compute the exact result, and return whether the files are small enough to carry.

    Args:
        pictures: Folder that is copied to the folder of pictures in the settings.
        settings: Settings with the paths to write to, in a folder that git ignores.
        root: Root of the checkout.
    """
    target, exact = root / settings.pictures, root / settings.exact
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(pictures, target)
    for copied in (target, *target.rglob("*")):
        copied.chmod(0o755 if copied.is_dir() else 0o644)  # the source may be read-only
    write_exact(exact)
    unneeded = [
        one for one in sorted((root / "weights").glob("*.safetensors")) if one.stem not in NEEDED_WEIGHTS
    ]
    tracked = [
        root / name for name in _git("ls-files", "--cached", "--others", "--exclude-standard", root=root)
    ]
    carried = [exact, *(path for path in target.rglob("*") if path.is_file())]
    travelling = {one for one in (*tracked, *carried) if one.is_file()} - set(unneeded)
    total = sum(one.stat().st_size for one in travelling)
    print(f"{len(travelling)} files, {total / 2**20:.1f} of {MOST_BYTES / 2**20:.0f} MiB, without these:")
    print(*(one.relative_to(root) for one in unneeded))
    return total < MOST_BYTES


def write_exact(path: Path) -> None:
    """Write a small picture and the result of ESC x4 for it, computed in float64 on the CPU."""
    from safetensors.torch import save_file

    from esc_cli.checkpoints.checkpoint import load_checkpoint
    from esc_cli.evaluation.benchmark.measurement import exact_result
    from esc_cli.evaluation.benchmark.sample_picture import cut_to, sample_picture

    checkpoint = load_checkpoint("esc", 4)
    window_px = checkpoint.config.window_size
    low = cut_to(sample_picture(), window_px, 2 * window_px + window_px // 2)  # one window is padded
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"low": low.contiguous(), "high": exact_result(checkpoint, low).contiguous()}, path)


def _git(*arguments: str, root: Path) -> list[str]:
    listed = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()
