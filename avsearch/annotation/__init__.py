"""Naming the speakers of a recording: a diarization and an index in, names or "unknown" out.

Whoever embeds is handed in, so that networks are run only where speech or faces have to be found. A
recording is read once, in blocks.
"""
