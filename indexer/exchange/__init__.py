"""Export to and import from Parquet files."""
