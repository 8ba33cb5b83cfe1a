"""One clock for the audio and the video of a file, from the time stamps of its packets.

Time stamps jump back where recordings are joined, and far ahead where a stamp is wrong. The clock
continues there, for all streams alike, so that they stay in sync.
"""

from __future__ import annotations

import dataclasses
from typing import Final

NEAR_S: Final = 0.05  # about a frame; smaller differences count as the same time
# A longer gap counts as a wrong time stamp, unless another stream continues meanwhile. So do gaps
# beyond an hour in all.
MAX_GAP_S: Final = 600.0
_MAX_GAPS_S: Final = 3600.0
_MIN_GAP_S: Final = 5.0  # a slide may be shown for as long, which is no gap
_BACK_S: Final = 0.1  # a stamp may go back so far without a jump
_ASIDE_S: Final = 1.0  # the distance in a file of streams that are played together
_STRAY_S: Final = 1.0  # a stamp further off is ignored if the next one returns


@dataclasses.dataclass(slots=True)
class _Stream:
    """The state of a stream: the shift of its stamps now and before its last jump."""

    shift_s: float
    before_s: float
    due_s: float | None = None  # the time of its next packet; None before the first


class Clock:
    """Shifts the time stamps of packets so that they continue over jumps.

    A stream is identified by any number.

    Args:
        start_s: The start of the file by its own stamps.

    Attributes:
        jumps: The times of the jumps on the shifted clock.
        end_s: The latest time of any stream.
    """

    def __init__(self, start_s: float) -> None:
        self.jumps: list[float] = []
        self.end_s = start_s
        self._shift_s = 0.0  # since the newest jump
        self._gaps_s = 0.0
        self._streams: dict[int, _Stream] = {}

    def shift_of(self, stream: int) -> float:
        """Return the seconds that are currently added to the stamps of a stream."""
        return self._stream(stream).shift_s

    def shift(self, stream: int, start_s: float, length_s: float, next_s: float | None) -> float:
        """Return the seconds to add to the stamps of a packet.

        Args:
            stream: The packet's stream.
            start_s: The packet's own stamp.
            length_s: The packet's length.
            next_s: The stamp of the next packet of the stream, if there is one.
        """
        own = self._stream(stream)
        if self._is_stray(own, start_s, length_s, next_s):
            return self.next_time(stream, length_s) - start_s
        if not self._follows(own, start_s + own.shift_s, _BACK_S):
            own.before_s, own.shift_s = own.shift_s, self._shift_behind_jump(own, start_s)
        self._go_to(own, start_s + own.shift_s, length_s)
        return own.shift_s

    def next_time(self, stream: int, length_s: float) -> float:
        """Return the time of a packet without a stamp, which follows the one before."""
        own = self._stream(stream)
        due_s = self._due_s(own)
        self._go_to(own, due_s, length_s)
        return due_s

    def _stream(self, stream: int) -> _Stream:
        return self._streams.setdefault(stream, _Stream(self._shift_s, self._shift_s))

    def _due_s(self, own: _Stream) -> float:
        return self.end_s if own.due_s is None else own.due_s

    def _follows(self, own: _Stream, time_s: float, back_s: float) -> bool:
        """Return True if a packet of a stream may have this time."""
        if own.due_s is not None and time_s < own.due_s - back_s:
            return False
        gap_s = time_s - self.end_s
        return gap_s <= MAX_GAP_S and (gap_s <= _MIN_GAP_S or self._gaps_s + gap_s <= _MAX_GAPS_S)

    def _shift_behind_jump(self, own: _Stream, start_s: float) -> float:
        """Return the new shift of a stream whose stamps jump.

        It is that of another stream that has jumped already, that of before a jump which is
        undone, or a new one. Where stamps restart, all streams continue behind the latest time.
        """
        due_s = self._due_s(own)
        if self._shift_s != own.shift_s and self._follows(own, start_s + self._shift_s, _ASIDE_S):
            return self._shift_s
        returns = abs(own.shift_s - own.before_s) > 2 * _ASIDE_S
        if returns and abs(start_s + own.before_s - due_s) <= _ASIDE_S:
            return own.before_s
        restarts = start_s + own.shift_s < due_s
        at_s = max(due_s, self.end_s) if restarts else due_s
        self.jumps.append(at_s)
        self._shift_s = at_s - start_s
        return self._shift_s

    def _is_stray(
        self, own: _Stream, start_s: float, length_s: float, next_s: float | None
    ) -> bool:
        """Return True if only this stamp is wrong: the next one continues those before it."""
        if next_s is None:
            return False
        if own.due_s is None:
            return next_s < start_s - _BACK_S
        off_s = start_s + own.shift_s - own.due_s
        if -_BACK_S <= off_s <= _STRAY_S:
            return False
        next_off_s = next_s + own.shift_s - own.due_s
        return -_BACK_S <= next_off_s <= length_s + min(_STRAY_S, abs(off_s) / 2)

    def _go_to(self, own: _Stream, time_s: float, length_s: float) -> None:
        gap_s = time_s - self.end_s
        if gap_s > _MIN_GAP_S:
            self._gaps_s += gap_s
        own.due_s = time_s + length_s
        self.end_s = max(self.end_s, own.due_s)
