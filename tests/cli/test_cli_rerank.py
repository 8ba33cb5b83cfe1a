"""avsearch query --rerank: a checkpoint of pairs re-orders what an index finds, or is one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import avsearch
from avsearch.models.checkpoint import save_checkpoint
from avsearch.models.papers.acienet import ACIENet
from tests.helpers.tiny_pairs import MEDIA, lived_pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of ACIENet that has learnt nothing."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.safetensors"
    network = lived_pairs(ACIENet, face_features=(), voice_features=(), **MEDIA)
    save_checkpoint(path, "acienet", network, {}, half=False)
    return path


def test_hits_are_in_the_order_of_their_rerank_scores(ask, voice, pairs):
    plain, reranked = (ask(voice, *options)["hits"] for options in ([], ["--rerank", pairs]))
    assert [hit["rank"] for hit in reranked] == [1, 2, 3]
    scores = [hit["rerank_score"] for hit in reranked]
    assert scores == sorted(scores, reverse=True)
    assert {hit["person"]: hit["score"] for hit in reranked} == {
        hit["person"]: hit["score"] for hit in plain
    }
    reranker = avsearch.load_reranker(pairs, "cpu")
    question = min(avsearch.MediaExtractor().extract(voice), key=lambda item: item.start_s)
    candidates = [
        avsearch.Media(Path(hit["path"]), "face", hit["start_s"], None, avsearch.Box(*hit["box"]))
        for hit in reranked
    ]
    assert reranker.score(question, candidates).tolist() == pytest.approx(scores, abs=1e-4)


def test_top_cuts_after_the_order_is_made(ask, voice, pairs):
    first = ask(voice, "--rerank", pairs)["hits"][0]
    assert ask(voice, "--rerank", pairs, "--top", 1)["hits"] == [first]


def test_a_person_reads_both_scores(run, indexed, voice, pairs):
    lines = run("query", voice, "--index", indexed, "--rerank", pairs).stdout.splitlines()
    assert lines[0].split()[:4] == ["rank", "score", "re-rank", "person"]
    hits = json.loads(run("query", voice, "--index", indexed, "--rerank", pairs, "--json").stdout)[
        "hits"
    ]
    for line, hit in zip(lines[1:], hits, strict=True):
        cells = line.split()
        assert cells[1:3] == [f"{hit['score']:.3f}", f"{hit['rerank_score']:.3f}"]


def test_one_checkpoint_indexes_and_reranks(run, gallery, voice, pairs, tmp_path):
    made = run("index", gallery, "--index", tmp_path / "i", "--model", pairs, "--json")
    assert made.exit_code == 0, made.stderr
    done = run("query", voice, "--index", tmp_path / "i", "--rerank", pairs, "--json")
    answer = json.loads(done.stdout)
    assert answer["model"] == "acienet"
    assert sorted(hit["person"] for hit in answer["hits"]) == ["Actor_01", "Actor_02", "bbaf2n"]
    assert all(hit["rerank_score"] is not None for hit in answer["hits"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--person", "Actor_01", "--rerank", "PAIRS"], "ask with a file, not with a person"),
        (["VOICE", "--want", "voice", "--rerank", "PAIRS"], "want the other modality"),
        (["VOICE", "--want", "any", "--rerank", "PAIRS"], "want the other modality"),
        (["VOICE", "--rerank", "MODEL"], "'adsm', which embeds and does not re-rank"),
        (["VOICE", "--rerank", "VOICE"], "is not a safetensors file"),
        (["VOICE", "--rerank", "absent.safetensors"], "absent.safetensors; check the name."),
    ],
)
def test_a_wrong_request_is_said(run, indexed, voice, model, pairs, arguments, words):
    named = {"VOICE": str(voice), "PAIRS": str(pairs), "MODEL": str(model)}
    result = run("query", *(named.get(each, each) for each in arguments), "--index", indexed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
