"""From media to an index on disk: ingestion, the catalog, and exact search.

This package handles files, numbers and tables. It never imports torch, ``avsearch`` or ``trainer``:
extractors and embedders are passed to it through the protocols of :mod:`indexer.types`.
"""
