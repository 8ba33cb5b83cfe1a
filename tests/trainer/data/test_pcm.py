"""Voices in 16 bits and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trainer.data.pcm import pcm, waveform

WAVES = arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(-4, 4, width=32))


@given(WAVES)
def test_a_wave_is_kept_to_a_step_and_clipped_at_full_scale(wave: np.ndarray) -> None:
    again = waveform(pcm(wave))
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, np.clip(wave, -1, 1), atol=2 / 32768)


def test_samples_of_16_bits_lie_within_one() -> None:
    ends = np.array([-32768, -1, 0, 32767], np.int16)
    np.testing.assert_array_equal(waveform(ends) * 32768, ends)
