"""What each part of a first question takes: ``python -m benchmarks.first_question FILE INDEX``.

Does what ``avsearch query`` does with a picture or a sound, in a process that has done nothing
else, and prints the seconds of each part as JSON: those of the clock, because the network that
embeds is loaded beside other parts; of Python's own start, which is before any clock, those of the
processor.
"""

import sys
import time

taken = {"Python": time.process_time()}
began = time.perf_counter() - taken["Python"]


def done(part: str) -> None:
    """Note what time has passed since the last part."""
    taken[part] = time.perf_counter() - began - sum(taken.values())


import numpy  # noqa: E402, F401 - imports are what is measured

done("import numpy")
import json  # noqa: E402
from pathlib import Path  # noqa: E402

from avsearch.calibration import calibrations_of  # noqa: E402
from avsearch.index_model import IndexModel, index_record  # noqa: E402
from avsearch.media import kind_of  # noqa: E402
from avsearch.query_file import QueryReader  # noqa: E402
from avsearch.search import Searcher  # noqa: E402
from indexer.open import open_index  # noqa: E402

done("import avsearch")
import onnxruntime  # noqa: E402, F401

done("import onnxruntime")

file, place = map(Path, sys.argv[1:])
with open_index(place) as index:
    done("open the index")
    model = IndexModel.of_index(index, None, "cpu")
    calibrations = calibrations_of(index_record(index))
    done("find the model")
    model.begin("face" if kind_of(file) == "picture" else "voice")
    query = QueryReader(index).read(file)
    done("find the face or the speech, networks loaded")
    assert Searcher(index, model, calibrations=calibrations).answer(query).hits
    done("embed, the rest of its network loaded, and answer")
print(json.dumps(taken))
