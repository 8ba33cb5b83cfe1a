from __future__ import annotations

import dataclasses
import json

from benchmarks.machine import Machine, Memory, _cpu
from benchmarks.speed.growth import SizeResult
from benchmarks.speed.measure import Outcome
from benchmarks.speed.opening import Opened
from benchmarks.speed.report import Filled, Overhead, Results, faster, goals, rendered, table
from benchmarks.speed.world import Recipe
from benchmarks.tables import Spread

STATUS = """\
Name:\tpython
VmHWM:\t    4000 kB
VmRSS:\t    3000 kB
RssAnon:\t    1000 kB
RssFile:\t    2000 kB
Threads:\t1
"""
MACHINE = Machine("A Processor", 2, 4 * 2**30, 0.25, "Linux 6", {"Python": "3.11"})
MIB = 2**20


def asked(engine, question, *seconds, recall=1.0, identical=10):
    return Outcome(engine, question, list(seconds), [recall] * len(seconds), identical, 10)


def results(**changes):
    opened = Opened(0.1, 0.5, 0.01, Memory(10 * MIB, 20 * MIB, 0), Memory(MIB, MIB, 0))
    grown = SizeResult(
        count=5000,
        build_s=100.0,
        disk=7 * MIB,
        memory=Memory(1, 1, 1),
        openings=[opened],
        seconds={"one query": [0.004], "256 queries": [0.5], "1 %": [0.003]},
        changes={"changed": [1.0, 1.5, 9.0], "added": [1.0], "search after added": [1.0]},
    )
    facts = {
        "filled": [Filled("avsearch", 50.0, Memory(3 * MIB, 4 * MIB, 0))],
        "asked": [
            asked("avsearch", "256 queries", 1.0, 2.0, 1.0),
            asked("FAISS as shipped", "256 queries", 10.0, 24.0, 12.0),
            asked("avsearch", "one query", 1.0),
            asked("FAISS as shipped", "one query", 2.0),
            asked("avsearch", "1 %", 1.0),
            asked("lancedb", "1 %", 4.0),
            asked("milvus-lite", "1 %", 3.0, recall=0.5),
        ],
        "spent": [Overhead("one query", [0.0030, 0.0040], [0.0025, 0.0031])],
        "openings": {"avsearch": [opened]},
        "grown": [grown],
    }
    return Results(MACHINE, Recipe(5000), 3, **{**facts, **changes})


def kept(results):
    return {what: (found, verdict) for what, found, _, verdict in goals(results)}


def test_a_ratio_compares_two_engines_round_by_round():
    ours, other = asked("a", "q", 1.0, 2.0, 4.0), asked("b", "q", 10.0, 10.0, 10.0)
    assert faster(ours, other) == Spread(5.0, 2.5, 10.0)
    assert faster(ours, asked("c", "q", 3.0)) == Spread(3.0, 3.0, 3.0)


def test_each_goal_says_what_was_found_and_whether_it_is_kept():
    assert kept(results()) == {
        "exact, 256 queries": ("12.0 [10.0, 12.0] x FAISS as shipped", "yes"),
        "256 queries: top 10 identical": ("10 of 10", "yes"),
        "exact, one query": ("2.00 [2.00, 2.00] x FAISS as shipped", "NO"),
        "one query: top 10 identical": ("10 of 10", "yes"),
        "filter matching 1 %: recall@10": ("1.0000", "yes"),
        "filter matching 1 %": ("3.00 [3.00, 3.00] x milvus-lite", "yes"),
        "update of 1,000 of 5,000": ("1.5% of the first build", "yes"),
        "opening": ("0.10 [0.10, 0.10] s", "yes"),
        "memory beyond the imports until the first search": ("30.0 [30.0, 30.0] MiB", "yes"),
        "overhead over the bare vector search, one query": ("0.70 [0.50, 0.90] ms", "yes"),
    }


def test_a_wrong_answer_is_never_kept_however_fast():
    wrong = [
        asked("avsearch", "256 queries", 0.1, identical=9),
        asked("avsearch", "1 %", 0.1, recall=0.999),
        asked("lancedb", "1 %", 9.0),
    ]
    verdicts = kept(results(asked=wrong))
    assert verdicts["256 queries: top 10 identical"] == ("9 of 10", "NO")
    assert verdicts["filter matching 1 %: recall@10"] == ("0.9990", "NO")


def test_an_engine_that_failed_is_in_the_report_by_name_with_its_reason():
    text = rendered(results(failed={"milvus-lite": "ModuleNotFoundError: pymilvus"}))
    assert "milvus-lite failed: ModuleNotFoundError: pymilvus" in text


def test_a_run_that_was_stopped_early_reports_what_it_has():
    text = rendered(Results(MACHINE, Recipe(100), 3))
    assert "2 cores of A Processor, 4 GiB, Linux 6" in text
    assert "|" not in text


def test_the_raw_numbers_are_json_with_every_round():
    raw = json.loads(results().to_json())
    assert raw["asked"][0]["seconds"] == [1.0, 2.0, 1.0]
    assert raw["recipe"] == {"count": 5000, "seed": 0, "order": "gallery"}
    assert raw["openings"]["avsearch"][0]["opened"]["file"] == 20 * MIB


def test_a_table_is_padded_markdown():
    assert table(("a", "bcd"), [("efg", "h")]) == "\n".join(
        ["| a   | bcd |", "| --- | --- |", "| efg | h   |"]
    )


def test_memory_is_read_from_what_linux_says():
    memory = Memory.parsed(STATUS)
    assert memory == Memory(anonymous=1000 * 1024, file=2000 * 1024, peak=4000 * 1024)
    assert memory.resident == 3000 * 1024
    assert memory.beyond(Memory(100, 200, 300)).resident == 3000 * 1024 - 300


def test_what_is_opened_goes_through_json_unchanged():
    opened = Opened(1.0, 2.0, 3.0, Memory(1, 2, 3), Memory(4, 5, 6))
    assert Opened.parsed(json.dumps(dataclasses.asdict(opened))) == opened


def test_a_machine_says_its_processor_and_what_is_not_installed():
    assert _cpu("processor\t: 0\nmodel name\t: A Chip @ 2 GHz\n") == "A Chip @ 2 GHz"
    here = Machine.here(["numpy", "a-package-nobody-has"])
    assert here.versions["a-package-nobody-has"] == "not installed"
    assert here.cores >= 1
