"""Processor seconds that cleanlab takes for all of its filters on the labels of a folder.

`label_issues.py FOLDER`: the folder has `labels.json` and `pred_probs.json`. Prints `SECONDS`.
"""

import json
import sys
import time
from pathlib import Path

import numpy
from cleanlab.filter import find_label_issues

folder = Path(sys.argv[1])
labels = numpy.array(json.loads((folder / "labels.json").read_text())["given_labels"])
shares = numpy.array(json.loads((folder / "pred_probs.json").read_text())["pred_probs"])
filters = json.loads((folder / "cleanlab.json").read_text())["find_label_issues"]

begun = time.process_time()
for name in filters:
    # One process: what several take is not counted here.
    find_label_issues(labels, shares, filter_by=name, return_indices_ranked_by="self_confidence", n_jobs=1)
print(f"{time.process_time() - begun:.3f}")
