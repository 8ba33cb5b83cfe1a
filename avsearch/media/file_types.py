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


# How files begin, and a suffix for each.
_BEGINNINGS: Final = (
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
_TS_PACKET: Final = 188  # bytes of one in a transport stream, each of which begins with a G
_ATOMS: Final = (b"moov", b"mdat", b"wide", b"free", b"skip")  # that old QuickTime begins with
_RIFF: Final = {b"WAVE": ".wav", b"AVI ": ".avi", b"WEBP": ".webp"}
_PICTURE_BRANDS: Final = (
    b"heic",
    b"heix",
    b"hevc",
    b"heim",
    b"heis",
    b"mif1",
    b"msf1",
    b"avif",
    b"avis",
)
_SOUND_BRANDS: Final = (b"M4A ", b"M4B ")


def suffix_of_content(head: bytes) -> str | None:
    """Return a suffix for a file that begins with these 200 bytes; None for what is no media.

    It tells pictures, sounds and videos apart; decoders look at the content themselves.
    """
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return ".heic" if brand in _PICTURE_BRANDS else ".m4a" if brand in _SOUND_BRANDS else ".mp4"
    if head[4:8] in _ATOMS:
        return ".mov"
    if head[:1] == b"G" == head[_TS_PACKET : _TS_PACKET + 1]:
        return ".ts"
    return next((suffix for start, suffix in _BEGINNINGS if head.startswith(start)), None)


def kind_of(path: Path | str) -> Kind | None:
    """What a file claims to be by the end of its name; None where that is not of media."""
    suffix = path.suffix if isinstance(path, Path) else Path(path).suffix
    return _KINDS.get(suffix.lower())
