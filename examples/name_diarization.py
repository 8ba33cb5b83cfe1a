"""Name the speakers of a pyannote diarization: python name_diarization.py INDEX RECORDING RTTM

With pyannote.audio, pass the result of the pipeline in place of the file:
``index.annotate(recording, pipeline(recording))``.
"""

import sys

import avsearch

place, recording, rttm = sys.argv[1:]
with avsearch.open(place) as index:
    named = index.annotate(recording, rttm)
for speaker in named.speakers:
    print(f"{speaker.speaker} is {speaker.person or 'unknown'}: {speaker.reason}")
print(named.annotation())  # a pyannote.core.Annotation with the names
