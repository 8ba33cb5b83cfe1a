"""Measure how well a model tells people apart on an index: python evaluate_model.py INDEX OUT

Writes OUT/report.html and OUT/report.json; needs torch: pip install 'avsearch[cpu,report]'.
"""

import json
import subprocess
import sys
from pathlib import Path

place, out = sys.argv[1:]
subprocess.run(
    [sys.executable, "-m", "avsearch", "evaluate", "--index", place, "--out", out], check=True
)
report = json.loads((Path(out) / "report.json").read_text())
print(sorted(report))
