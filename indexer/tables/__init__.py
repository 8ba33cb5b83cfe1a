"""Tables that users write: CSV and Parquet."""
