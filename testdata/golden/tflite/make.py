#!/usr/bin/env python3
"""Makes the small networks of this folder and their outputs by TFLM's own kernels.

Each case is one operator, quantized to int8. `pip install tflite-micro ai-edge-litert numpy`; made with
tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (for its schema), numpy 2.4.6. Usage: make.py FOLDER
"""
import base64, json, sys, os
import numpy as np, flatbuffers
from ai_edge_litert import interpreter as litert, schema_py_generated as S
from tflite_micro.python.tflite_micro import runtime

OUT = sys.argv[1]
B = S.BuiltinOperator

def q(shape, scale=0.05, zp=3, data=None, kind=S.TensorType.INT8, axis=None):
    return dict(shape=list(shape), scale=scale, zp=zp, data=data, kind=kind, axis=axis)

def i32(values, shape=None):
    values = np.array(values, np.int32)
    return q(list(values.shape) if shape is None else shape, None, 0, values, S.TensorType.INT32)

def build(code, options, tensors, inputs, outputs):
    graph_inputs = sorted({n for n in inputs if n >= 0 and tensors[n]["data"] is None and not tensors[n].get("variable")})
    return network([(code, options, inputs, outputs)], tensors, graph_inputs, outputs), graph_inputs

def network(ops, tensors, inputs, outputs, called=None):
    """Operators (code, options, inputs, outputs) after each other; `called` are those of a second graph, and its tensors."""
    m = S.ModelT(); m.version = 3; m.description = ""
    m.buffers = [S.BufferT()]; m.operatorCodes = []; m.subgraphs = []
    graph(m, ops, tensors, inputs, outputs)
    if called: graph(m, *called, [], [])
    b = flatbuffers.Builder(1024); b.Finish(m.Pack(b), b"TFL3")
    return bytes(b.Output())

def graph(m, ops, tensors, inputs, outputs):
    g = S.SubGraphT(); g.tensors = []
    for n, t in enumerate(tensors):
        x = S.TensorT(); x.name = f"t{n}"; x.shape = t["shape"]; x.type = t["kind"]; x.buffer = 0
        x.isVariable = bool(t.get("variable"))
        if t["scale"] is not None:
            p = S.QuantizationParametersT()
            scales = t["scale"] if isinstance(t["scale"], list) else [t["scale"]]
            p.scale = scales; p.zeroPoint = [t["zp"]] * len(scales)
            if t["axis"] is not None: p.quantizedDimension = t["axis"]
            x.quantization = p
        if t["data"] is not None:
            b = S.BufferT(); b.data = np.frombuffer(t["data"].tobytes(), np.uint8)
            x.buffer = len(m.buffers); m.buffers.append(b)
        else:
            x.buffer = len(m.buffers); m.buffers.append(S.BufferT())
        g.tensors.append(x)
    g.operators = []
    for code, options, op_inputs, op_outputs in ops:
        c = S.OperatorCodeT(); c.builtinCode = code; c.deprecatedBuiltinCode = min(code, 127); c.version = 1
        o = S.OperatorT(); o.opcodeIndex = len(m.operatorCodes); m.operatorCodes.append(c)
        o.inputs = op_inputs; o.outputs = op_outputs
        names, opts = options if options else (None, None)
        if opts is not None:
            o.builtinOptionsType = getattr(S.BuiltinOptions, names); o.builtinOptions = opts
        g.operators.append(o)
    g.inputs = inputs; g.outputs = outputs
    m.subgraphs.append(g)

def opt(name, **fields):
    t = getattr(S, name + "T")()
    for k, v in fields.items(): setattr(t, k, v)
    return name, t

done = []
def text(array): return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()

def case(name, code, options, tensors, inputs, outputs, least=-128):
    model, graph_inputs = build(code, options, tensors, inputs, outputs)
    keep(name, model, [tensors[n] for n in graph_inputs], len(outputs), least)

def keep(name, model, inputs, output_count, least=-128, by="TFLM", stream=False):
    rng = np.random.default_rng(abs(hash_of(name)))
    cases = []
    try:
        # A stream goes on where the case before ended.
        one = runtime.Interpreter.from_bytes(model) if stream else None
        for n in range(9 if stream else 4):
            xs = []
            for t in inputs:
                if t["kind"] == S.TensorType.FLOAT32:
                    xs.append((rng.normal(size=t["shape"]) * 2).astype(np.float32)); continue
                low = 0 if t["kind"] == S.TensorType.UINT8 else least
                x = rng.integers(low, low + 256 if low == 0 else 128, t["shape"])
                if n == 1: x = np.sort(x.flatten()).reshape(t["shape"])
                if n == 2 and least == -128: x = x // 16
                xs.append(x.astype(np.uint8 if low == 0 and t["kind"] == S.TensorType.UINT8 else np.int8))
            ys = run(model, xs, output_count, by, one)
            cases.append(dict(name=f"{name} {n}", inputs=[text(x) for x in xs], outputs=[text(y) for y in ys]))
    except Exception as e:
        print(by, "refuses", name, str(e)[:200]); return
    open(f"{OUT}/{name}.tflite", "wb").write(model)
    json.dump(dict(model=name + ".tflite", tolerance=0, **(dict(stream=True) if stream else {}), cases=cases), open(f"{OUT}/{name}.cases.json", "w"), indent=1)
    done.append(name)

def run(model, xs, output_count, by, one):
    if by == "TFLM":
        interpreter = one or runtime.Interpreter.from_bytes(model)
        for n, x in enumerate(xs): interpreter.set_input(x, n)
        interpreter.invoke()
        return [interpreter.get_output(n) for n in range(output_count)]
    # What TFLM has no int8 kernel for, and LiteRT has.
    try: interpreter = litert.Interpreter(model_content=model, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    except ValueError: interpreter = litert.Interpreter(model_content=model, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    for d, x in zip(interpreter.get_input_details(), xs): interpreter.set_tensor(d["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]

def hash_of(text):
    h = 0
    for c in text: h = (h * 131 + ord(c)) % (1 << 31)
    return h

def rand(name, shape, lo=-127, hi=128): return np.random.default_rng(hash_of(name)).integers(lo, hi, shape).astype(np.int8)

C = [1, 4, 5, 6]
k = lambda name, shape, scale=0.03, zp=-7: q(shape, scale, zp, rand(name, shape))
for op in ["Add", "Sub", "Mul"]:
    code = getattr(B, op.upper())
    for tag, shape in [("channels", [6]), ("pixels", [1, 4, 5, 1]), ("whole", C), ("scalar", [1])]:
        case(f"{op.lower()}_{tag}", code, opt(op + "Options"), [q(C), k(op + tag, shape), q(C, 0.09, 11)], [0, 1], [2])
    case(f"{op.lower()}_relu", code, opt(op + "Options", fusedActivationFunction=S.ActivationFunctionType.RELU), [q(C), k(op, [6]), q(C, 0.09, -20)], [0, 1], [2])
    case(f"{op.lower()}_relu6", code, opt(op + "Options", fusedActivationFunction=S.ActivationFunctionType.RELU6), [q(C), k(op, [6]), q(C, 0.03, -128)], [0, 1], [2])
    case(f"{op.lower()}_first", code, opt(op + "Options"), [k(op + "first", [6]), q(C), q(C, 0.07, -3)], [0, 1], [2])
    case(f"{op.lower()}_self", code, opt(op + "Options"), [q(C), q(C, 0.07, -3)], [0, 0], [1])
# Of these scales hundreds of pairs tell factors of double precision from those of single.
case("sub_double", B.SUB, opt("SubOptions"), [q([1, 4, 5, 60], 0.0134, 0), k("sub_double", [1, 4, 5, 60], 0.0138, 0), q([1, 4, 5, 60], 0.0204, 0)], [0, 1], [2])
for op in ["MAXIMUM", "MINIMUM"]:
    for tag, shape in [("channels", [6]), ("whole", C), ("scalar", [])]:
        case(f"{op.lower()}_{tag}", getattr(B, op), opt("MaximumMinimumOptions"), [q(C), q(shape, 0.05, 3, rand(op + tag, shape)), q(C)], [0, 1], [2])
case("prelu", B.PRELU, None, [q(C), k("prelu", [1, 1, 6], 0.01, 9), q(C, 0.06, -4)], [0, 1], [2])
for scale, zp in [(0.02, 5), (0.1, -30), (0.003, 100), (0.7, 0)]:
    tag = str(scale).replace(".", "_")
    case(f"tanh_{tag}", B.TANH, None, [q(C, scale, zp), q(C, 1 / 128, 0)], [0], [1])
    case(f"logistic_{tag}", B.LOGISTIC, None, [q(C, scale, zp), q(C, 1 / 256, -128)], [0], [1])
    case(f"hard_swish_{tag}", B.HARD_SWISH, opt("HardSwishOptions"), [q(C, scale, zp), q(C, 0.04, -12)], [0], [1])
    case(f"leaky_relu_{tag}", B.LEAKY_RELU, opt("LeakyReluOptions", alpha=0.17), [q(C, scale, zp), q(C, 0.04, -12)], [0], [1])
    case(f"relu_{tag}", B.RELU, None, [q(C, scale, zp), q(C, 0.04, -12)], [0], [1])
    case(f"relu6_{tag}", B.RELU6, None, [q(C, scale, zp), q(C, scale, zp)], [0], [1])
    case(f"quantize_{tag}", B.QUANTIZE, opt("QuantizeOptions"), [q(C, scale, zp), q(C, 0.04, -12)], [0], [1])
case("leaky_relu_negative", B.LEAKY_RELU, opt("LeakyReluOptions", alpha=-0.4), [q(C), q(C, 0.06, 2)], [0], [1])
case("concatenation_channels", B.CONCATENATION, opt("ConcatenationOptions", axis=3), [q(C), q([1, 4, 5, 12])], [0, 0], [1])
case("concatenation_rows", B.CONCATENATION, opt("ConcatenationOptions", axis=1), [q(C), q([1, 12, 5, 6])], [0, 0, 0], [1])
case("concatenation_last", B.CONCATENATION, opt("ConcatenationOptions", axis=-2), [q([1, 4, 5, 6]), q([1, 4, 10, 6])], [0, 0], [1])
case("pack", B.PACK, opt("PackOptions", axis=1, valuesCount=3), [q([1, 7]), q([1, 3, 7])], [0, 0, 0], [1])
case("pack_last", B.PACK, opt("PackOptions", axis=2, valuesCount=2), [q([1, 7]), q([1, 7, 2])], [0, 0], [1])
case("slice", B.SLICE, opt("SliceOptions"), [q(C), i32([0, 1, 2, 1]), i32([1, 2, 3, -1]), q([1, 2, 3, 5])], [0, 1, 2], [3])
case("strided_slice", B.STRIDED_SLICE, opt("StridedSliceOptions", beginMask=1, endMask=9, ellipsisMask=0, newAxisMask=0, shrinkAxisMask=0), [q(C), i32([0, 1, -1, 1]), i32([1, 4, 0, 0]), i32([1, 2, -2, 2]), q([1, 2, 2, 3])], [0, 1, 2, 3], [4])
case("strided_slice_shrink", B.STRIDED_SLICE, opt("StridedSliceOptions", beginMask=0, endMask=0, ellipsisMask=0, newAxisMask=0, shrinkAxisMask=4), [q(C), i32([0, 0, 3, 0]), i32([1, 4, 4, 6]), i32([1, 1, 1, 1]), q([1, 4, 6])], [0, 1, 2, 3], [4])
for tag, order, shape in [("channels_first", [0, 3, 1, 2], [1, 6, 4, 5]), ("channels_last", [0, 2, 3, 1], [1, 5, 6, 4]), ("turned", [0, 2, 1, 3], [1, 5, 4, 6])]:
    case(f"transpose_{tag}", B.TRANSPOSE, opt("TransposeOptions"), [q(C), i32(order), q(shape)], [0, 1], [2])
case("pad_height_width", B.PAD, opt("PadOptions"), [q(C), i32([[0, 0], [1, 2], [0, 3], [0, 0]]), q([1, 7, 8, 6])], [0, 1], [2])
case("pad_channels", B.PAD, opt("PadOptions"), [q(C), i32([[0, 0], [0, 0], [0, 0], [2, 3]]), q([1, 4, 5, 11])], [0, 1], [2])
case("padv2", B.PADV2, opt("PadV2Options"), [q(C), i32([[0, 0], [1, 0], [2, 0], [0, 1]]), q([], 0.05, 3, np.array(-55, np.int8)), q([1, 5, 7, 7])], [0, 1, 2], [3])
case("mirror_pad_reflect", B.MIRROR_PAD, opt("MirrorPadOptions", mode=0), [q(C), i32([[0, 0], [2, 1], [3, 4], [0, 0]]), q([1, 7, 12, 6])], [0, 1], [2])
case("mirror_pad_symmetric", B.MIRROR_PAD, opt("MirrorPadOptions", mode=1), [q(C), i32([[0, 0], [2, 1], [3, 4], [0, 2]]), q([1, 7, 12, 8])], [0, 1], [2])
case("gather", B.GATHER, opt("GatherOptions", axis=2), [q(C), i32([4, 0, 0, 3]), q([1, 4, 4, 6])], [0, 1], [2])
for align, half in [(False, False), (True, False), (False, True)]:
    tag = "corners" if align else "middles" if half else "plain"
    for to in [[8, 10], [3, 2], [7, 9]]:
        case(f"resize_bilinear_{tag}_{to[0]}", B.RESIZE_BILINEAR, opt("ResizeBilinearOptions", alignCorners=align, halfPixelCenters=half), [q(C), i32(to), q([1, *to, 6])], [0, 1], [2])
        case(f"resize_nearest_{tag}_{to[0]}", B.RESIZE_NEAREST_NEIGHBOR, opt("ResizeNearestNeighborOptions", alignCorners=align, halfPixelCenters=half), [q(C), i32(to), q([1, *to, 6])], [0, 1], [2])
case("space_to_depth", B.SPACE_TO_DEPTH, opt("SpaceToDepthOptions", blockSize=2), [q([1, 4, 6, 3]), q([1, 2, 3, 12])], [0], [1])
case("depth_to_space", B.DEPTH_TO_SPACE, opt("DepthToSpaceOptions", blockSize=2), [q([1, 2, 3, 12]), q([1, 4, 6, 3])], [0], [1])
for op in ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"]:
    out = (0.05, 3) if op.startswith("REDUCE") else (0.2, -5) if op == "SUM" else (0.03, -5)
    for tag, axes, shape in [("pixels", [1, 2], [1, 6]), ("channels", [3], [1, 4, 5]), ("rows", [1], [1, 5, 6]), ("all", [1, 2, 3], [1]), ("columns", [-2], [1, 4, 6])]:
        case(f"{op.lower()}_{tag}", getattr(B, op), opt("ReducerOptions", keepDims=False), [q(C), i32(axes), q(shape, *out)], [0, 1], [2])
for tag, pad, stride, to in [("same", 0, 2, [8, 10]), ("valid", 1, 2, [9, 11]), ("valid3", 1, 3, [12, 15]), ("dense", 0, 1, [4, 5])]:
    w = rand("tc" + tag, [3, 3, 3, 6])
    bias = q([3], [0.05 * s for s in [0.01, 0.02, 0.005]], 0, np.array([300, -200, 77], np.int32), S.TensorType.INT32, 0)
    case(f"transpose_conv_{tag}", B.TRANSPOSE_CONV, opt("TransposeConvOptions", padding=pad, strideH=stride, strideW=stride),
         [i32([1, *to, 3]), q([3, 3, 3, 6], [0.01, 0.02, 0.005], 0, w, axis=0), q(C), bias, q([1, *to, 3], 0.2, 4)], [0, 1, 2, 3], [4])
case("fully_connected_rows", B.FULLY_CONNECTED, opt("FullyConnectedOptions", keepNumDims=True), [q([1, 9, 8]), q([5, 8], 0.013, 0, rand("fc", [5, 8])), q([5], 0.05 * 0.013, 0, np.array([9, -900, 70, 0, 5], np.int32), S.TensorType.INT32), q([1, 9, 5], 0.11, -9)], [0, 1, 2], [3])
case("batch_matmul", B.BATCH_MATMUL, opt("BatchMatMulOptions"), [q([1, 1, 9, 8]), q([1, 1, 8, 5], 0.013, 0, rand("bm", [1, 1, 8, 5])), q([1, 1, 9, 5], 0.11, -9)], [0, 1], [2])
case("reverse", B.REVERSE_V2, opt("ReverseV2Options"), [q(C), i32([1, 3]), q(C)], [0, 1], [2])
case("tile", B.TILE, opt("TileOptions"), [q(C), i32([1, 2, 1, 3]), q([1, 8, 5, 18])], [0, 1], [2])
case("broadcast_to", B.BROADCAST_TO, opt("BroadcastToOptions"), [q([1, 1, 5, 1]), i32([1, 4, 5, 6]), q(C)], [0, 1], [2])
for tag, stride, dilation, mult in [("dilated", 1, 2, 1), ("multiplier", 2, 1, 2)]:
    n = 6 * mult
    case(f"depthwise_{tag}", B.DEPTHWISE_CONV_2D, opt("DepthwiseConv2DOptions", padding=0, strideH=stride, strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation, depthMultiplier=mult),
         [q(C), q([1, 3, 3, n], [0.01 + 0.001 * i for i in range(n)], 0, rand("dw" + tag, [1, 3, 3, n]), axis=3), q([n], [0.05 * (0.01 + 0.001 * i) for i in range(n)], 0, (np.arange(n) * 40 - 90).astype(np.int32), S.TensorType.INT32, 0), q([1, -(-4 // stride), -(-5 // stride), n], 0.15, 6)], [0, 1, 2], [3])

# Functions of one value.
A = S.ActivationFunctionType
for scale, zp in [(0.02, 5), (0.1, -30), (0.003, 100), (0.05, -128)]:
    tag = str(scale).replace(".", "_")
    case(f"abs_{tag}", B.ABS, opt("AbsOptions"), [q(C, scale, zp), q(C, 0.04, -12)], [0], [1])
    case(f"elu_{tag}", B.ELU, None, [q(C, scale, zp), q(C, 0.04, -12)], [0], [1])
    case(f"rsqrt_{tag}", B.RSQRT, None, [q(C, scale, zp), q(C, 0.04, -128)], [0], [1], least=zp)
    for name, code in [("exp", B.EXP), ("log", B.LOG), ("gelu", B.GELU), ("relu_n1_to_1", B.RELU_N1_TO_1), ("relu_0_to_1", B.RELU_0_TO_1)]:
        options = {"exp": opt("ExpOptions"), "gelu": opt("GeluOptions", approximate=scale == 0.1)}.get(name)
        # LiteRT rounds once where it rescales; with one scale that is the same.
        tensors = [q(C, scale, zp), q(C, scale, zp) if "relu" in name else q(C, 0.04, -12)]
        model, _ = build(code, options, tensors, [0], [1])
        keep(f"{name}_{tag}", model, tensors[:1], 1, least=zp + 1 if name == "log" else -128, by="LiteRT")
case("abs_same", B.ABS, opt("AbsOptions"), [q(C), q(C)], [0], [1])
# Functions of two values.
for tag, shape in [("channels", [6]), ("whole", C), ("scalar", [1])]:
    case(f"squared_difference_{tag}", B.SQUARED_DIFFERENCE, opt("SquaredDifferenceOptions"), [q(C), k("sd" + tag, shape), q(C, 0.09, -100)], [0, 1], [2])
case("mul_two", B.MUL, opt("MulOptions"), [q([1, 4, 1, 6]), q([1, 1, 5, 6], 0.03, -7), q(C, 0.02, 4)], [0, 1], [2])
case("sub_two", B.SUB, opt("SubOptions"), [q([1, 1, 1, 6]), q([1, 4, 5, 1], 0.03, -7), q(C, 0.07, 4)], [0, 1], [2])
case("add_batches", B.ADD, opt("AddOptions"), [q([2, 3, 4, 5]), k("ab", [1, 3, 1, 5]), q([2, 3, 4, 5], 0.09, 11)], [0, 1], [2])
case("maximum_two", B.MAXIMUM, opt("MaximumMinimumOptions"), [q([1, 4, 5, 1]), q([1, 1, 5, 6]), q(C)], [0, 1], [2])
# Products of matrices.
for x in [False, True]:
    for y in [False, True]:
        left, right = [2, 3, 5, 7][:4], [2, 3, 7, 4]
        if x: left = [2, 3, 7, 5]
        if y: right = [2, 3, 4, 7]
        case(f"batch_matmul_two_{x:d}{y:d}", B.BATCH_MATMUL, opt("BatchMatMulOptions", adjX=x, adjY=y), [q(left), q(right, 0.03, -9), q([2, 3, 5, 4], 0.11, -9)], [0, 1], [2])
        case(f"batch_matmul_offset_{x:d}{y:d}", B.BATCH_MATMUL, opt("BatchMatMulOptions", adjX=x, adjY=y), [q(left), k("bo", right), q([2, 3, 5, 4], 0.11, -9)], [0, 1], [2])
case("batch_matmul_repeated", B.BATCH_MATMUL, opt("BatchMatMulOptions"), [q([1, 3, 5, 7]), q([2, 1, 7, 4], 0.03, -9), q([2, 3, 5, 4], 0.11, -9)], [0, 1], [2])
# Places.
i32q = lambda shape: q(shape, None, 0, kind=S.TensorType.INT32)
for name, code in [("arg_max", B.ARG_MAX), ("arg_min", B.ARG_MIN)]:
    options = opt("ArgMaxOptions" if name == "arg_max" else "ArgMinOptions", outputType=S.TensorType.INT32)
    for axis, shape in [(3, [1, 4, 5]), (1, [1, 5, 6]), (-2, [1, 4, 6])]:
        case(f"{name}_{axis}".replace("-", "last"), code, options, [q(C), i32([axis], []), i32q(shape)], [0, 1], [2])
# Batches.
# TFLM pads with a number that nothing has set, so LiteRT says what is right.
for name, shape, block, pads, to in [("space_to_batch", [1, 4, 5, 3], [2, 3], [[0, 0], [1, 3]], [6, 2, 3, 3]), ("space_to_batch_rows", [1, 7, 3], [4], [[4, 1]], [4, 3, 3])]:
    tensors = [q(shape), i32(block), i32(pads), q(to)]
    model, _ = build(B.SPACE_TO_BATCH_ND, opt("SpaceToBatchNDOptions"), tensors, [0, 1, 2], [3])
    keep(name, model, tensors[:1], 1, by="LiteRT")
case("space_to_batch_whole", B.SPACE_TO_BATCH_ND, opt("SpaceToBatchNDOptions"), [q([1, 4, 6, 3]), i32([2, 3]), i32([[0, 0], [0, 0]]), q([6, 2, 2, 3])], [0, 1, 2], [3])
case("batch_to_space", B.BATCH_TO_SPACE_ND, opt("BatchToSpaceNDOptions"), [q([6, 2, 3, 3]), i32([2, 3]), i32([[0, 0], [1, 3]]), q([1, 4, 5, 3])], [0, 1, 2], [3])
case("batch_to_space_rows", B.BATCH_TO_SPACE_ND, opt("BatchToSpaceNDOptions"), [q([4, 3, 3]), i32([4]), i32([[4, 1]]), q([1, 7, 3])], [0, 1, 2], [3])
case("transpose_batches", B.TRANSPOSE, opt("TransposeOptions"), [q([2, 3, 4, 5]), i32([1, 0, 3, 2]), q([3, 2, 5, 4])], [0, 1], [2])
case("pad_batches", B.PAD, opt("PadOptions"), [q([2, 3, 4, 5]), i32([[0, 0], [1, 2], [0, 1], [0, 0]]), q([2, 6, 5, 5])], [0, 1], [2])
case("mean_batches", B.MEAN, opt("ReducerOptions", keepDims=True), [q([2, 3, 4, 5]), i32([2]), q([2, 3, 1, 5], 0.03, -5)], [0, 1], [2])
for name, code, options, wshape, outputs in [
        ("conv", B.CONV_2D, opt("Conv2DOptions", padding=1, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1), [4, 3, 3, 6], 4),
        ("depthwise", B.DEPTHWISE_CONV_2D, opt("DepthwiseConv2DOptions", padding=1, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1, depthMultiplier=2), [1, 3, 3, 12], 12)]:
    axis = 0 if name == "conv" else 3
    bias = q([outputs], [0.05 * 0.01] * outputs, 0, (np.arange(outputs) * 40 - 90).astype(np.int32), S.TensorType.INT32, 0)
    tensors = [q([1, 9, 8, 6]), i32([2, 3]), i32([[2, 3], [3, 4]]), q([6, 7, 5, 6]), q(wshape, [0.01] * outputs, 0, rand("b" + name, wshape), axis=axis), bias, q([6, 5, 3, outputs], 0.15, 6), i32([[0, 1], [0, 1]]), q([1, 9, 8, outputs], 0.15, 6)]
    model = network([(B.SPACE_TO_BATCH_ND, opt("SpaceToBatchNDOptions"), [0, 1, 2], [3]), (code, options, [3, 4, 5], [6]), (B.BATCH_TO_SPACE_ND, opt("BatchToSpaceNDOptions"), [6, 1, 7], [8])], tensors, [0], [8])
    keep(f"{name}_between_batches", model, tensors[:1], 1, by="LiteRT")
# Groups of channels, and half bytes.
def conv_case(name, groups, outputs, kind=S.TensorType.INT8):
    shape = [outputs, 3, 2, 6 // groups]
    weights = rand(name, shape, -7, 8) if kind == S.TensorType.INT4 else rand(name, shape)
    tensors = [q([1, 6, 5, 6]), q(shape, [0.01 + 0.002 * n for n in range(outputs)], 0, weights, axis=0), q([outputs], [0.05 * (0.01 + 0.002 * n) for n in range(outputs)], 0, (np.arange(outputs) * 50 - 99).astype(np.int32), S.TensorType.INT32, 0), q([1, 3, 5, outputs], 0.2, -3)]
    if kind == S.TensorType.INT4:
        flat = (weights.flatten() & 15).astype(np.uint8)
        if len(flat) % 2: flat = np.append(flat, np.uint8(0))
        tensors[1]["data"] = (flat[0::2] | flat[1::2] << 4).astype(np.uint8); tensors[1]["kind"] = kind
    case(name, B.CONV_2D, opt("Conv2DOptions", padding=0, strideH=2, strideW=1, dilationHFactor=1, dilationWFactor=1), tensors, [0, 1, 2], [3])
conv_case("conv_groups_2", 2, 4)
conv_case("conv_groups_3", 3, 9)
conv_case("conv_groups_6", 6, 12)
conv_case("conv_int4", 1, 5, S.TensorType.INT4)
# Ends of a network.
f32 = lambda shape: q(shape, None, 0, kind=S.TensorType.FLOAT32)
tensors = [f32(C), q(C), q(C, 0.05, -128), f32(C)]
keep("float_ends", network([(B.QUANTIZE, opt("QuantizeOptions"), [0], [1]), (B.RELU, None, [1], [2]), (B.DEQUANTIZE, opt("DequantizeOptions"), [2], [3])], tensors, [0], [3]), tensors[:1], 1)
tensors = [q(C, 0.05, 131, kind=S.TensorType.UINT8), q(C), q(C, 0.04, -10), q(C, 0.04, 118, kind=S.TensorType.UINT8)]
keep("uint8_ends", network([(B.QUANTIZE, opt("QuantizeOptions"), [0], [1]), (B.RELU, None, [1], [2]), (B.QUANTIZE, opt("QuantizeOptions"), [2], [3])], tensors, [0], [3]), tensors[:1], 1)
# Several inputs and outputs; constants that operators compute with; shapes of shapes.
tensors = [q(C), q([1, 4, 5, 2]), q([1, 4, 5, 8]), q(C, 0.09, 4), q([1, 4, 5, 8], 0.02, -128)]
keep("several_ends", network([(B.CONCATENATION, opt("ConcatenationOptions", axis=3), [0, 1], [2]), (B.ADD, opt("AddOptions"), [0, 0], [3]), (B.RELU, None, [2], [4])], tensors, [1, 0], [4, 3, 2]), [tensors[1], tensors[0]], 3)
tensors = [q(C), k("cc", [1, 5, 4, 6], 0.05, 3), i32([0, 2, 1, 3]), q(C, 0.05, 3), q([1, 8, 5, 6], 0.05, 3), q(C, 0.07, -8)]
keep("constants", network([(B.TRANSPOSE, opt("TransposeOptions"), [1, 2], [3]), (B.CONCATENATION, opt("ConcatenationOptions", axis=1), [0, 3], [4]), (B.MUL, opt("MulOptions"), [0, 3], [5])], tensors, [0], [4, 5]), tensors[:1], 2)
tensors = [q([1, 4, 6]), i32q([3]), i32([0]), i32([1]), i32([1]), i32q([]), i32([-1], []), i32q([2]), q([1, 24]), q([1, 24], 0.06, -5)]
keep("flatten", network([(B.SHAPE, opt("ShapeOptions", outType=S.TensorType.INT32), [0], [1]), (B.STRIDED_SLICE, opt("StridedSliceOptions", shrinkAxisMask=1), [1, 2, 3, 4], [5]), (B.PACK, opt("PackOptions", axis=0, valuesCount=2), [5, 6], [7]), (B.RESHAPE, opt("ReshapeOptions"), [0, 7], [8]), (B.RELU, None, [8], [9])], tensors, [0], [9]), tensors[:1], 1)
# Layers with a filter, and pools: shapes, steps and factors that take a kernel's every way.
def out_len(size, kernel, stride, dilation, same):
    return -(-size // stride) if same else (size - (kernel - 1) * dilation - 1) // stride + 1

def layer(name, code, options, shape, filter_shape, outputs, kernel, stride, dilation, same, zp_in, out, per_channel, act, axis):
    """A layer with a filter: `out` is scale and zero point of the output in parts of a typical sum."""
    scales = [0.01 + 0.0013 * (i % 7) for i in range(outputs)] if per_channel else [0.012]
    bias = (np.random.default_rng(hash_of(name)).integers(-900, 900, outputs)).astype(np.int32)
    sides = [out_len(shape[n], kernel[n], stride[n], dilation[n], same) for n in (0, 1)] if kernel else []
    fields = dict(fusedActivationFunction=act)
    if kernel:
        fields.update(padding=0 if same else 1, strideH=stride[0], strideW=stride[1], dilationHFactor=dilation[0], dilationWFactor=dilation[1])
    if code == B.DEPTHWISE_CONV_2D: fields.update(depthMultiplier=outputs // shape[-1])
    case(name, code, opt(options, **fields),
         [q([1, *shape], 0.05, zp_in), q(filter_shape, scales if per_channel else 0.012, 0, rand(name, filter_shape), axis=axis if per_channel else None),
          q([outputs], [0.05 * s for s in scales] if per_channel else 0.05 * 0.012, 0, bias, S.TensorType.INT32, 0 if per_channel else None),
          q([1, *sides, outputs], *out)], [0, 1, 2], [3])

def conv(name, shape, outputs, kernel, stride=(1, 1), dilation=(1, 1), same=True, zp_in=3, out=(0.2, 4), per_channel=True, act=A.NONE):
    layer("conv_" + name, B.CONV_2D, "Conv2DOptions", shape, [outputs, *kernel, shape[2]], outputs, kernel, stride, dilation, same, zp_in, out, per_channel, act, 0)

def depthwise(name, shape, kernel, stride=(1, 1), dilation=(1, 1), same=True, zp_in=3, out=(0.1, 4), multiplier=1, per_channel=True, act=A.NONE):
    outputs = shape[2] * multiplier
    layer("depthwise_" + name, B.DEPTHWISE_CONV_2D, "DepthwiseConv2DOptions", shape, [1, *kernel, outputs], outputs, kernel, stride, dilation, same, zp_in, out, per_channel, act, 3)

def dense(name, values, outputs, zp_in=3, out=(0.2, 4), per_channel=False, act=A.NONE):
    layer("dense_" + name, B.FULLY_CONNECTED, "FullyConnectedOptions", [values], [outputs, values], outputs, None, None, None, None, zp_in, out, per_channel, act, 0)

conv("3x3_three_channels", [7, 9, 3], 5, (3, 3), (2, 2), act=A.RELU6, out=(0.04, -128))
conv("dilated", [9, 10, 4], 6, (3, 2), (1, 1), (2, 3))
conv("dilated_odd", [8, 7, 5], 3, (2, 3), (1, 2), (3, 2), same=False)
conv("upwards", [4, 5, 4], 5, (1, 1), out=(0.0007, -3))
conv("upwards_relu", [4, 5, 3], 5, (2, 2), out=(0.0004, -128), act=A.RELU)
conv("many_outputs", [3, 3, 8], 133, (1, 1), same=False)
conv("relu", [5, 5, 16], 9, (1, 1), zp_in=-128, out=(0.1, -128), act=A.RELU)
conv("relu6", [5, 6, 12], 7, (1, 1), (2, 2), out=(0.05, -100), act=A.RELU6, per_channel=False)
conv("3x3_same", [6, 9, 8], 10, (3, 3), zp_in=-128, out=(0.2, -128), act=A.RELU)
conv("5x4_one_channel", [10, 11, 1], 6, (5, 4), (3, 2), per_channel=False)
conv("wider_than_input", [2, 3, 4], 4, (5, 7))
conv("single_pixel", [3, 4, 6], 5, (3, 4), same=False)
depthwise("3x3", [5, 7, 8], (3, 3))
depthwise("3x3_relu", [6, 7, 10], (3, 3), (2, 2), zp_in=-128, out=(0.1, -128), act=A.RELU)
depthwise("3x3_relu6", [6, 5, 4], (3, 3), out=(0.03, -120), act=A.RELU6, per_channel=False)
depthwise("3x3_wide", [3, 99, 5], (3, 3), (1, 2))
depthwise("3x3_many_channels", [3, 2, 134], (3, 3))
depthwise("3x3_rows_apart", [8, 6, 4], (3, 3), (1, 1), (2, 1), same=False)
depthwise("3x3_columns_apart", [6, 11, 8], (3, 3), (1, 1), (1, 3))
depthwise("3x3_all_apart", [9, 9, 6], (3, 3), (1, 1), (2, 2))
depthwise("one_row", [1, 1, 8], (3, 3))
depthwise("5x5", [7, 9, 6], (5, 5), out=(0.2, -128), act=A.RELU)
depthwise("7x7", [8, 9, 4], (7, 7), (2, 1))
depthwise("4x2", [6, 6, 9], (4, 2), (2, 3))
depthwise("9x3", [11, 7, 4], (9, 3))
depthwise("2x7", [4, 15, 4], (2, 7), same=False)
depthwise("1x7", [1, 20, 8], (1, 7))
depthwise("5x1", [12, 1, 8], (5, 1), zp_in=-90)
depthwise("16x1", [17, 3, 4], (16, 1), same=False)
depthwise("30x10", [30, 10, 4], (30, 10), same=False)
depthwise("34x10", [34, 10, 4], (34, 10), same=False)
depthwise("3x5_columns_apart", [5, 12, 8], (3, 5), (1, 1), (1, 2))
depthwise("5x7_one_column", [6, 1, 4], (5, 7))
depthwise("three_channels", [5, 6, 3], (3, 3))
depthwise("upwards", [5, 6, 4], (3, 3), out=(0.0005, -128), act=A.RELU)
depthwise("multiplier_relu6", [5, 4, 3], (3, 2), (1, 2), out=(0.03, -128), multiplier=3, act=A.RELU6)
dense("odd", 13, 6)
dense("relu6", 16, 9, out=(0.05, -128), act=A.RELU6)
dense("channels", 12, 7, per_channel=True)
dense("three", 3, 5)
dense("upwards", 20, 8, out=(0.0006, 0))
dense("long", 300, 8, out=(0.4, -128), act=A.RELU)
for name, code in [("average", B.AVERAGE_POOL_2D), ("max", B.MAX_POOL_2D)]:
    for tag, shape, window, stride, same, act in [("same", [7, 6, 5], (3, 2), (2, 2), True, A.NONE), ("all", [5, 4, 6], (5, 4), (1, 1), False, A.RELU)]:
        sides = [out_len(shape[n], window[n], stride[n], 1, same) for n in (0, 1)]
        case(f"{name}_pool_{tag}", code, opt("Pool2DOptions", padding=0 if same else 1, strideH=stride[0], strideW=stride[1], filterHeight=window[0], filterWidth=window[1], fusedActivationFunction=act), [q([1, *shape]), q([1, *sides, shape[2]])], [0], [1])
# Real numbers in the middle, each made of one int8 value.
tensors = [q(C), f32(C), i32([3], []), f32([1, 4, 5, 3]), f32([1, 4, 5, 3]), f32([1, 4, 5, 3]), q([1, 4, 5, 3], 0.02, 4), q([1, 4, 5, 3], 0.08, -20)]
quantize, dequantize = opt("QuantizeOptions"), opt("DequantizeOptions")
keep("island_split", network([(B.DEQUANTIZE, dequantize, [0], [1]), (B.SPLIT, opt("SplitOptions", numSplits=2), [2, 1], [3, 4]), (B.NEG, opt("NegOptions"), [4], [5]), (B.QUANTIZE, quantize, [3], [6]), (B.QUANTIZE, quantize, [5], [7])], tensors, [0], [6, 7]), tensors[:1], 2)
for name, code in [("square", B.SQUARE), ("sqrt", B.SQRT), ("sin", B.SIN), ("cos", B.COS), ("round", B.ROUND), ("floor", B.FLOOR), ("ceil", B.CEIL), ("exp", B.EXP), ("logistic", B.LOGISTIC), ("tanh", B.TANH)]:
    options = {"square": opt("SquareOptions"), "exp": opt("ExpOptions")}.get(name)
    tensors = [q(C, 0.05, -128 if name == "sqrt" else 3), f32(C), f32(C), q(C, 0.03, -9)]
    keep(f"island_{name}", network([(B.DEQUANTIZE, dequantize, [0], [1]), (code, options, [1], [2]), (B.QUANTIZE, quantize, [2], [3])], tensors, [0], [3]), tensors[:1], 1)
# Networks that remember.
T = S.TensorType
for tag, kind, rank, memory, filters, values in [("int8", T.INT8, 1, 5, 6, 7), ("int16", T.INT16, 2, 4, 8, 5), ("int16_deep", T.INT16, 1, 11, 5, 16)]:
    dtype, most = (np.int8, 128) if kind == T.INT8 else (np.int16, 3000)
    weights_of_time = np.random.default_rng(hash_of(tag)).integers(1 - most, most, [filters, memory]).astype(dtype)
    state = q([1, filters * memory], 0.2 if kind == T.INT8 else 0.001, 4 if kind == T.INT8 else 0, kind=kind); state["variable"] = True
    time_scale = 0.01 if kind == T.INT8 else 0.0004
    tensors = [q([1, values]), q([filters, values], 0.02, 0, rand("svdf" + tag, [filters, values])), q([filters, memory], time_scale, 0, weights_of_time, kind=kind),
               q([filters // rank], state["scale"] * time_scale, 0, (np.arange(filters // rank) * 90 - 200).astype(np.int32), T.INT32), state, q([1, filters // rank], 0.09, -7)]
    keep(f"svdf_{tag}", network([(B.SVDF, opt("SVDFOptions", rank=rank), [0, 1, 2, 3, 4], [5])], tensors, [0], [5]), tensors[:1], 1, stream=True)
for tag, steps, values, units, power, clip, major in [("lstm", 6, 5, 4, -11, 0.0, False), ("lstm_one_step", 1, 9, 6, -12, 0.0, False), ("lstm_clipped", 20, 3, 7, -10, 1.5, False), ("lstm_time_major", 5, 4, 3, -13, 0.0, True)]:
    shape = lambda n: [steps, 1, n] if major else [1, steps, n]
    tensors = [q(shape(values), 0.02, 7)]; lists = [0] + [-1] * 23; output = (1 / 128, -5)
    for gate in range(4):
        for place, width, source in [(1 + gate, values, 0.02), (5 + gate, units, output[0])]:
            lists[place] = len(tensors); scale = 0.01 + 0.003 * gate
            tensors.append(q([units, width], scale, 0, rand(f"{tag}{place}", [units, width])))
        lists[12 + gate] = len(tensors)
        tensors.append(q([units], 0.02 * (0.01 + 0.003 * gate), 0, np.random.default_rng(gate).integers(-3000, 3000, units).astype(np.int32), T.INT32))
    for place, kind, quantization in [(18, T.INT8, output), (19, T.INT16, (2.0 ** power, 0))]:
        lists[place] = len(tensors); state = q([1, units], *quantization, kind=kind); state["variable"] = True; tensors.append(state)
    tensors.append(q(shape(units), *output))
    options = opt("UnidirectionalSequenceLSTMOptions", fusedActivationFunction=A.TANH, cellClip=clip, projClip=0.0, timeMajor=major)
    keep(tag, network([(B.UNIDIRECTIONAL_SEQUENCE_LSTM, options, lists, [len(tensors) - 1])], tensors, [0], [len(tensors) - 1]), tensors[:1], 1, stream=True)
handle = q([], None, 0, kind=T.RESOURCE)
named = opt("VarHandleOptions", container="", sharedName="ring")
def ring(name, first):
    # The last three rows and the newest one: what is left of them goes to the next run.
    tensors = [q([1, 1, 4]), handle, q([1, 3, 4]), q([1, 4, 4]), i32([0, 1, 0]), i32([1, 3, 4]), q([1, 3, 4]), i32([1]), q([1, 1, 4], 0.02, -5)]
    ops = [(B.CALL_ONCE, opt("CallOnceOptions", initSubgraphIndex=1), [], []), (B.VAR_HANDLE, named, [], [1]), (B.READ_VARIABLE, None, [1], [2]), (B.CONCATENATION, opt("ConcatenationOptions", axis=1), [2, 0], [3]),
           (B.SLICE, opt("SliceOptions"), [3, 4, 5], [6]), (B.ASSIGN_VARIABLE, None, [1, 6], []), (B.MEAN, opt("ReducerOptions", keepDims=True), [3, 7], [8])]
    called = ([(B.VAR_HANDLE, named, [], [0]), (B.ASSIGN_VARIABLE, None, [0, 1], [])], [handle, q([1, 3, 4], data=np.full([1, 3, 4], first, np.int8))])
    model = network(ops, tensors, [0], [8], called)
    if first == 3: keep(name, model, tensors[:1], 1, stream=True)
    return model
ring("variable_ring", 3)
case("l2_normalization", B.L2_NORMALIZATION, opt("L2NormOptions"), [q(C), q(C, 1 / 128, 0)], [0], [1])
case("l2_normalization_row", B.L2_NORMALIZATION, opt("L2NormOptions"), [q([1, 200], 0.3, -40), q([1, 200], 1 / 128, 0)], [0], [1])
print(len(done), "made")
