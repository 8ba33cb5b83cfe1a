"""HEIF and AVIF images are read by their content, whatever brand comes first."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from avsearch.media.images.read import read_image
from indexer.errors import RefusedFile
from tests.helpers.pictures import saved, smooth

BRANDS = "heic heix hevc hevx heim heis hevm hevs mif1 mif2 msf1 miaf avif avis unif 1pic XXXX"


@pytest.fixture(scope="module", params=["heic", "avif"])
def still(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if request.param == "avif":
        return saved(smooth(), "AVIF", quality=95)
    path = tmp_path_factory.mktemp("heif") / "a.heic"
    pillow_heif.from_pillow(Image.fromarray(smooth())).save(path, quality=95)
    return path.read_bytes()


@pytest.mark.parametrize("compatible", [False, True])
@pytest.mark.parametrize("brand", BRANDS.split())
def test_every_brand(tmp_path: Path, still: bytes, brand: str, compatible: bool) -> None:
    named = still[:8] + brand.encode() + still[12:]
    if compatible:
        named = named[:16] + brand.encode() + named[20:]
    (tmp_path / "a.heic").write_bytes(named)
    assert np.abs(read_image(tmp_path / "a.heic") - smooth().astype(int)).mean() < 8


def sequence(path: Path, brand: bytes) -> Path:
    """A sequence alone, without a still picture, as FFmpeg writes it but for its brands."""
    frames = [np.roll(smooth(64, 96), n, axis=1) for n in range(4)]
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("libx265", rate=5, options={"x265-params": "log-level=none"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for rgb in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        out.mux(stream.encode(None))
    content = path.read_bytes().replace(b"vide", b"pict", 1)
    path.write_bytes(content[:8] + brand + content[12:16] + b"msf1" + content[20:])
    return path


@pytest.mark.parametrize("brand", [b"hevc", b"msf1"])
def test_of_a_sequence_alone_the_first_picture(tmp_path: Path, brand: bytes) -> None:
    if "libx265" not in av.codecs_available:
        pytest.skip("this FFmpeg cannot write HEVC")
    picture = read_image(sequence(tmp_path / "a.heics", brand))
    assert np.abs(picture - smooth(64, 96).astype(int)).mean() < 16


def test_a_video_under_the_name_of_a_picture_is_none(tmp_path: Path) -> None:
    if "libx265" not in av.codecs_available:
        pytest.skip("this FFmpeg cannot write HEVC")
    path = sequence(tmp_path / "a.heic", b"isom")
    path.write_bytes(path.read_bytes().replace(b"msf1", b"isom"))
    with pytest.raises(RefusedFile, match="not known here"):
        read_image(path)


def test_exif_and_xmp_do_no_harm_and_do_not_turn(tmp_path: Path) -> None:
    """These formats say by themselves how they are turned; EXIF is to be passed over."""
    exif = Image.Exif()
    exif[0x010E] = "a description" * 9
    options = {"exif": exif.tobytes(), "xmp": b"<x>" + b"y" * 3_000_000 + b"</x>"}
    path = tmp_path / "a.heic"
    pillow_heif.from_pillow(Image.fromarray(smooth())).save(path, quality=95, **options)
    content = path.read_bytes()
    at = content.index(b"II*\0") if b"II*\0" in content else content.index(b"MM\0*")
    path.write_bytes(content[:at] + b"garbage!" + content[at + 8 :])
    assert np.abs(read_image(path) - smooth().astype(int)).mean() < 8


def test_what_is_needed_is_said_only_of_what_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pillow_heif.from_pillow(Image.fromarray(smooth())).save(tmp_path / "a.heic")
    content = (tmp_path / "a.heic").read_bytes()
    (tmp_path / "b.heic").write_bytes(content[:8] + b"hevc" + content[12:])
    (tmp_path / "c.heic").write_bytes(saved(smooth(), "AVIF"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name in ("a.heic", "b.heic"):
        with pytest.raises(RefusedFile, match=r"pip install 'avsearch\[heif\]'") as caught:
            read_image(tmp_path / name)
        assert not caught.value.permanent
    assert read_image(tmp_path / "c.heic").shape == smooth().shape
