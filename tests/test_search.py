"""Searching from Python: the three lines, filters against a plain scan, and re-ranking."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import DIM, SPACE, FakeEmbedder, FakeExtractor, fake_vector

import avsearch
from avsearch.evidence import Calibration, Evidence
from avsearch.search import Asked, choose_question
from indexer.errors import BadRequest, ForeignSpace, RefusedFile
from indexer.index import Index
from indexer.types import Box, Media, Space

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
        report = avsearch.ingest(index, folder / "gallery", FakeExtractor(), FakeEmbedder())
    assert (report.people, report.faces, report.voices) == (18, 36, 54)
    return folder


@pytest.fixture
def index(place: Path) -> Iterator[Index]:
    with avsearch.open_index(place) as opened:
        yield opened


@pytest.fixture
def question() -> Media:
    return asked("voice: a stranger")


def asked(text: str, modality: str = "voice") -> Media:
    data = np.frombuffer(text.encode(), np.uint8)
    return Media(Path("asked"), modality, 1.0, 2.0, None, data)


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
def test_answers_are_those_of_a_plain_scan(index, question, where, by, want):
    searcher = avsearch.Searcher(index, FakeEmbedder())
    vector = fake_vector("voice: a stranger")
    for top in (1, 5, 1000):
        hits = searcher.search(question, top=top, want=want, where=where, by=by)
        expected = plain_scan(index, vector, want, where, by, top)
        assert [(h.person, h.path.name, h.start_s) for h in hits] == [row[:3] for row in expected]
        assert [h.score for h in hits] == pytest.approx([row[3] for row in expected], abs=1e-5)
        assert [h.rank for h in hits] == list(range(1, len(hits) + 1))


def test_three_lines(index, question):
    hits = avsearch.Searcher(index, FakeEmbedder()).search(question, top=5)
    assert len(hits) == 5
    assert {hit.modality for hit in hits} == {"face"}
    assert all(isinstance(hit, avsearch.Hit) and hit.rerank_score is None for hit in hits)
    assert isinstance(hits[0].score, float)
    assert hits[0].attributes.keys() >= {"gender", "nationality"}


def test_asked_says_what_was_asked(index):
    searcher = avsearch.Searcher(index, FakeEmbedder())
    stretches = [
        Media(Path("a"), "voice", 1.0, 2.0, None, asked("voice: x").data),
        Media(Path("a"), "voice", 4.0, 5.5, None, asked("voice: y").data),
    ]
    answer = searcher.answer(stretches)
    assert answer.asked == Asked(Path("a").absolute(), None, "voice", 1.0, 5.5)
    assert answer.want == "face"
    mean = (fake_vector("voice: x") + fake_vector("voice: y")) / 2
    expected = plain_scan(index, mean, "face", {}, "person", 10)
    assert [hit.person for hit in answer.hits] == [row[0] for row in expected]


def test_a_person_is_asked_with_the_mean_of_theirs(index):
    mean = np.mean([fake_vector(f"voice: p04 {at}") for at in range(3)], 0)
    expected = plain_scan(index, mean, "face", {"gender": "f"}, "person", 10)
    hits = avsearch.Searcher(index).search("p04", where={"gender": "f"})
    assert [hit.person for hit in hits] == [row[0] for row in expected]


def test_without_an_embedder_only_people_are_asked_with(index, question):
    with pytest.raises(BadRequest, match="load_model"):
        avsearch.Searcher(index).search(question)


def test_another_space_is_refused(index):
    with pytest.raises(ForeignSpace, match="use the index's own model"):
        avsearch.Searcher(index, FakeEmbedder(Space("fake", "other", DIM, "cosine")))


@pytest.mark.parametrize(
    ("what", "options", "words"),
    [
        ("p99", {}, "There is no 'p99'"),
        ("", {}, "There is no ''"),
        ([], {}, "Nothing was asked with"),
        ("p01", {"top": 0}, "ask for 1 or more"),
        ("p01", {"top": -3}, "ask for 1 or more"),
        ("p01", {"where": {"age": "3"}}, "has person, name, gender, nationality, club"),
    ],
)
def test_what_cannot_be_asked(index, what, options, words):
    with pytest.raises(BadRequest, match=words):
        avsearch.Searcher(index, FakeEmbedder()).search(what, **options)


def test_media_that_cannot_be_embedded_are_refused(index):
    searcher = avsearch.Searcher(index, FakeEmbedder())
    with pytest.raises(RefusedFile, match="asked: it is mute"):
        searcher.search(asked("voice: mute"))
    both = [asked("voice: mute"), asked("voice: p03 1")]
    assert searcher.search(both, want="voice")[0].person == "p03"


class ByName:
    """Likes people the more, the later their names; remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Sequence[Media]] = []

    def score(self, query: Media, candidates: Sequence[Media]):
        self.shown.append(candidates)
        return np.array([int(media.path.parent.name[1:]) for media in candidates], np.float32)


def test_a_reranker_has_the_last_word_on_a_short_list(index, question):
    plain = avsearch.Searcher(index, FakeEmbedder()).search(question, top=18)
    reranker = ByName()
    searcher = avsearch.Searcher(index, FakeEmbedder(), reranker, shortlist=6)
    hits = searcher.search(question, top=4)
    short = sorted(plain[:6], key=lambda hit: hit.person, reverse=True)
    assert [hit.person for hit in hits] == [hit.person for hit in short[:4]]
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert [hit.rerank_score for hit in hits] == [float(hit.person[1:]) for hit in hits]
    assert [hit.score for hit in hits] == [hit.score for hit in short[:4]]  # kept as they were
    assert [media.path for media in reranker.shown[0]] == [hit.path for hit in plain[:6]]


def test_hits_behind_the_short_list_keep_their_places(index, question):
    plain = avsearch.Searcher(index, FakeEmbedder()).search(question, top=18)
    reranker = ByName()
    hits = avsearch.Searcher(index, FakeEmbedder(), reranker, shortlist=6).search(question, top=9)
    assert len(reranker.shown[0]) == 6
    assert {hit.person for hit in hits[:6]} == {hit.person for hit in plain[:6]}
    assert [hit.rank for hit in hits] == list(range(1, 10))
    assert hits[6:] == plain[6:9]


def test_a_candidate_without_a_score_comes_last_in_the_short_list(index, question):
    class Blind(ByName):
        def score(self, query, candidates):
            return np.where(
                np.arange(len(candidates)) % 2, super().score(query, candidates), np.nan
            )

    plain = avsearch.Searcher(index, FakeEmbedder()).search(question, top=18)
    hits = avsearch.Searcher(index, FakeEmbedder(), Blind(), shortlist=6).search(question, top=7)
    seen = sorted((hit.person for hit in plain[1:6:2]), reverse=True)
    assert [hit.person for hit in hits] == [*seen, *(plain[at].person for at in (0, 2, 4, 6))]
    assert [hit.rerank_score for hit in hits[3:]] == [None] * 4


def test_a_reranker_that_has_nothing_to_rank_is_not_asked(index, question):
    reranker = ByName()
    searcher = avsearch.Searcher(index, FakeEmbedder(), reranker)
    assert searcher.search(question, where={"gender": "x"}) == []
    assert reranker.shown == []


def test_a_reranker_is_not_asked_with_a_person(index):
    with pytest.raises(BadRequest, match="ask with media"):
        avsearch.Searcher(index, FakeEmbedder(), ByName()).search("p01")


def test_a_reranker_compares_with_the_longest_stretch_or_the_largest_face(index):
    class Remembering(ByName):
        def score(self, query, candidates):
            self.query = query
            return super().score(query, candidates)

    reranker = Remembering()
    searcher = avsearch.Searcher(index, FakeEmbedder(), reranker)
    short, long = asked("voice: a"), asked("voice: a longer one")
    searcher.search([short, long, short])
    assert reranker.query is long
    small, large = (
        Media(Path("a"), "face", box=Box(0, 0, side, side), data=asked("face: a").data)
        for side in (9, 10)
    )
    searcher.search([small, large, small])
    assert reranker.query is large


def test_speech_is_asked_with_before_faces():
    face = Media(Path("a"), "face", 0.0, None, Box(0, 0, 10, 10))
    large = Media(Path("a"), "face", 1.0, None, Box(5, 5, 35, 25))
    whole = Media(Path("a"), "face", 2.0)
    voices = [Media(Path("a"), "voice", at, at + 1.0) for at in range(2)]
    assert choose_question([face, *voices, large]) == voices
    assert choose_question([face, large]) == [large]
    assert choose_question([large, whole, face]) == [whole]


# Many questions


@pytest.mark.parametrize("want", ["face", "voice", "any", None])
@pytest.mark.parametrize("by", ["person", "item"])
def test_many_questions_are_answered_as_each_alone(index, want, by):
    searcher = avsearch.Searcher(index, FakeEmbedder())
    questions = [
        asked("voice: a stranger"),
        [asked("face: p01 0", "face"), asked("face: p02 1", "face")],
        asked("face: p03 0", "face"),
        asked("voice: a stranger"),
    ]
    options = {"top": 4, "want": want, "by": by, "where": {"gender": "f"}}
    alone = [searcher.search(question, **options) for question in questions]
    assert searcher.search_many(questions, **options) == alone
    assert [len(hits) for hits in alone] == [4] * 4
    assert searcher.search_many([]) == []


def test_many_questions_are_embedded_together(index):
    embedder = FakeEmbedder()
    avsearch.Searcher(index, embedder).search_many([asked("voice: a"), [asked("voice: b")] * 2])
    assert embedder.batches == [3]


def test_a_question_that_is_refused_stops_no_other(index):
    searcher = avsearch.Searcher(index, FakeEmbedder())
    first, mute, last = (asked(f"voice: {word}") for word in ("a", "mute", "b"))
    answers = searcher.answer_many([first, mute, last, [mute, last]])
    assert isinstance(answers[1], RefusedFile)
    assert "it is mute." in str(answers[1])
    assert [answers[0], answers[2]] == [searcher.answer(first), searcher.answer(last)]
    assert answers[3].hits == answers[2].hits
    with pytest.raises(RefusedFile, match="it is mute"):
        searcher.search_many([first, mute])
    with pytest.raises(BadRequest, match="Nothing was asked with"):
        searcher.search_many([first, []])
    assert [type(each) for each in searcher.answer_many([mute, mute])] == [RefusedFile] * 2


def test_vectors_are_answered_as_media_with_those_vectors(index):
    texts = [f"voice: {word}" for word in "abc"]
    searcher = avsearch.Searcher(index)
    vectors = np.stack([fake_vector(text) for text in texts])
    with_model = avsearch.Searcher(index, FakeEmbedder())
    media = [asked(text) for text in texts]
    for options in ({"want": "face"}, {"top": 3, "want": "any", "by": "item"}):
        expected = with_model.search_many(media, **options)
        assert searcher.search_vectors(vectors, **options) == expected
    (one,) = searcher.search_vectors(vectors[1], want="face")
    assert one == with_model.search(media[1], want="face")
    assert searcher.search_vectors(vectors[:0]) == []
    assert {
        hit.modality for hits in searcher.search_vectors(vectors, by="item") for hit in hits
    } == {*("face", "voice")}


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (np.zeros((2, DIM + 1)), rf"of shape \(2, {DIM + 1}\)"),
        (np.zeros((1, 2, DIM)), rf"of shape \(1, 2, {DIM}\)"),
        (np.full((1, DIM), np.nan), "not finite"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(index, vectors, words):
    with pytest.raises(BadRequest, match=words):
        avsearch.Searcher(index).search_vectors(vectors)


# Evidence.


def test_a_calibrated_score_says_what_it_is_worth_among_the_people_who_could_answer(
    index, question
):
    searcher = avsearch.Searcher(index, FakeEmbedder(), calibrations={"V-F": Calibration(3, -1)})
    for where in (None, {"gender": "f"}):
        hits = searcher.search(question, want="any", by="item", top=90, where=where)
        people = len({hit.person for hit in hits})
        for hit in hits:
            if hit.modality == "face":
                assert hit.evidence == Evidence.of(3 * hit.score - 1, people)
            else:
                assert hit.evidence is None  # no calibration of V-V


def test_without_a_calibration_nothing_is_said(index, question):
    hits = avsearch.Searcher(index, FakeEmbedder()).search(question)
    assert {hit.evidence for hit in hits} == {None}
