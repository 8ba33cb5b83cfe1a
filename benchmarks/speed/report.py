"""The measurements as Markdown tables and as JSON."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.machine import Machine, Memory
from benchmarks.speed.growth import CHANGED, SizeResult
from benchmarks.speed.measure import FILTERED, MANY, ONE, TOP, Outcome
from benchmarks.speed.opening import Opened
from benchmarks.speed.world import DIM, QUERIES, Recipe
from benchmarks.tables import Row, Spread, table

OURS, SHIPPED = "avsearch", "FAISS as shipped"
MIB = 2**20


@dataclasses.dataclass(frozen=True, slots=True)
class Filled:
    """The seconds of filling an engine, and the memory of its process afterwards."""

    engine: str
    seconds: float
    memory: Memory


@dataclasses.dataclass(frozen=True, slots=True)
class Overhead:
    """Seconds of ``Index.search``, one query at a time, and of the vector search inside it."""

    question: str
    whole: list[float]
    inside: list[float]

    @property
    def figure(self) -> Spread:
        """Seconds outside the vector search."""
        pairs = zip(self.whole, self.inside, strict=True)
        return Spread.of([whole - inside for whole, inside in pairs])


@dataclasses.dataclass(slots=True)
class Results:
    """All measurements of a run."""

    machine: Machine
    recipe: Recipe
    rounds: int
    filled: list[Filled] = dataclasses.field(default_factory=list)
    asked: list[Outcome] = dataclasses.field(default_factory=list)
    spent: list[Overhead] = dataclasses.field(default_factory=list)
    openings: dict[str, list[Opened]] = dataclasses.field(default_factory=dict)
    grown: list[SizeResult] = dataclasses.field(default_factory=list)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """Return the raw numbers: seconds and bytes."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    def of(self, question: str) -> dict[str, Outcome]:
        """Return the outcomes of engines that answered at least once, by engine."""
        return {a.engine: a for a in self.asked if a.question == question and a.seconds}


def rendered(results: Results) -> str:
    """Return all tables, after the machine and the world."""
    parts = [
        results.machine.described(),
        f"{results.recipe.count:,} x {DIM} synthetic vectors of {results.recipe.people:,} people "
        f"(seed {results.recipe.seed}, order {results.recipe.order}), top {TOP}; medians "
        f"[least, most] of {results.rounds} rounds taken in turns.",
        table(("what", "found", "goal", "kept"), goals(results)),
        _exact(results),
        _filtered(results),
        _filled(results),
        _openings(results),
        _growth(results.grown),
        *(f"{engine} failed: {reason}" for engine, reason in results.failed.items()),
    ]
    return "\n\n".join(part for part in parts if part)


def goals(results: Results) -> list[Row]:
    """Return the goals of avsearch with the results, and whether they are met."""
    found = (_exact_goals, _filter_goals, _change_goals, _opening_goals, _overhead_goals)
    return [
        (what, said, goal, "yes" if kept else "NO")
        for of in found
        for what, said, goal, kept in of(results)
    ]


Goal = tuple[str, str, str, bool]


def _exact_goals(results: Results) -> Iterator[Goal]:
    for question, least in ((MANY.name, 10.0), (ONE.name, 2.5)):
        asked = results.of(question)
        if {OURS, SHIPPED} <= asked.keys():
            ratio = faster(asked[OURS], asked[SHIPPED])
            goal, kept = f"{least:g} x FAISS as shipped", ratio.median >= least
            yield f"exact, {question}", f"{_times(ratio)} FAISS as shipped", goal, kept
        if OURS in asked:
            ours = asked[OURS]
            same = f"{ours.identical} of {ours.checked}"
            yield f"{question}: top {TOP} identical", same, "all", ours.identical == ours.checked


def _filter_goals(results: Results) -> Iterator[Goal]:
    for question in FILTERED:
        asked = results.of(question.name)
        ours = asked.pop(OURS, None)
        if ours is None:
            continue
        what = f"filter matching {question.name}"
        yield f"{what}: recall@{TOP}", f"{ours.recall:.4f}", "1", ours.recall == 1
        if asked:
            name, other = min(asked.items(), key=lambda each: statistics.median(each[1].seconds))
            ratio = faster(ours, other)
            yield what, f"{_times(ratio)} {name}", "faster than every other", ratio.median > 1


def _change_goals(results: Results) -> Iterator[Goal]:
    for grown in results.grown:
        if grown.count == results.recipe.count:
            share, goal = grown.share("changed"), 0.02
            what = f"update of {CHANGED:,} of {grown.count:,}"
            yield what, f"{share:.1%} of the first build", f"{goal:.0%}", share <= goal


def _opening_goals(results: Results) -> Iterator[Goal]:
    ours = results.openings.get(OURS)
    if ours:
        seconds = Spread.of([each.open_s for each in ours])
        yield "opening", f"{_figure(seconds)} s", "0.3 s", seconds.median < 0.3
        held = Spread.of([each.opened.resident / MIB for each in ours])
        what = "memory beyond the imports until the first search"
        yield what, f"{_figure(held)} MiB", "50 MiB", held.median < 50


def _overhead_goals(results: Results) -> Iterator[Goal]:
    for spent in results.spent:
        ms = _ms(spent.figure)
        what = f"overhead over the bare vector search, {spent.question}"
        yield what, f"{ms} ms", "1 ms", spent.figure.median < 1e-3


def faster(ours: Outcome, other: Outcome) -> Spread:
    """Return the ratio of times, round by round."""
    return Spread.of([o / w for w, o in zip(ours.seconds, other.seconds, strict=False)])


def _exact(results: Results) -> str:
    many, one = results.of(MANY.name), results.of(ONE.name)
    head = (
        "exact", f"{QUERIES} queries, a second", "one query, ms", f"top {TOP} identical",
    )  # fmt: skip
    return table(head, [
        (
            engine,
            _rate(many[engine]) if engine in many else "",
            _ms(Spread.of(one[engine].seconds)) if engine in one else "",
            _same([each[engine] for each in (many, one) if engine in each]),
        )
        for engine in dict.fromkeys([*many, *one])
    ])  # fmt: skip


def _filtered(results: Results) -> str:
    columns = [results.of(question.name) for question in FILTERED]
    engines = dict.fromkeys(engine for column in columns for engine in column)
    head = ("one query under a filter, ms", *(f"{q.name} (recall)" for q in FILTERED))
    rows = [(engine, *(_answered(column.get(engine)) for column in columns)) for engine in engines]
    return table(head, rows)


def _filled(results: Results) -> str:
    head = ("filling", "s", "items a second", "anonymous MiB", "file MiB")
    rows = [
        (
            each.engine,
            f"{each.seconds:.1f}",
            f"{results.recipe.count / each.seconds:,.0f}",
            _mib(each.memory.anonymous),
            _mib(each.memory.file),
        )
        for each in results.filled
    ]
    return table(head, rows)


def _openings(results: Results) -> str:
    head = (
        "opening", "open, ms", "then anonymous + file MiB",
        "first search, ms", "then anonymous + file MiB", "next search, ms",
    )  # fmt: skip
    rows = [
        (
            engine,
            _ms(Spread.of([each.open_s for each in runs])),
            _held(each.opened for each in runs),
            _ms(Spread.of([each.first_s for each in runs])),
            _held(each.searched for each in runs),
            _ms(Spread.of([each.next_s for each in runs])),
        )
        for engine, runs in results.openings.items()
    ]
    return table(head, rows)


def _growth(grown: Sequence[SizeResult]) -> str:
    head = (
        "items", "build, s", "disk, MiB", "open, ms", "first search, ms", "one query, ms",
        f"{QUERIES} queries, ms", "under 1 %, ms",
        f"change {CHANGED:,}, ms", f"add {CHANGED:,}, ms",
        "memory of a searching process, MiB",
    )  # fmt: skip
    return table(head, [_grown(each) for each in sorted(grown, key=lambda each: each.count)])


def _grown(each: SizeResult) -> Row:
    one_percent = FILTERED[1].name
    return (
        f"{each.count:,}",
        f"{each.build_s:.1f}",
        _mib(each.disk),
        _short(1e3 * Spread.of([run.open_s for run in each.openings]).median),
        _short(1e3 * Spread.of([run.first_s for run in each.openings]).median),
        *(
            _short(1e3 * Spread.of(values).median)
            for values in (
                each.seconds[ONE.name],
                each.seconds[MANY.name],
                each.seconds[one_percent],
                each.changes["changed"],
                each.changes["added"],
            )
        ),
        _held(run.searched for run in each.openings),
    )


def _same(asked: Sequence[Outcome]) -> str:
    return f"{sum(a.identical for a in asked)} of {sum(a.checked for a in asked)}"


def _answered(asked: Outcome | None) -> str:
    if asked is None:
        return "-"
    return f"{_ms(Spread.of(asked.seconds))} ({asked.recall:.3f})"


def _rate(asked: Outcome) -> str:
    return _figure(Spread.of([QUERIES / seconds for seconds in asked.seconds]))


def _held(memories: Iterable[Memory]) -> str:
    held = list(memories)
    parts = ([m.anonymous for m in held], [m.file for m in held])
    return " + ".join(_mib(statistics.median(part)) for part in parts)


def _times(ratio: Spread) -> str:
    return f"{_figure(ratio)} x"


def _ms(seconds: Spread) -> str:
    return _figure(Spread(*(1e3 * value for value in dataclasses.astuple(seconds))))


def _figure(figure: Spread) -> str:
    return f"{_short(figure.median)} [{_short(figure.least)}, {_short(figure.most)}]"


def _mib(count: float) -> str:
    return f"{count / MIB:,.0f}"


def _short(value: float) -> str:
    """Three digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
