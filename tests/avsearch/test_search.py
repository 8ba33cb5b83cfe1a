"""Searching: filters against a plain scan, evidence, and re-ranking."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from avsearch.calibration import Calibration, Evidence
from avsearch.search import Hit, HitOptions, Query, Searcher, person_query
from indexer.errors import BadRequest, ForeignSpace, RefusedFile
from indexer.index import Index
from indexer.ingest.ingest import ingest
from indexer.open import open_index
from indexer.types import Box, Media, Space
from tests.helpers.fakes import DIM, SPACE, FakeEmbedder, FakeExtractor, fake_vector

GENDERS = ("f", "m", "")
NATIONS = ("Ireland", "Perú", "")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of 18 people with two faces and three voices each."""
    folder = tmp_path_factory.mktemp("search")
    rows = ["person,name,gender,nationality,club"]
    for number in range(18):
        key = f"p{number:02}"
        gender, nation = GENDERS[number % 3], NATIONS[number // 3 % 3]
        rows.append(f"{key},Name {number},{gender},{nation},{'North' if number % 2 else ''}")
        (folder / "gallery" / key).mkdir(parents=True)
        for kind, count in (("face", 2), ("voice", 3)):
            lines = "".join(f"{kind}: {key} {at}\n" for at in range(count))
            suffix = "jpg" if kind == "face" else "wav"
            (folder / "gallery" / key / f"{kind}.{suffix}").write_text(lines)
    (folder / "gallery" / "people.csv").write_text("\n".join(rows) + "\n", "utf-8")
    with Index.create(folder / ".avsearch", SPACE) as index:
        report = ingest(index, folder / "gallery", FakeExtractor(), FakeEmbedder())
    assert (report.people, report.faces, report.voices) == (18, 36, 54)
    return folder


@pytest.fixture
def index(place: Path) -> Iterator[Index]:
    with open_index(place) as opened:
        yield opened


@pytest.fixture
def query() -> Query:
    return asked("voice: a stranger")


def media(text: str, modality: str = "voice") -> Media:
    data = np.frombuffer(text.encode(), np.uint8)
    return Media(Path("asked"), modality, 1.0, 2.0, None, data)


def asked(*texts: str) -> Query:
    return Query.of_media([media(text, text.partition(":")[0]) for text in texts])


def hits(searcher: Searcher, query: Query, **options) -> list[Hit]:
    return list(searcher.answer(query, HitOptions(**options)))


def plain_scan(index: Index, vector, want, where, by, top):
    """Every item scored one by one, from the catalog alone: (person, path, start_s, score)."""
    found = []
    with index.catalog.read() as read:
        ids = read.owners()[0]
        items = read.items(ids)
        vectors = read.vectors(ids)
    for number, other in zip(ids.tolist(), vectors, strict=True):
        item = items[number]
        cells = {column: text.casefold() for column, text in item.person.cells().items()}
        if want not in ("any", item.modality):
            continue
        if any(cells.get(column) != text.casefold() for column, text in where.items()):
            continue
        score = float(vector @ other / np.linalg.norm(vector) / np.linalg.norm(other))
        found.append((-score, number, item))
    found.sort(key=lambda one: one[:2])
    if by == "person":
        best = {}
        for one in found:
            best.setdefault(one[2].person.key, one)
        found = sorted(best.values(), key=lambda one: one[:2])
    return [
        (item.person.key, item.path.name, item.start_s, -score) for score, _, item in found[:top]
    ]


FILTERS = [
    {},
    *({"gender": gender} for gender in ("f", "M", "x")),
    {"nationality": "PERÚ"},
    *({"gender": g, "nationality": n} for g, n in itertools.product("fm", ("Ireland", "Perú"))),
    {"club": "north"},
    {"club": "North", "gender": "f", "nationality": "Ireland"},
    {"person": "p07"},
    {"name": "name 3"},
]


@pytest.mark.parametrize("where", FILTERS, ids=str)
@pytest.mark.parametrize("by", ["person", "item"])
@pytest.mark.parametrize("want", ["face", "voice", "any"])
def test_answers_are_those_of_a_plain_scan(index, query, where, by, want):
    searcher = Searcher(index, FakeEmbedder())
    vector = fake_vector("voice: a stranger")
    for top in (1, 5, 1000):
        found = hits(searcher, query, top=top, want=want, where=where, by=by)
        expected = plain_scan(index, vector, want, where, by, top)
        assert [(h.person, h.path.name, h.start_s) for h in found] == [row[:3] for row in expected]
        assert [h.score for h in found] == pytest.approx([row[3] for row in expected], abs=1e-5)
        assert [h.rank for h in found] == list(range(1, len(found) + 1))


def test_ten_faces_answer_a_voice_by_default(index, query):
    answer = Searcher(index, FakeEmbedder()).answer(query)
    assert len(answer) == 10
    assert {hit.modality for hit in answer} == {"face"}
    assert all(isinstance(hit, Hit) and hit.rerank_score is None for hit in answer)
    assert isinstance(answer[0].score, float)
    assert answer[0].attributes.keys() >= {"gender", "nationality"}


def test_several_stretches_ask_with_their_mean(index):
    stretches = [
        Media(Path("a"), "voice", 1.0, 2.0, None, media("voice: x").data),
        Media(Path("a"), "voice", 4.0, 5.5, None, media("voice: y").data),
    ]
    answer = Searcher(index, FakeEmbedder()).answer(Query.of_media(stretches, ["a note"]))
    query = answer.query
    assert (query.path, query.person, query.modality) == (Path("a").absolute(), None, "voice")
    assert (query.start_s, query.end_s) == (1.0, 5.5)
    assert answer.want == "face"
    assert answer.notes == ("a note",)
    mean = (fake_vector("voice: x") + fake_vector("voice: y")) / 2
    expected = plain_scan(index, mean, "face", {}, "person", 10)
    assert [hit.person for hit in answer] == [row[0] for row in expected]


def test_a_person_is_asked_with_the_mean_of_theirs(index):
    mean = np.mean([fake_vector(f"voice: p04 {at}") for at in range(3)], 0)
    expected = plain_scan(index, mean, "face", {"gender": "f"}, "person", 10)
    found = hits(Searcher(index), person_query(index, "p04"), where={"gender": "f"})
    assert [hit.person for hit in found] == [row[0] for row in expected]


@pytest.mark.parametrize("key", ["p99", ""])
def test_somebody_unknown_cannot_ask(index, key):
    with pytest.raises(BadRequest, match=f"There is no {key!r}"):
        person_query(index, key)


def test_media_need_an_embedder(index, query):
    with pytest.raises(BadRequest, match="needs a model"):
        Searcher(index).answer(query)


def test_another_space_is_refused(index):
    with pytest.raises(ForeignSpace, match="use the index's own model"):
        Searcher(index, FakeEmbedder(Space("fake", "other", DIM, "cosine")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top": 0}, "ask for 1 or more"),
        ({"top": -3}, "ask for 1 or more"),
        ({"top": True}, "ask for 1 or more"),
        ({"top": "3"}, "must be a whole number"),
        ({"top": 2.5}, "must be a whole number"),
        ({"want": "Face"}, "must be face or voice or any"),
        ({"want": "faces"}, "must be face or voice or any"),
        ({"want": 1}, "must be face or voice or any"),
        ({"by": "people"}, "must be person or item"),
        ({"by": None}, "must be person or item"),
    ],
)
def test_options_have_few_values(options, words):
    with pytest.raises(BadRequest, match=words):
        HitOptions(**options)


def test_a_filter_names_a_column_of_the_index(index):
    query = person_query(index, "p01")
    with pytest.raises(BadRequest, match="has person, name, gender, nationality, club"):
        Searcher(index).answer(query, HitOptions(where={"age": "3"}))


def test_media_that_cannot_be_embedded_are_refused(index):
    searcher = Searcher(index, FakeEmbedder())
    with pytest.raises(RefusedFile, match="asked: it is mute"):
        searcher.answer(asked("voice: mute"))
    both = asked("voice: mute", "voice: p03 1")
    assert hits(searcher, both, want="voice")[0].person == "p03"


class ByName:
    """Likes people the more, the later their names; remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Sequence[Media]] = []

    def score(self, query: Media, candidates: Sequence[Media]):
        self.shown.append(candidates)
        return np.array([int(media.path.parent.name[1:]) for media in candidates], np.float32)


def test_a_reranker_has_the_last_word_on_a_short_list(index, query):
    plain = hits(Searcher(index, FakeEmbedder()), query, top=18)
    reranker = ByName()
    searcher = Searcher(index, FakeEmbedder(), reranker, shortlist=6)
    found = hits(searcher, query, top=4)
    short = sorted(plain[:6], key=lambda hit: hit.person, reverse=True)
    assert [hit.person for hit in found] == [hit.person for hit in short[:4]]
    assert [hit.rank for hit in found] == [1, 2, 3, 4]
    assert [hit.rerank_score for hit in found] == [float(hit.person[1:]) for hit in found]
    assert [hit.score for hit in found] == [hit.score for hit in short[:4]]  # kept as they were
    assert [media.path for media in reranker.shown[0]] == [hit.path for hit in plain[:6]]


def test_hits_behind_the_short_list_keep_their_places(index, query):
    plain = hits(Searcher(index, FakeEmbedder()), query, top=18)
    reranker = ByName()
    found = hits(Searcher(index, FakeEmbedder(), reranker, shortlist=6), query, top=9)
    assert len(reranker.shown[0]) == 6
    assert {hit.person for hit in found[:6]} == {hit.person for hit in plain[:6]}
    assert [hit.rank for hit in found] == list(range(1, 10))
    assert found[6:] == plain[6:9]


def test_a_candidate_without_a_score_comes_last_in_the_short_list(index, query):
    class Blind(ByName):
        def score(self, query, candidates):
            return np.where(
                np.arange(len(candidates)) % 2, super().score(query, candidates), np.nan
            )

    plain = hits(Searcher(index, FakeEmbedder()), query, top=18)
    found = hits(Searcher(index, FakeEmbedder(), Blind(), shortlist=6), query, top=7)
    seen = sorted((hit.person for hit in plain[1:6:2]), reverse=True)
    assert [hit.person for hit in found] == [*seen, *(plain[at].person for at in (0, 2, 4, 6))]
    assert [hit.rerank_score for hit in found[3:]] == [None] * 4


def test_a_reranker_that_has_nothing_to_rank_is_not_asked(index, query):
    reranker = ByName()
    assert hits(Searcher(index, FakeEmbedder(), reranker), query, where={"gender": "x"}) == []
    assert reranker.shown == []


def test_a_reranker_is_not_asked_with_a_person(index):
    with pytest.raises(BadRequest, match="ask with a file"):
        Searcher(index, FakeEmbedder(), ByName()).answer(person_query(index, "p01"))


def test_a_reranker_compares_with_the_longest_stretch_or_the_largest_face(index):
    class Remembering(ByName):
        def score(self, query, candidates):
            self.query = query
            return super().score(query, candidates)

    reranker = Remembering()
    searcher = Searcher(index, FakeEmbedder(), reranker)
    query = asked("voice: a", "voice: a longer one", "voice: a")
    searcher.answer(query)
    assert reranker.query is query.media[1]
    small, large = (
        Media(Path("a"), "face", box=Box(0, 0, side, side), data=media("face: a").data)
        for side in (9, 10)
    )
    searcher.answer(Query.of_media([small, large, small]))
    assert reranker.query is large


# Many queries


@pytest.mark.parametrize("want", ["face", "voice", "any", None])
@pytest.mark.parametrize("by", ["person", "item"])
def test_many_queries_are_answered_as_each_alone(index, want, by):
    searcher = Searcher(index, FakeEmbedder())
    queries = [
        asked("voice: a stranger"),
        asked("face: p01 0", "face: p02 1"),
        asked("face: p03 0"),
        person_query(index, "p05"),
        asked("voice: a stranger"),
    ]
    options = HitOptions(top=4, want=want, by=by, where={"gender": "f"})
    alone = [searcher.answer(query, options) for query in queries]
    assert searcher.answer_many(queries, options) == alone
    assert [len(answer) for answer in alone] == [4] * 5
    assert searcher.answer_many([]) == []


def test_many_queries_are_embedded_together(index):
    embedder = FakeEmbedder()
    Searcher(index, embedder).answer_many([asked("voice: a"), asked("voice: b", "voice: b")])
    assert embedder.batches == [3]


def test_a_query_that_is_refused_stops_no_other(index):
    searcher = Searcher(index, FakeEmbedder())
    first, mute, last = (asked(f"voice: {word}") for word in ("a", "mute", "b"))
    answers = searcher.answer_many([first, mute, last, asked("voice: mute", "voice: b")])
    assert isinstance(answers[1], RefusedFile)
    assert "it is mute." in str(answers[1])
    assert [answers[0], answers[2]] == [searcher.answer(first), searcher.answer(last)]
    assert answers[3].hits == answers[2].hits
    assert [type(each) for each in searcher.answer_many([mute, mute])] == [RefusedFile] * 2


def test_vectors_are_answered_as_media_with_those_vectors(index):
    with_model = Searcher(index, FakeEmbedder())
    for options in ({}, {"top": 3, "want": "any", "by": "item"}):
        for texts in (["voice: a"], ["voice: b", "voice: c"]):
            vectors = np.stack([fake_vector(text) for text in texts])
            found = hits(Searcher(index), Query("voice", vectors=vectors), **options)
            assert found == hits(with_model, asked(*texts), **options)


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (np.zeros((2, DIM + 1)), rf"of shape \(1, {DIM + 1}\)"),
        (np.full((1, DIM), np.nan), "not finite"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(index, vectors, words):
    with pytest.raises(BadRequest, match=words):
        Searcher(index).answer(Query("face", vectors=vectors))


# Evidence.


def test_a_calibrated_score_says_what_it_is_worth_among_the_people_who_could_answer(index, query):
    searcher = Searcher(index, FakeEmbedder(), calibrations={"V-F": Calibration(3, -1)})
    for where in (None, {"gender": "f"}):
        found = hits(searcher, query, want="any", by="item", top=90, where=where)
        people = len({hit.person for hit in found})
        for hit in found:
            if hit.modality == "face":
                assert hit.evidence == Evidence.of(3 * hit.score - 1, people)
            else:
                assert hit.evidence is None  # no calibration of V-V


def test_without_a_calibration_nothing_is_said(index, query):
    assert {hit.evidence for hit in Searcher(index, FakeEmbedder()).answer(query)} == {None}


# Hits and answers as they are shown and passed on.


def test_hits_and_answers_show_themselves(index, query):
    answer = Searcher(index, FakeEmbedder()).answer(query, HitOptions(top=2))
    best = answer[0]
    where = f"{best.path} at {best.start_s:.1f} s" if best.start_s else str(best.path)
    shown = f"<Hit 1: {best.person}, face, score {best.score:.3f}, {where}>"
    assert repr(best) == shown
    head, first, second = repr(answer).splitlines()
    assert head == f"<Answer to the voice in {Path('asked').absolute()}: 2 hits>"
    assert first == f"  {shown}"
    assert second.startswith("  <Hit 2: ")
    assert (len(answer), answer[-1], list(answer)) == (2, answer.hits[1], list(answer.hits))
    assert answer.to_dict()["hits"][0] == best.to_dict()


def test_a_data_frame_has_a_row_a_hit_and_attributes_as_columns(index, query):
    pytest.importorskip("pandas")
    searcher = Searcher(index, FakeEmbedder(), calibrations={"V-F": Calibration(3, -1)})
    answer = searcher.answer(query)
    frame = answer.to_pandas()
    assert list(frame["person"]) == [hit.person for hit in answer]
    assert list(frame["score"]) == [hit.score for hit in answer]
    nations = [hit.attributes["nationality"] or "" for hit in answer]
    assert list(frame["nationality"].fillna("")) == nations
    assert list(frame["probability"]) == [hit.evidence.probability for hit in answer]
    empty = searcher.answer(query, HitOptions(where={"gender": "x"})).to_pandas()
    assert (len(empty), list(empty)[:2]) == (0, ["rank", "person"])
