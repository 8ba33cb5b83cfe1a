"""Index a gallery and search it with a voice: python search_gallery.py GALLERY VOICE"""

import sys

import avsearch

gallery, voice = sys.argv[1:]
with avsearch.open(gallery) as index:
    report = index.add(gallery)
    print(f"{report.people} people, {report.faces} faces, {report.voices} voices")
    for path, reason in report.refused:
        print(f"refused {path}: {reason}")
    for hit in index.query(voice, top=5):
        print(f"{hit.rank}. {hit.person}  {hit.score:.3f}  {hit.path}")
