from __future__ import annotations

import json

from click.testing import CliRunner

from benchmarks.speed.search import main


def test_the_command_prints_every_table_and_keeps_the_raw_numbers(tmp_path):
    options = ["--count", "600", "--rounds", "1", "--growth", "", "--work", str(tmp_path)]
    engines = ["--engine", "avsearch", "--engine", "FAISS as shipped"]
    done = CliRunner().invoke(main, [*options, *engines], catch_exceptions=False)
    assert done.exit_code == 0
    heads = {line.split("|")[1].strip() for line in done.stdout.splitlines() if "|" in line}
    assert {"what", "exact", "filling", "opening", "items"} <= heads
    raw = json.loads((tmp_path / "search-600.json").read_text())
    assert raw["failed"] == {}
    ours = [each for each in raw["asked"] if each["engine"] == "avsearch"]
    assert len(ours) == 5
    assert all(each["identical"] == each["checked"] > 0 for each in ours)
    assert [each["count"] for each in raw["grown"]] == [600]
    assert sorted(path.name for path in (tmp_path / "engines").iterdir()) == []
