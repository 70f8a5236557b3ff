"""Nanoseconds of processor time that each detector of river takes for a value.

Reads lines `NAME COUNT` and the streams to be fed from two files of little-endian doubles; prints `NAME NANOSECONDS`.
"""

import array
import sys
import time
import warnings

from river import drift

MAKE = {
    "ADWIN": lambda: drift.ADWIN(),
    "Page–Hinkley": lambda: drift.PageHinkley(),
    "KSWIN": lambda: drift.KSWIN(seed=1),
    "DDM": lambda: drift.binary.DDM(),
    "EDDM": lambda: drift.binary.EDDM(),
    "HDDM_A": lambda: drift.binary.HDDM_A(),
    "HDDM_W": lambda: drift.binary.HDDM_W(),
    "FHDDM": lambda: drift.binary.FHDDM(),
}

warnings.simplefilter("ignore")
streams = {}
for kind, path in zip(("values", "errors"), sys.argv[1:3]):
    numbers = array.array("d")
    with open(path, "rb") as file:
        numbers.frombytes(file.read())
    streams[kind] = list(numbers)

for line in sys.stdin:
    name, kind, count = line.split()
    values = streams[kind][: int(count)]
    best = None
    for _ in range(3):
        detector = MAKE[name]()
        begun = time.process_time_ns()
        for value in values:
            detector.update(value)
        took = (time.process_time_ns() - begun) / len(values)
        best = took if best is None else min(best, took)
    print(name, best, flush=True)
