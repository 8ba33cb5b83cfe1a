"""From media to an index on disk: the catalog, its vectors, and the way in.

This package knows files, numbers and tables. It never imports torch, ``avsearch`` or
``trainer``: whatever looks into media or computes vectors is handed to it through the
protocols of :mod:`indexer.types`.
"""
