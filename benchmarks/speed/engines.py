"""The other engines, each used as its documentation says.

All are exact. An engine is filled with the rows of a world, numbered from 0, and the attributes of
their people, and searched for the nearest rows, of one nationality or of all.
"""

from __future__ import annotations

import abc
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from benchmarks.speed.world import DIM, NATIONALITIES, World
from indexer.types import Ids, Vectors

BATCH = 10_000  # rows handed to an engine at once

Way = Literal["many", "one", "filter"]  # many queries in a call, a query, one under a filter


class Engine(abc.ABC):
    """A search engine under measurement; its methods raise whatever the engine raises."""

    packages: ClassVar[tuple[str, ...]]
    ways: ClassVar[tuple[Way, ...]] = ("many", "one", "filter")  # it is worth asking in

    @abc.abstractmethod
    def fill(self, world: World, folder: Path) -> None:
        """Add all of a world; files go to an empty folder."""

    @abc.abstractmethod
    def search(self, queries: Vectors, k: int, nationality: str | None) -> Ids:
        """Return (q, k) rows nearest to each of the (q, 128) queries; -1 where fewer match."""

    def close(self) -> None:  # noqa: B027  most hold nothing but memory
        """Release everything."""


class Faiss(Engine):
    """FAISS as shipped: IndexFlatIP, no setting changed; under a filter IDSelectorBitmap.

    The bitmaps are made once, while filling: the best case, where filters are known before.
    """

    packages = ("faiss-cpu",)

    def fill(self, world: World, folder: Path) -> None:
        """Add the vectors as they are; they have length 1."""
        import faiss

        self._faiss: Any = faiss
        self._index: Any = faiss.IndexFlatIP(DIM)
        for part in world.blocks():
            self._index.add(np.ascontiguousarray(world.vectors[part]))
        self._codes = world.codes()
        self._params = {name: self._selecting(name) for name in NATIONALITIES}

    def search(self, queries: Vectors, k: int, nationality: str | None) -> Ids:
        """Search by ``IndexFlatIP.search``."""
        params = None if nationality is None else self._params[nationality]
        ids: Ids = self._index.search(queries, k, params=params)[1]
        return ids

    def save(self, path: Path) -> None:
        """Write the index to a file of FAISS."""
        self._faiss.write_index(self._index, str(path))

    def _selecting(self, nationality: str) -> Any:
        wanted = self._codes == NATIONALITIES.index(nationality)
        selector = self._faiss.IDSelectorBitmap(np.packbits(wanted, bitorder="little"))
        return self._faiss.SearchParameters(sel=selector)


class FaissBatch(Faiss):
    """FAISS with IDSelectorBatch, a list of ids that is also made once."""

    ways = ("filter",)

    def _selecting(self, nationality: str) -> Any:
        rows = np.flatnonzero(self._codes == NATIONALITIES.index(nationality))
        return self._faiss.SearchParameters(sel=self._faiss.IDSelectorBatch(rows))


class FaissNewBitmap(Faiss):
    """FAISS with a new bitmap for each search, from a column of codes: any filter will do."""

    ways = ("filter",)

    def search(self, queries: Vectors, k: int, nationality: str | None) -> Ids:
        """Search by ``IndexFlatIP.search``."""
        params = None if nationality is None else self._selecting(nationality)
        ids: Ids = self._index.search(queries, k, params=params)[1]
        return ids


class Usearch(Engine):
    """usearch's exact search over an array; its Python interface has no filter."""

    packages = ("usearch",)
    ways = ("many", "one")

    def fill(self, world: World, folder: Path) -> None:
        """Hold the array; there is nothing to build."""
        self._vectors = np.ascontiguousarray(world.vectors)

    def search(self, queries: Vectors, k: int, nationality: str | None) -> Ids:
        """Search by ``usearch.index.search(exact=True)``."""
        from usearch.index import MetricKind, search

        found: Any = search(self._vectors, queries, k, MetricKind.IP, exact=True)
        return np.asarray(found.keys, np.int64).reshape(len(queries), k)


class Hnswlib(Engine):
    """hnswlib's brute-force index, filtered by a Python function of an id."""

    packages = ("hnswlib",)
    ways = ("one", "filter")

    def fill(self, world: World, folder: Path) -> None:
        """Add the vectors, and note the rows of each nationality."""
        import hnswlib

        self._index = hnswlib.BFIndex(space="ip", dim=DIM)
        self._index.init_index(max_elements=len(world))
        for part in world.blocks():
            rows = np.arange(part.start, part.stop)
            self._index.add_items(np.ascontiguousarray(world.vectors[part]), rows)
        codes = world.codes()
        self._wanted = {name: (codes == code).tobytes() for code, name in enumerate(NATIONALITIES)}

    def search(self, queries: Vectors, k: int, nationality: str | None) -> Ids:
        """Search by ``BFIndex.knn_query``."""
        wanted = None if nationality is None else self._wanted[nationality].__getitem__
        labels = self._index.knn_query(queries, k, filter=wanted)[0]
        return np.asarray(labels, np.int64)


class Milvus(Engine):
    """milvus-lite behind pymilvus: a FLAT index, and an INVERTED one of the nationality."""

    packages = ("milvus-lite", "pymilvus")
    _client: Any = None

    def fill(self, world: World, folder: Path) -> None:
        """Insert in batches, flush, index, load."""
        from pymilvus import DataType, MilvusClient

        # The client asks for a sign of life every 10 s, and milvus-lite hangs up on who does so
        # while it is busy or idle: once in 10 minutes it bears.
        patient = {"grpc.keepalive_time_ms": 600_000}
        self._client = MilvusClient(str(folder / "milvus.db"), grpc_options=patient)
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
        for name in ("person", "gender", "nationality"):
            schema.add_field(name, DataType.VARCHAR, max_length=32)
        self._client.create_collection("items", schema=schema)
        for rows in _batches(world):
            self._client.insert("items", rows)
        self._client.flush("items")
        self._make_indexes()
        self._client.load_collection("items")

    def _make_indexes(self) -> None:
        indexes = self._client.prepare_index_params()
        indexes.add_index("vector", index_type="FLAT", metric_type="IP")
        indexes.add_index("nationality", index_type="INVERTED")
        self._client.create_index("items", indexes)

    def search(self, queries: Vectors, k: int, nationality: str | None) -> Ids:
        """Search by ``MilvusClient.search`` with a filter expression."""
        wanted = "" if nationality is None else f'nationality == "{nationality}"'
        found = self._client.search("items", list(queries), filter=wanted, limit=k)
        return _padded([[hit["id"] for hit in hits] for hits in found], k)

    def close(self) -> None:
        """Stop the server that the client started, if it has."""
        if self._client is not None:
            self._client.close()


class Qdrant(Engine):
    """qdrant-client's local mode, in memory, in collections of ``SHARD`` points.

    It copies whole arrays for every added point, so one collection of a million would take an hour;
    the best of all collections are the same answers.
    """

    packages = ("qdrant-client",)
    _client: Any = None
    ways = ("one", "filter")
    SHARD = 100_000

    def fill(self, world: World, folder: Path) -> None:
        """Upload the vectors as arrays, each with its payload."""
        from qdrant_client import QdrantClient, models

        warnings.filterwarnings("ignore", message="Local mode is not recommended")
        self._models: Any = models
        self._client = QdrantClient(":memory:")
        self._names: list[str] = []
        rows = _rows(world)
        for part in world.blocks(BATCH):
            name = f"items-{part.start // self.SHARD}"
            if name not in self._names:
                self._create(name)
            payload = [{column: row[column] for column in _NAMES} for row in _taken(rows, part)]
            vectors, ids = np.asarray(world.vectors[part]), range(part.start, part.stop)
            self._client.upload_collection(name, vectors, payload, ids=ids)

    def search(self, queries: Vectors, k: int, nationality: str | None) -> Ids:
        """Search by ``query_points``, one query and one collection at a time."""
        wanted = None if nationality is None else self._filter(nationality)
        return _padded([self._nearest(query, k, wanted) for query in queries], k)

    def close(self) -> None:
        """Release the collections, if there are any."""
        if self._client is not None:
            self._client.close()

    def _create(self, name: str) -> None:
        vectors = self._models.VectorParams(size=DIM, distance=self._models.Distance.DOT)
        self._client.create_collection(name, vectors_config=vectors)
        self._names.append(name)

    def _nearest(self, query: Vectors, k: int, wanted: Any) -> list[int]:
        found = [
            point
            for name in self._names
            for point in self._client.query_points(
                name, query=query, query_filter=wanted, limit=k, with_payload=False
            ).points
        ]
        found.sort(key=lambda point: -point.score)
        return [point.id for point in found[:k]]

    def _filter(self, nationality: str) -> Any:
        match = self._models.MatchValue(value=nationality)
        return self._models.Filter(
            must=[self._models.FieldCondition(key="nationality", match=match)]
        )


class Lance(Engine):
    """lancedb: a flat scan after the filter, with a bitmap index of the nationality."""

    packages = ("lancedb",)

    def fill(self, world: World, folder: Path) -> None:
        """Create the table from Arrow batches, index the column, compact."""
        import lancedb
        from lancedb.index import Bitmap

        schema = _arrow_schema()
        table = lancedb.connect(folder).create_table(
            "items", data=_arrow(world, schema), schema=schema
        )
        table.optimize()
        table.create_index("nationality", config=Bitmap())
        self._table: Any = table

    def search(self, queries: Vectors, k: int, nationality: str | None) -> Ids:
        """Search by ``Table.search``, many queries in one call."""
        asked: Any = queries[0] if len(queries) == 1 else list(queries)
        query = self._table.search(asked, vector_column_name="vector").distance_type("dot")
        if nationality is not None:
            query = query.where(f"nationality = '{nationality}'", prefilter=True)
        found = query.limit(k).select(["id", "_distance"]).to_arrow()
        ids = found["id"].to_numpy()
        if len(queries) == 1:
            return _padded([ids.tolist()], k)
        of = found["query_index"].to_numpy()
        return _padded([ids[of == q].tolist() for q in range(len(queries))], k)


_NAMES = ("person", "gender", "nationality")


def _rows(world: World) -> Iterator[dict[str, Any]]:
    """Each row's number and the attributes of its person."""
    for row, person in enumerate(world.people.tolist()):
        yield {
            "id": row,
            "person": f"p{person:07}",
            "gender": world.gender(person),
            "nationality": world.nationality(person),
        }


def _taken(rows: Iterator[dict[str, Any]], part: slice) -> list[dict[str, Any]]:
    return list(itertools.islice(rows, part.stop - part.start))


def _batches(world: World) -> Iterator[list[dict[str, Any]]]:
    rows = _rows(world)
    for part in world.blocks(BATCH):
        vectors = world.vectors[part]
        yield [
            {**row, "vector": vector}
            for row, vector in zip(_taken(rows, part), vectors, strict=True)
        ]


def _arrow_schema() -> Any:
    import pyarrow as pa

    fields = [pa.field("id", pa.int64()), pa.field("vector", pa.list_(pa.float32(), DIM))]
    return pa.schema([*fields, *(pa.field(name, pa.string()) for name in _NAMES)])


def _arrow(world: World, schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    rows = _rows(world)
    for part in world.blocks(BATCH):
        here = _taken(rows, part)
        flat = pa.array(np.ascontiguousarray(world.vectors[part]).reshape(-1))
        columns = {name: pa.array([row[name] for row in here]) for name in ("id", *_NAMES)}
        columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, DIM)
        yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _padded(found: list[list[int]], k: int) -> Ids:
    out = np.full((len(found), k), -1, np.int64)
    for row, ids in zip(out, found, strict=True):
        row[: len(ids)] = ids
    return out
