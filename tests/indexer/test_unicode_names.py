"""One name in two Unicode forms is one name, wherever it comes from."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import BadRequest
from indexer.exchange.exchange import export_index, import_file
from indexer.index import Index
from indexer.ingest.scan import scan
from indexer.records import FileRecord, NewItem, Person, Stat
from indexer.unicode_names import DiskNames, cleaned, normalised, same_name, spellings
from tests.helpers.fakes import SPACE, FakeExtractor, fake_vector
from tests.helpers.places import change, fill

NAME = "Zoë Müller"
NFC, NFD = (unicodedata.normalize(form, NAME) for form in ("NFC", "NFD"))
MIXED = NFC[:3] + unicodedata.normalize("NFD", NFC[3:])
FORMS = pytest.mark.parametrize("form", [NFC, NFD, MIXED, NFC.replace(" ", "\u00a0")])
QUERY = fake_vector("a question")[None]


@pytest.fixture
def gallery(tmp_path):
    """A folder with names in NFD as on macOS, and a table in NFC."""
    files = {f"{NFD}/one.wav": "voice: zoe\n", "people.csv": f"person,name,Café\n{NFC},{NFC},Ä\n"}
    return fill(tmp_path / "gallery", files)


@given(st.text())
def test_equal_letters_are_equal_names(text):
    for form in ("NFC", "NFD"):
        assert normalised(unicodedata.normalize(form, text)) == normalised(text)
        assert same_name(unicodedata.normalize(form, text), text)
        assert unicodedata.normalize(form, text) in spellings(text)
    assert cleaned(cleaned(text)) == cleaned(text)
    assert normalised(normalised(text)) == normalised(text)


@FORMS
def test_a_folder_and_a_table_in_two_forms_are_one_person(run, folder, gallery, form):
    (gallery / "people.csv").write_text(f"person,name,gender\n{form},Zoë M.,f\n")
    report = run()
    assert (report.people, report.unmatched) == (1, [])
    with Index.open(folder) as index:
        for asked in (NFC, NFD, MIXED):
            assert index.person(asked) == Person(NFC, "Zoë M.", "f")
            assert len(index.vectors_of(asked)[0]) == 1
        ((item, _),) = index.search(QUERY, 5).hits[0]
    assert item.path == gallery / NFD / "one.wav"  # as it is on disk


def test_two_folders_of_one_name_are_one_person(run, folder, gallery):
    fill(gallery, {f"{NFC}/two.wav": "voice: zoe two\n", f"{MIXED}/three.wav": "voice: three\n"})
    assert run().people == 1
    with Index.open(folder) as index:
        assert len(index.vectors_of(NFD)[0]) == 3


@FORMS
def test_filters_compare_columns_and_values_in_any_form(run, folder, gallery, form):
    run()
    with Index.open(folder) as index:
        for where in ({"person": form}, {"name": form}, {"Cafe\u0301": "A\u0308"}, {"café": "ä"}):
            assert len(index.search(QUERY, 5, where=where).hits[0]) == 1


@FORMS
def test_a_manifest_finds_paths_and_people_in_any_form(gallery, form):
    (gallery / "list.csv").write_text(f"path,person\n{form}/one.wav,{form}\n")
    if form == NFC.replace(" ", "\u00a0"):
        form = NFC
    found = scan(gallery, FakeExtractor().kind, manifest=gallery / "list.csv")
    assert [(source.path, source.person) for source in found.sources] == [
        (gallery / NFD / "one.wav", NFC)
    ]
    assert found.people[NFC].name == NFC


def test_a_path_in_its_exact_form_comes_first(tmp_path):
    for form in (NFC, NFD):
        fill(tmp_path, {f"{form}/x": form})
    for form in (NFC, NFD):
        assert (DiskNames().find(tmp_path / form / "x")).read_text() == form
    assert DiskNames().find(tmp_path / "ä" / NFD) == tmp_path / "ä" / NFD


@FORMS
def test_rows_of_a_parquet_file_in_two_forms_are_one_person(folder, tmp_path, form):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = {"person": [NFC, form], "modality": ["face"] * 2, "name": [NFC, form], "vector": None}
    rows["vector"] = [QUERY[0].tolist()] * 2
    pq.write_table(pa.table(rows), tmp_path / "v.parquet")
    assert import_file(tmp_path / "v.parquet", folder, space=SPACE).people == 1
    with Index.open(folder) as index:
        assert [who.key for who in index.people()] == [NFC]
        assert len(index.vectors_of(form.replace("\u00a0", " "))[0]) == 2


# Indexes that were made before, whose keys are as the folders are


def write_as_before(folder, gallery, *keys):
    """An index with people of these keys, one file each."""
    with (
        Index.create(folder, SPACE) as index,
        index.writing() as catalog,
        catalog.write("index") as write,
    ):
        for at, key in enumerate(keys):
            asked = frozenset({(key, None, 0.0, None)})
            path, settings = gallery / key / f"{at}.wav", FakeExtractor().settings
            record = FileRecord(path, gallery, Stat(1, 1), "ab", settings, asked)
            new = NewItem(key, "voice", 0.0, 1.0, None, fake_vector(f"item {at}"))
            write.put_files([(record, [new])], {key: Person(key, attributes={f"a{at}": "x"})})


@pytest.mark.parametrize("keys", [(NFD,), (MIXED,), (NFC, NFD), (NFD, MIXED), (NFD, NFC, MIXED)])
def test_a_key_of_an_earlier_version_is_found_and_forgotten_in_any_form(folder, tmp_path, keys):
    for asked in (NFC, NFD, MIXED):
        place = folder / asked
        write_as_before(place, tmp_path, *keys, "bob")
        with Index.open(place) as index:
            assert same_name(index.person(asked).key, NFC)
            assert len(index.vectors_of(asked)[0]) == len(keys)
            receipt = index.forget(asked)
            assert (receipt.items, receipt.files, receipt.clean) == (len(keys), len(keys), True)
            assert index.verify() == []
            with pytest.raises(BadRequest, match="There is no"):
                index.person(asked)
            assert index.counts().people == 1


@pytest.mark.parametrize("keys", [(NFD,), (MIXED,), (NFC, NFD), (NFD, MIXED), (NFD, NFC, MIXED)])
def test_the_next_writer_brings_keys_forward(folder, tmp_path, keys):
    write_as_before(folder, tmp_path, *keys, "bob")
    with Index.open(folder) as index:
        index.search(QUERY, 1)
        with index.writing():
            pass
        assert [who.key for who in index.people()] == [NFC, "bob"]
        assert index.person(NFC).attributes == {f"a{at}": "x" for at in range(len(keys))}
        found = index.search(QUERY, 9, where={"person": NFD}).hits[0]
        assert [item.person.key for item, _ in found] == [NFC] * len(keys)
        assert index.verify() == []


def test_a_rerun_over_an_earlier_index_embeds_nothing_again(run, folder, gallery):
    run()
    change(folder, "UPDATE person SET key = ?", NFD)
    extractor = FakeExtractor()
    report = run(extractor=extractor)
    assert (report.unchanged, report.people, extractor.asked) == (1, 1, [])
    with Index.open(folder) as index:
        assert [who.key for who in index.people()] == [NFC]


def test_a_deletion_searches_every_unicode_form(run, folder, gallery):
    run()
    for at, form in enumerate((NFC, NFD)):
        fill(folder, {f"notes{at}.txt": f"about {form}"})
    with Index.open(folder) as index:
        receipt = index.forget(NFC)
    assert not receipt.clean
    assert [said.partition(" still")[0][-10:] for said in receipt.leftovers] == [
        "notes0.txt",
        "notes1.txt",
    ]


def test_a_deletion_searches_the_form_of_the_folder(run, folder, gallery):
    (gallery / NFD).rename(gallery / MIXED)
    run()
    fill(folder, {"notes.txt": f"about {MIXED}"})
    with Index.open(folder) as index:
        receipt = index.forget(NFC)
    assert any("notes.txt still holds the text" in said for said in receipt.leftovers)


def test_an_export_of_an_earlier_index_comes_in_composed(folder, tmp_path):
    pytest.importorskip("pyarrow")
    write_as_before(folder, tmp_path, NFD)
    with Index.open(folder) as index:
        export_index(index, tmp_path / "out.parquet")
    import_file(tmp_path / "out.parquet", tmp_path / "copy")
    with Index.open(tmp_path / "copy") as copy:
        assert [who.key for who in copy.people()] == [NFC]
