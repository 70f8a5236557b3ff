"""Processor seconds that a peer takes for a drift report of two tables, and the bytes of its profile.

`drift_report.py evidently|whylogs REFERENCE CURRENT COLUMNS`: the tables are files of little-endian doubles, column by
column. Prints `SECONDS BYTES`, 0 bytes where the peer keeps no profile.
"""

import sys
import time
import warnings

import numpy
import pandas

warnings.simplefilter("ignore")
peer, reference, current, columns = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def table(path):
    values = numpy.fromfile(path, dtype="<f8").reshape(columns, -1)
    return pandas.DataFrame({f"column {index}": row for index, row in enumerate(values)})


reference, current = table(reference), table(current)
size = 0
if peer == "evidently":
    from evidently import Report
    from evidently.presets import DataDriftPreset

    begun = time.process_time()
    Report([DataDriftPreset()]).run(current, reference).dict()
    taken = time.process_time() - begun
else:
    import whylogs

    begun = time.process_time()
    view = whylogs.log(current).view()
    size = len(view.serialize())
    taken = time.process_time() - begun
print(f"{taken:.3f} {size}")
