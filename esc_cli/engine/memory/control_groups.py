"""The control groups that Linux keeps this process in: where a container's limits stand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Version = Literal[1, 2]


def group_folders(controller: str, root: Path) -> Iterator[tuple[Version, Path]]:
    """List the folders of this process's groups, and of the groups around them.

    In a container the path may be the host's: only the mount is there, and the others do not exist.

    Args:
        controller: What the limit is of: ``memory`` or ``cpu``.
        root: Where ``proc`` and ``sys`` are mounted.

    Returns:
        Each with the version of its files; nothing where there are no control groups.

    Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/cgroups.rst.
    """
    mount = root / "sys/fs/cgroup"
    for controllers, path in _memberships(root):
        group = Path(path.lstrip("/"))
        ancestors = (group, *group.parents)
        if not controllers:
            yield from ((2, mount / ancestor) for ancestor in ancestors)
        elif controller in controllers.split(","):
            yield from ((1, mount / controller / ancestor) for ancestor in ancestors)


def _memberships(root: Path) -> list[tuple[str, str]]:
    """Read the controllers (none named: version 2) and the path of each group that holds this process."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    fields = [line.split(":", 2) for line in lines]
    return [(parts[1], parts[2]) for parts in fields if len(parts) == 3]
