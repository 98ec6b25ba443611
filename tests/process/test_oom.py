"""Kills for lack of memory are read from the control group, version 2 or 1, and from the kernel's own counter."""

from __future__ import annotations

from pathlib import Path

from app.process.oom import WINDOW, OomWatch, oom_kills

VMSTAT = "nr_free_pages 100\noom_kill {}\npgfault 7\n"


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_version_2(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/system.slice/cyberimage.service\n")
    events = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 0\n"
    write(tmp_path, "sys/fs/cgroup/system.slice/cyberimage.service/memory.events", events)
    write(tmp_path, "proc/vmstat", VMSTAT.format(5))
    assert oom_kills(tmp_path) == (3, -1, 5)


def test_version_1(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n")
    control = "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
    write(tmp_path, "sys/fs/cgroup/memory/docker/abc/memory.oom_control", control)
    assert oom_kills(tmp_path) == (-1, 1, -1)


def test_nothing_to_read(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) == (-1, -1, -1)
    assert not OomWatch(lambda: (-1, -1, -1)).has_killed()


def test_only_a_recent_kill_counts(monkeypatch) -> None:
    monkeypatch.setattr("app.process.oom.SAMPLE_EVERY_SECONDS", 0.0)
    counts = [3]
    watch = OomWatch(lambda: (counts[0], -1))
    assert not watch.has_killed()
    counts[0] = 4
    watch.sample()  # between the kill and the end of the process
    assert watch.has_killed()
    for _ in range(WINDOW):
        watch.sample()
    assert not watch.has_killed()


def test_this_machine_can_be_read() -> None:
    assert all(isinstance(count, int) for count in oom_kills())
