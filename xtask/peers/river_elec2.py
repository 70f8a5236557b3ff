"""Prequential accuracy of river's GaussianNB on Elec2, reset whenever a detector says drift.

Usage: river_elec2.py CSV ROWS. Prints, for each detector of NAMES, `name right resets first-resets`.
"""

import csv
import sys

from river import drift, naive_bayes

NAMES = {
    "none": None,
    "ADWIN": lambda: drift.ADWIN(),
    "PageHinkley": lambda: drift.PageHinkley(),
    "DDM": lambda: drift.binary.DDM(),
    "EDDM": lambda: drift.binary.EDDM(),
    "HDDM_A": lambda: drift.binary.HDDM_A(),
}

path, count = sys.argv[1], int(sys.argv[2])
with open(path, newline="") as file:
    rows = []
    for row in csv.DictReader(file):
        label = row.pop("class")
        rows.append(({key: float(value) for key, value in row.items()}, label))
        if len(rows) == count:
            break

for name, make in NAMES.items():
    model = naive_bayes.GaussianNB()
    detector = make() if make else None
    right, resets = 0, []
    for index, (x, y) in enumerate(rows):
        told = model.predict_one(x)
        wrong = (told if told is not None else "0") != y
        right += not wrong
        model.learn_one(x, y)
        if detector is not None:
            detector.update(int(wrong))
            if detector.drift_detected:
                resets.append(index)
                model = naive_bayes.GaussianNB()
    print(name, right, len(resets), ",".join(map(str, resets)) or "-")
