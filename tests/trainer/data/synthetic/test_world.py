import csv
import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from silero_vad import get_speech_timestamps, load_silero_vad

from indexer.errors import BadRequest
from trainer.data.synthetic.faces import TRAIT_RANGES, face_shape
from trainer.data.synthetic.voices import VOICE_RANGES, voice_shape
from trainer.data.synthetic.world import COUNTRIES, World, WorldSettings, write_gallery

RATE = 16000


@pytest.fixture(scope="module")
def world():
    return World(seed=7)


def with_component(person, place, value):
    """The same person with one component of both modalities set."""
    traits = list(person.face_traits)
    traits[place] = value
    return dataclasses.replace(person, face_traits=tuple(traits), voice_traits=tuple(traits))


def average(person):
    """The same person with the most ordinary identity there is."""
    zeros = (0.0,) * len(person.face_traits)
    return dataclasses.replace(person, face_traits=zeros, voice_traits=zeros)


def loud_frames(samples, length=800):
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[:: length // 2]
    power = (frames**2).mean(axis=1)
    return frames[power > 0.3 * power.mean()]


def pitch_of(samples):
    """The median pitch in Hz, by the highest peak of each loud frame's autocorrelation."""
    frames = loud_frames(samples)
    power = np.abs(np.fft.rfft(frames - frames.mean(axis=1, keepdims=True), 2048)) ** 2
    correlation = np.fft.irfft(power)
    shortest, longest = RATE // 320, RATE // 70
    return RATE / np.median(correlation[:, shortest:longest].argmax(axis=1) + shortest)


def centroid_of(samples):
    """The mean log frequency of the loud frames' energy between 300 and 4000 Hz, in Hz."""
    frames = loud_frames(samples)
    hertz = np.fft.rfftfreq(frames.shape[1], 1 / RATE)
    heard = (hertz > 300) & (hertz < 4000)
    power = (np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]))) ** 2).mean(axis=0)[heard]
    return np.exp((power * np.log(hertz[heard])).sum() / power.sum())


def test_seed_and_number_decide_everything(world):
    again = World(seed=7)
    person = world.person(3)
    assert again.person(3) == person
    np.testing.assert_array_equal(again.draw_face(person, 2), world.draw_face(person, 2))
    np.testing.assert_array_equal(again.speak(person, 2), world.speak(person, 2))


def test_order_of_asking_changes_nothing(world):
    later = World(seed=7)
    later.person(9)
    later.draw_face(later.person(1), 0)
    assert later.person(3) == world.person(3)


def test_another_seed_is_another_world(world):
    other = World(seed=8)
    assert other.person(3).face_traits != world.person(3).face_traits
    assert other.person(3).name != world.person(3).name


def test_takes_differ(world):
    person = world.person(0)
    assert (world.draw_face(person, 0) != world.draw_face(person, 1)).mean() > 0.5
    assert not np.allclose(world.speak(person, 0), world.speak(person, 1))


@pytest.mark.parametrize("seed", [0, 5])
def test_names_and_keys_are_unique(seed):
    world = World(WorldSettings(nationalities=6), seed=seed)
    # Both sides of where family names grow by a syllable.
    people = [world.person(number) for number in [*range(400), *range(4700, 5100)]]
    assert len({person.key for person in people}) == len(people)
    assert len({person.name.split()[1] for person in people}) == len(people)
    assert all(person.name.replace(" ", "").isalpha() for person in people)


def test_no_ending_of_family_names_ends_another():
    endings = [country.ending for country in COUNTRIES]
    clashes = [(a, b) for a in endings for b in endings if a != b and a.endswith(b)]
    assert clashes == []


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.8, 1.0])
def test_components_correlate_by_the_shared_part(shared):
    world = World(WorldSettings(shared=shared), seed=1)
    people = [world.person(number) for number in range(1500)]
    faces = np.array([person.face_traits for person in people])
    voices = np.array([person.voice_traits for person in people])
    assert faces.shape == voices.shape == (1500, 6)
    for place in range(6):
        correlation = np.corrcoef(faces[:, place], voices[:, place])[0, 1]
        assert correlation == pytest.approx(shared, abs=0.09)
    np.testing.assert_allclose(faces.std(axis=0), 1.0, atol=0.08)
    np.testing.assert_allclose(voices.mean(axis=0), 0.0, atol=0.1)


def test_components_are_independent_of_each_other_and_of_gender(world):
    people = [world.person(number) for number in range(1500)]
    women = np.array([person.gender == "f" for person in people], dtype=float)
    columns = np.column_stack([[person.face_traits for person in people], women])
    across = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert np.abs(across).max() < 0.12
    assert women.mean() == pytest.approx(0.5, abs=0.05)
    assert len({person.nationality for person in people}) == 4


@pytest.mark.parametrize("gender", ["f", "m"])
@pytest.mark.parametrize("place", range(6))
def test_every_trait_is_a_monotone_function_of_one_component(place, gender):
    sweeps = []
    for value in np.linspace(-3, 3, 13):
        components = [0.3] * 6
        components[place] = float(value)
        face = dataclasses.astuple(face_shape(components, gender, 0))
        sweeps.append(face + dataclasses.astuple(voice_shape(components, gender)))
    steps = np.diff(np.array(sweeps), axis=0)  # (values - 1, traits)
    rising, falling = (steps > 0).all(axis=0), (steps < 0).all(axis=0)
    still = (steps == 0).all(axis=0)
    assert (rising | falling | still).all()
    moved = ~still
    beardless = gender == "f" and list(TRAIT_RANGES).index("beard") % 6 == place
    faces, voices = moved[: len(TRAIT_RANGES)], moved[len(TRAIT_RANGES) :]
    assert faces.sum() == len(range(place, len(TRAIT_RANGES), 6)) - beardless
    assert voices.sum() == len(range(place, len(VOICE_RANGES), 6))


def test_pictures_are_what_the_settings_say():
    small = World(WorldSettings(picture_size=48))
    picture = small.draw_face(small.person(0), 0)
    assert picture.shape == (48, 48, 3)
    assert picture.dtype == np.uint8
    assert World().draw_face(World().person(0), 0).shape == (160, 160, 3)


@pytest.mark.parametrize("gender", ["f", "m"])
@pytest.mark.parametrize("place", range(6))
def test_every_component_shows(world, place, gender):
    person = dataclasses.replace(average(world.person(0)), gender=gender)
    low = world.draw_face(with_component(person, place, -1.5), 0).astype(float)
    high = world.draw_face(with_component(person, place, 1.5), 0).astype(float)
    assert np.abs(low - high).mean() > 1.0  # of 255; the noise is the same in both


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_voices_are_what_was_asked_for(rate):
    world = World(WorldSettings(rate=rate))
    for seconds in (0.05, 3.0, 6.0):
        samples = world.speak(world.person(1), 0, seconds=seconds)
        assert samples.shape == (round(seconds * rate),)
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() <= 1.0
    assert 0.03 < samples.std() < 0.12


def test_gender_separates_pitch(world):
    pitches = {"f": [], "m": []}
    for number in range(20):
        person = world.person(number)
        pitches[person.gender].append(pitch_of(world.speak(person, 0, seconds=3.0)))
    assert min(len(pitches["f"]), len(pitches["m"])) >= 5
    assert np.median(pitches["f"]) == pytest.approx(200, abs=30)
    assert np.median(pitches["m"]) == pytest.approx(115, abs=20)
    low_women, high_men = np.percentile(pitches["f"], 10), np.percentile(pitches["m"], 90)
    assert low_women > high_men


@pytest.mark.parametrize("gender", ["f", "m"])
def test_pitch_is_heard_within_a_gender(world, gender):
    person = dataclasses.replace(average(world.person(0)), gender=gender)
    heard = [
        np.mean([pitch_of(world.speak(with_component(person, 0, value), take)) for take in (0, 1)])
        for value in (-1.5, 0.0, 1.5)
    ]
    assert heard[0] > heard[1] > heard[2]


@pytest.mark.parametrize("place", [1, 2])
def test_tract_and_tilt_move_the_spectrum(world, place):
    person = average(world.person(0))
    low, high = (
        np.mean(
            [
                centroid_of(world.speak(with_component(person, place, value), take))
                for take in (0, 1)
            ]
        )
        for value in (-1.5, 1.5)
    )
    if place == 1:
        assert low > 1.05 * high  # a longer tract resonates lower
    else:
        assert high > 1.05 * low  # a flatter source is brighter


# The detector's weights come as TorchScript, which newer releases of PyTorch warn about.
@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*:DeprecationWarning")
def test_a_detector_hears_speech(world):
    model = load_silero_vad()
    for number in range(12):
        seconds = 3 + number % 4
        samples = world.speak(world.person(number), number % 3, seconds=seconds)
        found = get_speech_timestamps(torch.from_numpy(samples), model)
        assert sum(each["end"] - each["start"] for each in found) > 0.5 * len(samples)


def test_gallery_is_readable_and_listed(world, tmp_path):
    people = write_gallery(world, range(2, 5), tmp_path / "gallery", faces=2, voices=1)
    with (tmp_path / "gallery" / "people.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {
            "person": person.key,
            "name": person.name,
            "gender": person.gender,
            "nationality": person.nationality,
        }
        for person in people
    ]
    for person in people:
        home = tmp_path / "gallery" / person.key
        assert sorted(path.name for path in home.iterdir()) == [
            "face0.jpg",
            "face1.jpg",
            "voice0.flac",
        ]
        with Image.open(home / "face1.jpg") as opened:
            stored = np.asarray(opened, dtype=float)
        assert np.abs(stored - world.draw_face(person, 1)).mean() < 6.0
        samples, rate = soundfile.read(home / "voice0.flac", dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(samples, world.speak(person, 0), atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shared": 1.2},
        {"dims": 0},
        {"dims": 9},
        {"nationalities": 7},
        {"picture_size": 4},
        {"rate": 0},
    ],
)
def test_settings_that_make_no_world_are_refused(wrong):
    with pytest.raises(BadRequest, match=next(iter(wrong))):
        WorldSettings(**wrong)
