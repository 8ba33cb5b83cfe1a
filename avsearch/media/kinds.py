"""What a file claims to be by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from indexer.types import Kind

_SUFFIXES: Final[dict[Kind, str]] = {
    "picture": """
        jpg jpeg jpe jfif jif mpo png apng gif webp bmp dib tif tiff ppm pgm pbm pnm pfm avif
        avifs heic heif hif ico icns jp2 j2k jpx jpf j2c tga targa pcx sgi rgb dds qoi psd
    """,
    "sound": """
        wav wave flac ogg oga spx opus mp1 mp2 mp3 m4a m4b aac adts wma aif aiff aifc au snd caf
        amr awb mka wv ape ac3 eac3 dts tta w64 rf64 sph nist voc gsm 3ga weba ra mpc
    """,
    "video": """
        mp4 m4v mov qt mkv webm avi mpg mpeg mpe m1v m2v mpv wmv asf flv f4v 3gp 3g2 ogv ogm ts
        mts m2ts vob mxf dv divx rm rmvb
    """,
}
_KINDS: Final = {f".{name}": kind for kind, names in _SUFFIXES.items() for name in names.split()}


def kind_of(path: Path | str) -> Kind | None:
    """What a file claims to be by the end of its name; None where that is not of media."""
    suffix = path.suffix if isinstance(path, Path) else Path(path).suffix
    return _KINDS.get(suffix.lower())
