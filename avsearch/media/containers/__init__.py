"""Files that hold several tracks, read by FFmpeg."""
