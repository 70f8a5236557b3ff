"""Runs a .tflite by LiteRT with one thread as often as it is told, and answers with the time.

Each line of standard input is a count of runs; each line of the answer is how many nanoseconds they took.
"""

import sys
import time

import numpy
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
details = interpreter.get_input_details()[0]
interpreter.set_tensor(details["index"], numpy.zeros(details["shape"], details["dtype"]))
interpreter.invoke()
invoke = interpreter.invoke
for line in sys.stdin:
    count = int(line)
    start = time.perf_counter_ns()
    for _ in range(count):
        invoke()
    print(time.perf_counter_ns() - start, flush=True)
