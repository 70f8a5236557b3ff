#!/usr/bin/env python3
"""Makes the small networks of this folder and their outputs by TFLM's own kernels.

Each case is one operator, quantized to int8. `pip install tflite-micro ai-edge-litert numpy`; made with
tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (for its schema), numpy 2.4.6. Usage: make.py FOLDER
"""
import base64, json, sys, os
import numpy as np, flatbuffers
from ai_edge_litert import schema_py_generated as S
from tflite_micro.python.tflite_micro import runtime

OUT = sys.argv[1]
B = S.BuiltinOperator

def q(shape, scale=0.05, zp=3, data=None, kind=S.TensorType.INT8, axis=None):
    return dict(shape=list(shape), scale=scale, zp=zp, data=data, kind=kind, axis=axis)

def i32(values, shape=None):
    values = np.array(values, np.int32)
    return q(list(values.shape) if shape is None else shape, None, 0, values, S.TensorType.INT32)

def build(code, options, tensors, inputs, outputs, ops=None):
    m = S.ModelT(); m.version = 3; m.description = ""
    m.buffers = [S.BufferT()]; g = S.SubGraphT(); g.tensors = []
    for n, t in enumerate(tensors):
        x = S.TensorT(); x.name = f"t{n}"; x.shape = t["shape"]; x.type = t["kind"]; x.buffer = 0
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
    c = S.OperatorCodeT(); c.builtinCode = code; c.deprecatedBuiltinCode = min(code, 127); c.version = 1
    m.operatorCodes = [c]
    o = S.OperatorT(); o.opcodeIndex = 0
    names, opts = options if options else (None, None)
    o.inputs = inputs if isinstance(inputs, list) else inputs[0]
    o.outputs = outputs
    if opts is not None:
        o.builtinOptionsType = getattr(S.BuiltinOptions, names); o.builtinOptions = opts
    g.operators = [o]
    g.inputs = sorted({n for n in o.inputs if n >= 0 and tensors[n]["data"] is None}); g.outputs = outputs
    m.subgraphs = [g]
    b = flatbuffers.Builder(1024); b.Finish(m.Pack(b), b"TFL3")
    return bytes(b.Output()), g.inputs

def opt(name, **fields):
    t = getattr(S, name + "T")()
    for k, v in fields.items(): setattr(t, k, v)
    return name, t

done = []
def case(name, code, options, tensors, inputs, outputs):
    rng = np.random.default_rng(abs(hash_of(name)))
    model, graph_inputs = build(code, options, tensors, inputs, outputs)
    if len(graph_inputs) != 1:  # One input: the second operand is a slice of the same, made before.
        raise SystemExit(name + " needs one input")
    cases = []
    try:
        for n in range(4):
            interpreter = runtime.Interpreter.from_bytes(model)
            t = tensors[graph_inputs[0]]
            x = rng.integers(-128, 128, t["shape"]).astype(np.int8)
            if n == 1: x = np.sort(x.flatten()).reshape(t["shape"])
            if n == 2: x = (x // 16).astype(np.int8)
            interpreter.set_input(x, 0); interpreter.invoke()
            y = interpreter.get_output(0)
            cases.append(dict(name=f"{name} {n}", inputs=[base64.b64encode(x.tobytes()).decode()],
                              outputs=[base64.b64encode(y.tobytes()).decode()]))
    except Exception as e:
        print("TFLM refuses", name, str(e)[:200]); return
    open(f"{OUT}/{name}.tflite", "wb").write(model)
    json.dump(dict(model=name + ".tflite", tolerance=0, cases=cases), open(f"{OUT}/{name}.cases.json", "w"), indent=1)
    done.append(name)

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
print(len(done), "made")
