"""The networks that find faces and speech."""
