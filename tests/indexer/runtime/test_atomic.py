from __future__ import annotations

import pytest

from indexer.runtime.atomic import replacing


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_where_a_link_leads_is_replaced_and_not_the_link(tmp_path):
    far = tmp_path / "far"
    far.mkdir()
    (far / "file").write_text("old")
    (tmp_path / "link").symlink_to("far/file")
    with replacing(tmp_path / "link") as partial:
        partial.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (far / "file").read_text() == "new"
    assert list(far.iterdir()) == [far / "file"]


def test_it_may_be_read_as_any_new_file_whoever_makes_it_private(tmp_path):
    path, other = tmp_path / "file", tmp_path / "other"
    with replacing(path) as partial:
        partial.touch(0o600)
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


def test_a_writing_that_writes_nothing_is_no_empty_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"


def fail_half_way(path):
    with replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError


def test_a_writing_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        fail_half_way(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
