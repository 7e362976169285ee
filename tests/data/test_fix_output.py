from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anytune.data.aside import aside
from anytune.data.fix import fix
from anytune.errors import AnytuneError, RefusedError, UsageError
from tests.data.samples import assistant, chat, user, write

WRONG = chat(user(role="human"), assistant())


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_output_that_is_no_regular_file_is_refused_and_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", WRONG)
    pipe, folder, link, end = (tmp_path / name for name in ("pipe", "folder", "link", "end"))
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to(pipe)
    with socket.socket(socket.AF_UNIX) as open_end:
        open_end.bind(os.path.relpath(end))
        for out in (pipe, folder, link, end, Path(os.devnull)):
            kind = out.lstat().st_mode
            with pytest.raises(UsageError, match=f"{out} is not a regular file"):
                fix(path, out=out)
            assert out.lstat().st_mode == kind
    assert len(list(tmp_path.iterdir())) == 5


def test_a_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "far" / "b.jsonl", tmp_path / "b.jsonl"
    link.symlink_to(target)
    for text in (b"1", b"2"):
        with aside(link) as file:
            file.write(text)
        assert link.is_symlink()
        assert target.read_bytes() == text


def test_a_full_disk_is_told_of_the_output_and_nothing_is_left(tmp_path: Path) -> None:
    path, out = write(tmp_path / "a.jsonl", *[WRONG] * 3, chat(user("x" * 5000), assistant())), tmp_path / "b.jsonl"
    with at_most(1000), pytest.raises(AnytuneError, match=f"{out} cannot be written: File too large") as wrong:
        fix(path, out=out)
    assert wrong.value.exit_code == 1
    assert "make room" in (wrong.value.fix or "")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_takes_no_files_is_told_of_the_output(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", WRONG)
    with pytest.raises(AnytuneError, match=r"a\.jsonl/b\.jsonl cannot be written") as wrong:
        fix(path, out=path / "b.jsonl")
    assert (wrong.value.exit_code, wrong.value.fix) == (1, "name an output that can be written")


def test_an_input_that_cannot_be_read_is_not_taken_for_the_output(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="broken"), aside(tmp_path / "b.jsonl"):
        raise OSError(errno.EIO, "broken")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_or_device_as_input_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(RefusedError, match=f"{path}: this is not a regular file"):
            fix(path, out=tmp_path / "b.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
