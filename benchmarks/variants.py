"""The variants that the papers' ablations compare, and in which order they found them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """A model with some of its parts left out: settings by name, as the command line has them."""

    model: str
    words: Mapping[str, str]
    rate: float  # of the model's own rates


@dataclasses.dataclass(frozen=True, slots=True)
class Ordering:
    """What a table of a paper says: one variant is better than another."""

    better: str
    worse: str
    table: str


def _switched(model: str, rate: float, parts: Mapping[str, bool], **same: str) -> Variant:
    words = {name: str(on).lower() for name, on in parts.items()}
    return Variant(model, {**words, **same}, rate)


def _adsm(*, centred: bool, adversary: bool) -> Variant:
    words = {} if adversary else {"eta": "0"}
    return _switched("adsm", 3.0, {"centred": centred}, **words)


def _dsanet(*, enhance: bool, siamese: bool, masked: bool) -> Variant:
    parts = {"enhance": enhance, "siamese": siamese, "masked": masked}
    return _switched("dsanet", 0.2, parts, task="matching")


def _p2vanet(*, face_vae: bool, voice_vae: bool, private: bool, public: bool) -> Variant:
    parts = {"face_vae": face_vae, "voice_vae": voice_vae, "private": private}
    return _switched("p2vanet", 0.2, {**parts, "gender": public, "nationality": public})


def _acienet(*, interaction: bool, enhancement: bool) -> Variant:
    parts = {"interaction": interaction, "enhancement": enhancement}
    return _switched("acienet", 0.5, parts, candidates="6")


def _aicanet(*, interaction: bool, correction: bool, stretching: bool) -> Variant:
    parts = {"interaction": interaction, "stretching": stretching}
    words = {"correction": "clamp" if correction else "none", "candidates": "6"}
    return _switched("aicanet", 0.5, parts, **words)


VARIANTS = {
    "ADSM-T": _adsm(centred=False, adversary=False),
    "ADSM-TC": _adsm(centred=True, adversary=False),
    "ADSM-TD": _adsm(centred=False, adversary=True),
    "ADSM-TCD": _adsm(centred=True, adversary=True),
    "DSANet": _dsanet(enhance=False, siamese=False, masked=False),
    "DSANet+DEM": _dsanet(enhance=True, siamese=False, masked=False),
    "DSANet+SAS": _dsanet(enhance=False, siamese=True, masked=False),
    "DSANet+AMCE": _dsanet(enhance=False, siamese=False, masked=True),
    "DSANet+DEM+SAS": _dsanet(enhance=True, siamese=True, masked=False),
    "DSANet+SAS+AMCE": _dsanet(enhance=False, siamese=True, masked=True),
    "DSANet+DEM+SAS+AMCE": _dsanet(enhance=True, siamese=True, masked=True),
    "P2VANet": _p2vanet(face_vae=False, voice_vae=False, private=False, public=False),
    "P2VANet+faceVAE": _p2vanet(face_vae=True, voice_vae=False, private=False, public=False),
    "P2VANet+voiceVAE": _p2vanet(face_vae=False, voice_vae=True, private=False, public=False),
    "P2VANet+VAE": _p2vanet(face_vae=True, voice_vae=True, private=False, public=False),
    "P2VANet+VAE+pri": _p2vanet(face_vae=True, voice_vae=True, private=True, public=False),
    "P2VANet+VAE+pub": _p2vanet(face_vae=True, voice_vae=True, private=False, public=True),
    "P2VANet+VAE+pri+pub": _p2vanet(face_vae=True, voice_vae=True, private=True, public=True),
    "ACIENet": _acienet(interaction=False, enhancement=False),
    "ACIENet+AGI": _acienet(interaction=True, enhancement=False),
    "ACIENet+AGE": _acienet(interaction=False, enhancement=True),
    "ACIENet+AGI+AGE": _acienet(interaction=True, enhancement=True),
    "AICANet": _aicanet(interaction=False, correction=False, stretching=False),
    "AICANet+RDSM": _aicanet(interaction=False, correction=False, stretching=True),
    "AICANet+AIA": _aicanet(interaction=True, correction=False, stretching=False),
    "AICANet+AIA+ACA": _aicanet(interaction=True, correction=True, stretching=False),
    "AICANet+AIA+ACA+RDSM": _aicanet(interaction=True, correction=True, stretching=True),
}

ORDERINGS = (
    Ordering("ADSM-TC", "ADSM-T", "ADSM, Table 4"),
    Ordering("ADSM-TD", "ADSM-T", "ADSM, Table 4"),
    Ordering("ADSM-TCD", "ADSM-TC", "ADSM, Table 4"),
    Ordering("ADSM-TCD", "ADSM-TD", "ADSM, Table 4"),
    Ordering("DSANet+SAS", "DSANet", "DSANet, Table V c, a"),
    Ordering("DSANet+AMCE", "DSANet", "DSANet, Table V d, a"),
    Ordering("DSANet+DEM+SAS", "DSANet+SAS", "DSANet, Table V e, c"),
    Ordering("DSANet+DEM+SAS", "DSANet+DEM", "DSANet, Table V e, b"),
    Ordering("DSANet+DEM+SAS+AMCE", "DSANet+SAS+AMCE", "DSANet, Table V g, f"),
    Ordering("DSANet+DEM+SAS+AMCE", "DSANet+DEM+SAS", "DSANet, Table V g, e"),
    Ordering("P2VANet+voiceVAE", "P2VANet", "P2VANet, Table V"),
    Ordering("P2VANet+faceVAE", "P2VANet+voiceVAE", "P2VANet, Table V"),
    Ordering("P2VANet+VAE", "P2VANet", "P2VANet, Table III"),
    Ordering("P2VANet+VAE+pri", "P2VANet+VAE", "P2VANet, Table III"),
    Ordering("P2VANet+VAE+pub", "P2VANet+VAE", "P2VANet, Table III"),
    Ordering("P2VANet+VAE+pri+pub", "P2VANet+VAE+pri", "P2VANet, Table III"),
    Ordering("P2VANet+VAE+pri+pub", "P2VANet+VAE+pub", "P2VANet, Table III"),
    Ordering("ACIENet+AGI", "ACIENet", "ACIENet, Table IV"),
    Ordering("ACIENet+AGE", "ACIENet", "ACIENet, Table IV"),
    Ordering("ACIENet+AGI+AGE", "ACIENet+AGI", "ACIENet, Table IV"),
    Ordering("ACIENet+AGI+AGE", "ACIENet+AGE", "ACIENet, Table IV"),
    Ordering("AICANet+RDSM", "AICANet", "AICANet, Table V b, a"),
    Ordering("AICANet+AIA", "AICANet", "AICANet, Table V c, a"),
    Ordering("AICANet+AIA+ACA", "AICANet+AIA", "AICANet, Table V d, c"),
    Ordering("AICANet+AIA+ACA+RDSM", "AICANet+AIA+ACA", "AICANet, Table V e, d"),
)
