"""Readers and writers of diarization formats."""
