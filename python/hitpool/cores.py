"""How many cores this process may use."""

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_cores() -> int:
    """Number of cores this process may use: those it may run on, or fewer if a container limits its CPU time.

    Returns:
        At least 1.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, cpu_quota())))


def cpu_quota(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float:
    """CPU time per wall time that the control groups of this process allow, versions 1 and 2.

    Args:
        cgroups: Where the control groups are mounted.
        membership: File that names those of this process.

    Returns:
        Number of cores, with a fraction; infinity if there is no limit.
    """
    if not membership.is_file():
        return float("inf")
    quotas = [float("inf")]
    for line in membership.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = cgroups / controllers
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):  # a group has at most what those above it have
            quotas.append(_quota_of(folder))
            if folder == mount:
                break
    return min(quotas)


def _quota_of(folder: Path) -> float:
    if (folder / "cpu.max").is_file():  # version 2: microseconds, or max, in each period
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    elif (folder / "cpu.cfs_quota_us").is_file():  # version 1; -1 is no limit
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
    else:
        return float("inf")
    return float("inf") if quota == "max" or float(quota) <= 0 else float(quota) / float(period)
