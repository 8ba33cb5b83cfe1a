"""Files to arrays: images, audio and videos in; face crops and segments of speech out.

Importing this is cheap: detectors and their runtimes are loaded with the first face or voice. Every
third-party decoder is imported in one file only.
"""

from avsearch.media.audio import cut_audio, read_audio, stream_audio
from avsearch.media.extract import Faces, MediaExtractor
from avsearch.media.file_types import kind_of
from avsearch.media.images.read import read_image
from avsearch.media.load import load_media
from avsearch.media.samples import SAMPLE_RATE

__all__ = [
    "SAMPLE_RATE",
    "Faces",
    "MediaExtractor",
    "cut_audio",
    "kind_of",
    "load_media",
    "read_audio",
    "read_image",
    "stream_audio",
]
