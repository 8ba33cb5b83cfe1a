"""Files to arrays: pictures, sounds and videos in; face crops and stretches of speech out.

Importing this is cheap: the detectors and what runs them are loaded when the first face or voice is
looked for. Every third-party decoder is imported in one file only.
"""

from avsearch.media.audio import SAMPLE_RATE, cut_sound, read_sound, stream_sound
from avsearch.media.extract import Faces, MediaExtractor
from avsearch.media.file_types import kind_of
from avsearch.media.load import load_media
from avsearch.media.pictures.images import read_image

__all__ = [
    "SAMPLE_RATE",
    "Faces",
    "MediaExtractor",
    "cut_sound",
    "kind_of",
    "load_media",
    "read_image",
    "read_sound",
    "stream_sound",
]
