"""What each part of a first question takes: ``python -m benchmarks.first_question FILE INDEX``.

Does what ``avsearch query`` does, a part after the other, in a process that has done nothing else,
and prints the processor seconds of each as JSON.
"""

import sys
import time

taken = {"Python": time.process_time()}


def done(part: str) -> None:
    """Note what the processor has done since the last part."""
    taken[part] = time.process_time() - sum(taken.values())


import numpy as np  # noqa: E402 - imports are what is measured

done("import numpy")
import json  # noqa: E402
from pathlib import Path  # noqa: E402

from avsearch.library import index_calibrations, index_model  # noqa: E402
from avsearch.media import MediaExtractor  # noqa: E402
from avsearch.search import Searcher, choose_question  # noqa: E402
from indexer.locate import open_index  # noqa: E402

done("import avsearch")
import onnxruntime  # noqa: E402, F401

done("import onnxruntime")

file, place = map(Path, sys.argv[1:])
with open_index(place) as index:
    done("open the index")
    question = choose_question(list(MediaExtractor().extract(file)))
    done("find the face or the speech, networks loaded")
    model = index_model(index, None, "cpu")
    calibrations = index_calibrations(index, None)
    done("find the model")
    vectors = model.embed(question).vectors
    assert np.isfinite(vectors).all()
    done("embed, network loaded")
    Searcher(index, model, calibrations=calibrations).answer(question)
    done("embed and answer")
print(json.dumps(taken))
