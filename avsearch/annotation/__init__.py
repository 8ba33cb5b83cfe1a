"""Naming the speakers of a recording: a diarization and an index in, names or "unknown" out.

Needs no torch: whoever embeds is handed in. A recording is read once, in blocks.
"""
