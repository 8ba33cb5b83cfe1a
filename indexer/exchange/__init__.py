"""Parquet files in and out."""
