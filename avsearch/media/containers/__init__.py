"""Media containers: their tracks, read by FFmpeg, their clock, and files joined in one."""
