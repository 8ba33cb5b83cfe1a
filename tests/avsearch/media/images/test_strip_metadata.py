"""Metadata reject no image, and its orientation is read from them."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avsearch.media.images.read import read_image
from tests.helpers.pictures import (
    jpeg_with,
    png_chunk,
    png_with,
    psd_with,
    riff_chunk,
    saved,
    smooth,
    tiff_of,
    webp_with,
)

MUCH = b"x" * 3_000_000
EXIF_ON_ITS_SIDE = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHHI", 0x0112, 3, 1, 6, 0, 0)
XMP_ON_ITS_SIDE = b'<x:xmpmeta><a tiff:Orientation="6"/></x:xmpmeta>'
APP1, APP2, APP13, COMMENT = 0xE1, 0xE2, 0xED, 0xFE

LARGE = {
    "compressed text.png": lambda: png_with(png_chunk(b"zTXt", b"k\0\0" + zlib.compress(MUCH))),
    "text behind.png": lambda: png_with(
        after=png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(MUCH))
    ),
    "many texts.png": lambda: png_with(*[png_chunk(b"tEXt", b"k\0" + MUCH[:900_000])] * 80),
    "profile.png": lambda: png_with(png_chunk(b"iCCP", b"p\0\0" + zlib.compress(MUCH))),
    "exif.png": lambda: png_with(png_chunk(b"eXIf", b"II*\0\x08\0\0\0" + b"\xff" * 5_000_000)),
    "xmp.jpg": lambda: jpeg_with(*[(APP1, b"http://ns.adobe.com/xap/1.0/\0" + MUCH[:60_000])] * 99),
    "comments.jpg": lambda: jpeg_with(*[(COMMENT, MUCH[:60_000])] * 50),
    "all.webp": lambda: webp_with(
        0x2C,
        riff_chunk(b"ICCP", MUCH),
        after=riff_chunk(b"EXIF", MUCH) + riff_chunk(b"XMP ", MUCH),
    ),
    "comment.gif": lambda: saved(Image.fromarray(smooth()).quantize(), "GIF", comment=MUCH),
    "xmp.tif": lambda: tiff_of(smooth(), 2, tags=((700, 1, len(MUCH), 8),), extra=MUCH),
    "xmp.avif": lambda: saved(smooth(), "AVIF", quality=95, xmp=MUCH),
}
DAMAGED = {
    "checksum.png": lambda: png_with(png_chunk(b"tEXt", b"k\0v")[:-4] + bytes(4)),
    "profile.png": lambda: png_with(png_chunk(b"iCCP", b"p\0\7junk")),
    "short.png": lambda: png_with(
        *(png_chunk(n, b"") for n in (b"pHYs", b"gAMA", b"iCCP", b"sRGB"))
    ),
    "animation.png": lambda: png_with(
        png_chunk(b"acTL", struct.pack(">II", 2, 0)), png_chunk(b"fcTL", b"\xff" * 26)
    ),
    "frames.png": lambda: png_with(png_chunk(b"acTL", bytes(8))),
    "exif.png": lambda: png_with(png_chunk(b"eXIf", b"garbage")),
    "transparency.png": lambda: png_with(png_chunk(b"tRNS", b"\0")),
    "no end.png": lambda: saved(smooth(), "PNG")[:-12],
    "exif.jpg": lambda: jpeg_with((APP1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xff" * 99)),
    "pictures.jpg": lambda: jpeg_with((APP2, b"MPF\0MM\0*\0\0\0\x08\0\3" + b"\xff" * 90)),
    "profile.jpg": lambda: jpeg_with((APP2, b"ICC_PROFILE\0")),
    "resources.jpg": lambda: jpeg_with((APP13, b"Photoshop 3.0\0008BIM\3\xed\0\0\0\0\0\1a")),
    "jfif.jpg": lambda: jpeg_with((0xE0, b"JFIF\0"), (0xEE, b"Adobe")),
    "missing.webp": lambda: webp_with(0x2C),
    "cut.webp": lambda: webp_with(0x08, after=b"EXIF\xff\xff\xff\x0fshort"),
    "profile.webp": lambda: webp_with(0x20, riff_chunk(b"ICCP", b"bad")),
    "tags.tif": lambda: tiff_of(
        smooth(),
        2,
        tags=((270, 2, 2**31, 10), (700, 7, 5000, 2**32 - 9), (34665, 4, 1, 2**31), (330, 4, 9, 0)),
    ),
    "resources.psd": lambda: psd_with(b"8BIM\3\xed\0\0\xff\xff\xff\xff"),
    "exif.avif": lambda: _with_garbage(saved(smooth(), "AVIF", quality=95, exif=_described())),
}


def _described() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "a description" * 9
    return exif.tobytes()


def _with_garbage(stored: bytes) -> bytes:
    at = stored.index(b"II*\0") if b"II*\0" in stored else stored.index(b"MM\0*")
    return stored[:at] + b"garbage!" + stored[at + 8 :]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "what", [*(f"large {n}" for n in LARGE), *(f"damaged {n}" for n in DAMAGED)]
)
def test_what_is_beside_a_picture_refuses_none(tmp_path: Path, what: str) -> None:
    how, _, name = what.partition(" ")
    (tmp_path / name).write_bytes((LARGE if how == "large" else DAMAGED)[name]())
    notes: list[str] = []
    picture = read_image(tmp_path / name, on_note=notes.append).astype(int)
    near = 0 if name.endswith((".png", ".webp", ".tif", ".psd")) else 24
    assert np.abs(picture - smooth()).max(axis=2).mean() <= near
    assert picture.shape == smooth().shape
    assert notes == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: png_with(png_chunk(b"eXIf", EXIF_ON_ITS_SIDE)),
        lambda: png_with(after=png_chunk(b"eXIf", EXIF_ON_ITS_SIDE)),
        lambda: png_with(png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP_ON_ITS_SIDE)),
        lambda: png_with(
            png_chunk(
                b"iTXt",
                b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP_ON_ITS_SIDE + MUCH),
            )
        ),
        lambda: png_with(
            png_chunk(
                b"zTXt",
                b"Raw profile type exif\0\0"
                + zlib.compress(b"\nexif\n   26\n" + EXIF_ON_ITS_SIDE.hex().encode() + b"\n"),
            )
        ),
        lambda: webp_with(0x08, after=riff_chunk(b"EXIF", EXIF_ON_ITS_SIDE)),
        lambda: webp_with(0x04, after=riff_chunk(b"XMP ", XMP_ON_ITS_SIDE)),
        lambda: tiff_of(smooth(), 2, tags=((0x0112, 3, 1, 6),)),
        lambda: tiff_of(smooth().astype(np.uint16) * 257, 2, tags=((0x0112, 3, 1, 6),)),
    ],
)
def test_a_picture_is_turned_by_what_is_beside_it(tmp_path: Path, make) -> None:
    (tmp_path / "a").write_bytes(make())
    np.testing.assert_array_equal(read_image(tmp_path / "a"), np.rot90(smooth(), -1))


def test_a_jpeg_is_turned_by_its_first_exif_or_else_by_xmp(tmp_path: Path) -> None:
    upright = read_image(_file(tmp_path / "a.jpg", jpeg_with()))
    xmp = (APP1, b"http://ns.adobe.com/xap/1.0/\0" + XMP_ON_ITS_SIDE)
    exif = (APP1, b"Exif\0\0" + EXIF_ON_ITS_SIDE)
    for segments in ([exif], [xmp], [(APP1, b"Exif\0\0garbage"), xmp], [exif, (APP1, b"Exif\0\0")]):
        turned = read_image(_file(tmp_path / "b.jpg", jpeg_with(*segments)))
        np.testing.assert_array_equal(turned, np.rot90(upright, -1))


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_the_limits_of_a_program_around_are_neither_met_nor_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many threads at once: a limit that is lifted for a moment shows in another thread."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr("PIL.PngImagePlugin.MAX_TEXT_CHUNK", 10)
    paths = [
        _file(tmp_path / "a.png", png_with(png_chunk(b"zTXt", b"k\0\0" + zlib.compress(MUCH)))),
        _file(tmp_path / "a.jpg", jpeg_with()),
        _file(tmp_path / "a.tif", tiff_of(smooth(), 2)),
    ]

    def read(path: Path) -> tuple[object, object]:
        read_image(path)
        return Image.MAX_IMAGE_PIXELS, sys.modules["PIL.PngImagePlugin"].MAX_TEXT_CHUNK

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, paths * 40)) == {(100, 10)}


READ = """
import hashlib, json, sys
from pathlib import Path
from PIL import Image
from avsearch.media.images.read import read_image
from indexer.errors import RefusedFile
answers = {}
for name in sys.argv[1:]:
    try:
        answers[Path(name).name] = hashlib.sha256(read_image(Path(name)).tobytes()).hexdigest()
    except RefusedFile as refusal:
        answers[Path(name).name] = refusal.reason
answers["HEIF"] = "HEIF" in Image.OPEN
print(json.dumps(answers))
"""


def test_no_answer_depends_on_what_was_read_before(tmp_path: Path) -> None:
    import pillow_heif

    heic = tmp_path / "a.heic"
    pillow_heif.from_pillow(Image.fromarray(smooth())).save(heic)
    for brand in (b"hevc", b"msf1", b"avif", b"zzzz"):
        content = heic.read_bytes()
        _file(tmp_path / f"{brand.decode()}.heic", content[:8] + brand + content[12:])
    for suffix in ("tga", "pcx", "ico", "jp2", "bmp", "gif", "webp", "avif"):
        Image.fromarray(smooth()).save(tmp_path / f"a.{suffix}")
    _file(tmp_path / "letter.tga", b"This is a letter, not a picture.\n" * 20)
    names = sorted(map(str, tmp_path.iterdir()))
    alone = {}
    for order in (names, names[::-1]):
        answers = _answers(order)
        assert not answers["HEIF"]  # no reader is registered for other users of Pillow
        alone = alone or answers
        assert answers == alone
    first = _answers([str(tmp_path / "hevc.heic")])
    assert first["hevc.heic"] == alone["hevc.heic"] == alone["a.heic"]


def _answers(names: list[str]) -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", READ, *names], capture_output=True, check=True)
    answers: dict[str, object] = json.loads(done.stdout)
    return answers
