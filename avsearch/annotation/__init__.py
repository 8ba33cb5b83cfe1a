"""Speaker identification: a diarization and an index in, names or "unknown" out.

The caller gives the embedder, so networks run only to find speech and faces. A recording is read
once, in blocks.
"""
