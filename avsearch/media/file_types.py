"""The kind of a file by its suffix, and a suffix by its first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from indexer.types import Kind

_SUFFIXES: Final[dict[Kind, str]] = {
    "image": """
        jpg jpeg jpe jfif jif mpo png apng gif webp bmp dib tif tiff ppm pgm pbm pnm pfm avif
        avifs heic heif hif ico icns jp2 j2k jpx jpf j2c tga targa pcx sgi rgb dds qoi psd
    """,
    "audio": """
        wav wave flac ogg oga spx opus mp1 mp2 mp3 m4a m4b aac adts wma aif aiff aifc au snd caf
        amr awb mka wv ape ac3 eac3 dts tta w64 rf64 sph nist voc gsm 3ga weba ra mpc
    """,
    "video": """
        mp4 m4v mov qt mkv webm avi mpg mpeg mpe m1v m2v mpv wmv asf flv f4v 3gp 3g2 ogv ogm ts
        mts m2ts vob mxf dv divx rm rmvb
    """,
}
_KINDS: Final = {f".{name}": kind for kind, names in _SUFFIXES.items() for name in names.split()}

_BEGINNINGS: Final = (  # first bytes, and a suffix
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\0\0\0\x0cjP  ", ".jp2"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"\xff\xfb", ".mp3"),
    (b"\xff\xfa", ".mp3"),
    (b"\xff\xf3", ".mp3"),
    (b"\xff\xf2", ".mp3"),
    (b"\xff\xf1", ".aac"),
    (b"\xff\xf9", ".aac"),
    (b"#!AMR", ".amr"),
    (b".snd", ".au"),
    (b"caff", ".caf"),
    (b"FORM", ".aiff"),
    (b"RF64", ".wav"),
    (b"wvPK", ".wv"),
    (b"\x1aE\xdf\xa3", ".mkv"),
    (b"FLV", ".flv"),
    (b"0&\xb2u\x8ef\xcf\x11", ".wmv"),
    (b"\0\0\x01\xba", ".mpg"),
    (b"\0\0\x01\xb3", ".mpg"),
)
_TS_PACKET: Final = 188  # bytes of a packet of a transport stream, which starts with a G
_ATOMS: Final = (b"moov", b"mdat", b"wide", b"free", b"skip")  # first atoms of old QuickTime files
_RIFF: Final = {b"WAVE": ".wav", b"AVI ": ".avi", b"WEBP": ".webp"}
_IMAGE_BRANDS: Final = (
    *(b"heic", b"heix", b"hevc", b"heim", b"heis"),
    *(b"mif1", b"msf1", b"avif", b"avis"),
)
_AUDIO_BRANDS: Final = (b"M4A ", b"M4B ")


def suffix_of_content(head: bytes) -> str | None:
    """Return a suffix for a file with these first 200 bytes; None for another file than media.

    The suffix only has to tell images, audio and videos apart: decoders go by the content.
    """
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return ".heic" if brand in _IMAGE_BRANDS else ".m4a" if brand in _AUDIO_BRANDS else ".mp4"
    if head[4:8] in _ATOMS:
        return ".mov"
    if head[:1] == b"G" == head[_TS_PACKET : _TS_PACKET + 1]:
        return ".ts"
    return next((suffix for start, suffix in _BEGINNINGS if head.startswith(start)), None)


def kind_of(path: Path | str) -> Kind | None:
    """Return the kind of a file by its suffix; None for another file than media."""
    suffix = path.suffix if isinstance(path, Path) else Path(path).suffix
    return _KINDS.get(suffix.lower())
