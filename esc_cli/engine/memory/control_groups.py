"""Find the Linux control groups of this process, which hold a container's limits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Version = Literal[1, 2]


def group_folders(controller: str, root: Path) -> Iterator[tuple[Version, Path]]:
    """List the folders of this process's control groups, and of the groups around them.

    In a container, a path may be that of the host. Then only the mount exists, and the other folders do not.

    Args:
        controller: The limited resource: ``memory`` or ``cpu``.
        root: Folder in which ``proc`` and ``sys`` are mounted.

    Returns:
        Each folder, after the cgroup version of its files; nothing if there are no control groups.

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
    """Read the controllers (empty for version 2) and the path of each group that holds this process."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    fields = [line.split(":", 2) for line in lines]
    return [(parts[1], parts[2]) for parts in fields if len(parts) == 3]
