"""Search vectors that another tool made: python other_vectors.py FOLDER

The table needs the columns person, modality and vector; further columns are attributes to filter
by. Here the vectors are random.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

import avsearch

folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
people = rng.normal(size=(50, 192))
table = pd.DataFrame(
    {
        "person": [f"person-{at % 50:02}" for at in range(500)],
        "modality": ["face" if at % 2 else "voice" for at in range(500)],
        "vector": [list(people[at % 50] + rng.normal(0, 0.5, 192)) for at in range(500)],
        "accent": ["scottish" if at % 50 < 25 else "welsh" for at in range(500)],
    }
)
table.to_parquet(folder / "vectors.parquet")
with avsearch.open(folder / "index") as index:
    index.import_vectors(folder / "vectors.parquet", space="my-encoder")
    print(index)
    for hit in index.query(
        vectors=people[7], modality="voice", where={"accent": "scottish"}, top=3
    ):
        print(f"{hit.rank}. {hit.person}  {hit.score:.3f}")
