#!/usr/bin/env python3
"""Adds cases to the networks of a folder: inputs, and outputs by TFLM's own kernels.

Where TFLM misreads a file (`tcn_dynamic`: shapes that LiteRT works out anew, and padding that TFLM never sets), LiteRT's.
`pip install tflite-micro ai-edge-litert numpy`. Usage: cases.py FOLDER
"""
import base64, glob, json, os, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro import runtime

def text(array): return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()

for path in sorted(glob.glob(sys.argv[1] + "/*.tflite")):
    name, model = os.path.basename(path)[:-7], open(path, "rb").read()
    litert = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    litert.allocate_tensors()
    inputs, outputs = litert.get_input_details(), litert.get_output_details()
    by, rng, cases = "litert" if name == "tcn_dynamic" else "tflm", np.random.default_rng(5), []
    for n in range(6):
        xs = []
        for d in inputs:
            x = rng.normal(size=d["shape"]).astype(np.float32)
            if d["dtype"] != np.float32:
                (scale, zero), most = d["quantization"], np.iinfo(d["dtype"])
                x = np.clip(np.round(x * (1 if n else 0.1) / scale) + zero, most.min, most.max).astype(d["dtype"])
            xs.append(x)
        if by == "tflm":
            one = runtime.Interpreter.from_bytes(model)
            for k, x in enumerate(xs): one.set_input(x, k)
            one.invoke(); ys = [one.get_output(k) for k in range(len(outputs))]
        else:
            for d, x in zip(inputs, xs): litert.set_tensor(d["index"], x)
            litert.invoke(); ys = [litert.get_tensor(d["index"]) for d in outputs]
        cases.append(dict(name=f"{by} {n}", inputs=[text(x) for x in xs], outputs=[text(y) for y in ys]))
    json.dump(dict(model=name + ".tflite", tolerance=0, cases=cases), open(path[:-7] + ".cases.json", "w"))
