"""Runs networks with TFLM and LiteRT: for each `N.tflite` and `N.in` of a folder, writes `N.tflm` and `N.litert`.

Exits with 3 if one of the two is not installed.
"""
import glob, sys
try:
    import numpy as np
    from ai_edge_litert import interpreter as litert
    from tflite_micro.python.tflite_micro import runtime
except ImportError as error:
    print(error)
    sys.exit(3)

for path in sorted(glob.glob(sys.argv[1] + "/*.tflite")):
    stem, model = path[: -len(".tflite")], open(path, "rb").read()
    reference = litert.Interpreter(model_content=model, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    reference.allocate_tensors()
    [given], [made] = reference.get_input_details(), reference.get_output_details()
    x = np.frombuffer(open(stem + ".in", "rb").read(), np.int8).reshape(given["shape"])
    reference.set_tensor(given["index"], x)
    reference.invoke()
    open(stem + ".litert", "wb").write(reference.get_tensor(made["index"]).tobytes())
    micro = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
    micro.set_input(x, 0)
    micro.invoke()
    open(stem + ".tflm", "wb").write(micro.get_output(0).tobytes())
