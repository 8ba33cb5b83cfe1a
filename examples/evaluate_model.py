"""Measure how well a model tells people apart on an index: python evaluate_model.py INDEX OUT

Writes OUT/report.html and OUT/report.json; needs torch: pip install 'avsearch[cpu,report]'.
"""

import json
import subprocess
import sys
from pathlib import Path

place, out = sys.argv[1:]
command = [sys.executable, "-m", "avsearch", "--quiet", "evaluate", "--index", place, "--out", out]
subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
report = json.loads((Path(out) / "report.json").read_text())
for section in report["sections"]:
    measure = section["main"]
    figures = {name: row["figures"][measure] for name, row in section["rows"].items()}
    model, gender = figures["model"], figures["knows gender"]
    print(
        f"{section['protocol']}: {measure} {model['value']:.3f} "
        f"[{model['lower']:.3f}, {model['upper']:.3f}]; "
        f"the gender alone gives {gender['value']:.3f}"
    )
