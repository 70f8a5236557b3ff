#!/usr/bin/env python3
"""Makes the small int16x8 networks of this folder and their outputs by TFLM's own kernels.

Activations are int16 of zero point 0, filters int8, biases int64 (int32 where a case says so).
`pip install tflite-micro ai-edge-litert numpy`; made with tflite-micro 0.dev20261023182759,
ai-edge-litert 2.3.0 (for its schema), numpy 2.4.6. Usage: make.py FOLDER
"""
import base64, json, sys
import numpy as np, flatbuffers
from ai_edge_litert import schema_py_generated as S
from tflite_micro.python.tflite_micro import runtime

OUT = sys.argv[1]
B, T, A = S.BuiltinOperator, S.TensorType, S.ActivationFunctionType
TYPES = {T.INT8: np.int8, T.INT16: np.int16, T.INT32: np.int32, T.INT64: np.int64}


def q(shape, scale=0.0003, data=None, kind=T.INT16, zp=0, axis=None):
    return dict(shape=list(shape), scale=scale, zp=zp, data=data, kind=kind, axis=axis)


def i32(values):
    values = np.array(values, np.int32)
    return q(values.shape, None, values, T.INT32)


def opt(name, **fields):
    table = getattr(S, name + "T")()
    for key, value in fields.items():
        setattr(table, key, value)
    return name, table


def build(tensors, ops, outputs):
    """`ops` are (code, options, inputs, outputs)."""
    m, g = S.ModelT(), S.SubGraphT()
    m.version, m.description, m.buffers, m.operatorCodes = 3, "", [S.BufferT()], []
    g.tensors, g.operators = [], []
    for n, t in enumerate(tensors):
        x = S.TensorT()
        x.name, x.shape, x.type, x.buffer = f"t{n}", t["shape"], t["kind"], len(m.buffers)
        if t["scale"] is not None:
            p = S.QuantizationParametersT()
            p.scale = t["scale"] if isinstance(t["scale"], list) else [t["scale"]]
            p.zeroPoint = [t["zp"]] * len(p.scale)
            if t["axis"] is not None:
                p.quantizedDimension = t["axis"]
            x.quantization = p
        b = S.BufferT()
        if t["data"] is not None:
            b.data = np.frombuffer(t["data"].tobytes(), np.uint8)
        m.buffers.append(b)
        g.tensors.append(x)
    codes = []
    for code, options, inputs, made in ops:
        if code not in codes:
            codes.append(code)
            c = S.OperatorCodeT()
            c.builtinCode, c.deprecatedBuiltinCode, c.version = code, min(code, 127), 1
            m.operatorCodes.append(c)
        o = S.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = codes.index(code), inputs, made
        if options:
            o.builtinOptionsType, o.builtinOptions = getattr(S.BuiltinOptions, options[0]), options[1]
        g.operators.append(o)
    made = {n for _, _, _, made in ops for n in made}
    read = {n for _, _, inputs, _ in ops for n in inputs if n >= 0}
    g.inputs = sorted(n for n in read - made if tensors[n]["data"] is None)
    g.outputs = outputs
    m.subgraphs = [g]
    b = flatbuffers.Builder(1024)
    b.Finish(m.Pack(b), b"TFL3")
    return bytes(b.Output()), g.inputs


def hash_of(text):
    h = 0
    for c in text:
        h = (h * 131 + ord(c)) % (1 << 31)
    return h


def rand(name, shape, lo=-127, hi=128, kind=np.int8):
    return np.random.default_rng(hash_of(name)).integers(lo, hi, shape).astype(kind)


done, refused = [], []


def net(name, tensors, ops, outputs, count=4):
    model, inputs = build(tensors, ops, outputs)
    assert len(inputs) == 1, name
    rng, t, cases = np.random.default_rng(hash_of(name)), tensors[inputs[0]], []
    kind = TYPES[t["kind"]]
    ends = np.iinfo(kind)
    try:
        for n in range(count):
            interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
            x = rng.integers(ends.min, ends.max + 1, t["shape"]).astype(kind)
            if n == 1:
                x = np.sort(x.flatten()).reshape(t["shape"])
            if n == 2:
                x = (x // 64).astype(kind)
            if n == 3:
                x = np.where(rng.integers(0, 2, t["shape"]) == 1, ends.max, ends.min).astype(kind)
            interpreter.set_input(x, 0)
            interpreter.invoke()
            y = interpreter.get_output(0)
            encode = lambda a: [base64.b64encode(a.tobytes()).decode()]
            cases.append(dict(name=f"{name} {n}", inputs=encode(x), outputs=encode(y)))
    except Exception as e:
        refused.append(name)
        print("TFLM refuses", name, str(e)[:200])
        return
    open(f"{OUT}/{name}.tflite", "wb").write(model)
    json.dump(dict(model=name + ".tflite", tolerance=0, cases=cases), open(f"{OUT}/{name}.cases.json", "w"), indent=1)
    done.append(name)


def case(name, code, options, tensors, inputs, outputs):
    net(name, tensors, [(code, options, inputs, outputs)], outputs)


def w(name, shape, scale, axis=None):
    return q(shape, scale, rand(name, shape), T.INT8, axis=axis)


def bias(name, count, scales, reach=1 << 20, kind=T.INT64):
    values = rand(name + " bias", [count], -reach, reach, TYPES[kind])
    return q([count], [0.0003 * s for s in scales], values, kind, axis=0 if len(scales) > 1 else None)


C = [1, 4, 5, 6]
k = lambda name, shape, scale=0.0002: q(shape, scale, rand(name, shape, -32768, 32768, np.int16))
out = lambda shape, scale=0.003: q(shape, scale)
S3 = [0.01, 0.02, 0.005]

# Filters.
def conv(name, from_shape, kernel, n, scales, to, stride=1, dilation=1, padding=0, act=0, bias_kind=T.INT64, reach=1 << 20, scale=0.02, quantized_bias_type=0):
    shape = [n, *kernel, from_shape[3]]
    tensors = [q(from_shape), w(name, shape, scales if len(scales) > 1 else scales[0], 0), out(to, scale)]
    inputs = [0, 1]
    if bias_kind is not None:
        tensors.append(bias(name, n, scales, reach, bias_kind))
        inputs.append(3)
    options = opt("Conv2DOptions", padding=padding, strideH=stride, strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation, fusedActivationFunction=act, quantizedBiasType=quantized_bias_type)
    case(name, B.CONV_2D, options, tensors, inputs, [2])

P = lambda n: [0.004 + 0.0013 * i for i in range(n)]
conv("conv_same", C, [3, 3], 7, P(7), [1, 4, 5, 7])
conv("conv_valid_stride", [1, 9, 8, 3], [3, 2], 5, P(5), [1, 4, 4, 5], stride=2, padding=1)
conv("conv_dilated", [1, 9, 8, 2], [3, 3], 4, P(4), [1, 9, 8, 4], dilation=2)
conv("conv_one_scale", C, [1, 1], 9, [0.011], [1, 4, 5, 9])
conv("conv_relu", C, [3, 3], 4, P(4), [1, 4, 5, 4], act=A.RELU)
conv("conv_relu6", C, [3, 3], 4, P(4), [1, 4, 5, 4], act=A.RELU6, scale=0.0004)
conv("conv_wide_bias", C, [3, 3], 5, P(5), [1, 4, 5, 5], reach=1 << 38, scale=40.0)
conv("conv_no_bias", C, [3, 3], 5, P(5), [1, 4, 5, 5], bias_kind=None)
conv("conv_int32", C, [3, 3], 5, P(5), [1, 4, 5, 5], bias_kind=T.INT32)
conv("conv_int32_no_bias", C, [3, 3], 5, P(5), [1, 4, 5, 5], bias_kind=None, quantized_bias_type=T.INT32)
conv("conv_many_taps", [1, 3, 3, 64], [3, 3], 3, P(3), [1, 3, 3, 3], scale=0.3)
conv("conv_tiny_scale", C, [1, 1], 3, [1e-9], [1, 4, 5, 3], scale=20.0)
conv("conv_large_factor", C, [1, 1], 3, [0.3], [1, 4, 5, 3], scale=0.00001)
for tag, stride, dilation, mult, to, act in [("plain", 1, 1, 1, [4, 5], 0), ("dilated", 1, 2, 1, [4, 5], A.RELU), ("multiplier", 2, 1, 2, [2, 3], 0), ("relu6", 2, 1, 1, [2, 3], A.RELU6)]:
    n = 6 * mult
    scale = 0.0003 if act == A.RELU6 else 0.006
    case(f"depthwise_{tag}", B.DEPTHWISE_CONV_2D, opt("DepthwiseConv2DOptions", padding=0, strideH=stride, strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation, depthMultiplier=mult, fusedActivationFunction=act),
         [q(C), w("dw" + tag, [1, 3, 3, n], P(n), 3), bias("dw" + tag, n, P(n)), out([1, *to, n], scale)], [0, 1, 2], [3])
case("depthwise_one_channel", B.DEPTHWISE_CONV_2D, opt("DepthwiseConv2DOptions", padding=1, strideH=1, strideW=1, depthMultiplier=4),
     [q([1, 5, 6, 1]), w("dwone", [1, 3, 3, 4], P(4), 3), bias("dwone", 4, P(4)), out([1, 3, 4, 4])], [0, 1, 2], [3])
case("depthwise_no_bias", B.DEPTHWISE_CONV_2D, opt("DepthwiseConv2DOptions", padding=0, strideH=1, strideW=1, depthMultiplier=1),
     [q(C), w("dwno", [1, 3, 3, 6], P(6), 3), out(C, 0.006)], [0, 1], [2])
for tag, n, values, scales, kind, act in [("plain", 5, 30, [0.013], T.INT64, 0), ("channels", 6, 21, P(6), T.INT64, A.RELU), ("int32", 5, 30, [0.013], T.INT32, 0), ("long", 4, 1000, [0.013], T.INT64, 0), ("relu6", 3, 8, [0.013], T.INT64, A.RELU6)]:
    case(f"fully_connected_{tag}", B.FULLY_CONNECTED, opt("FullyConnectedOptions", fusedActivationFunction=act),
         [q([1, values]), w("fc" + tag, [n, values], scales if len(scales) > 1 else scales[0], 0 if len(scales) > 1 else None), bias("fc" + tag, n, scales, kind=kind), out([1, n], 0.0003 if act == A.RELU6 else 0.04)], [0, 1, 2], [3])
case("fully_connected_no_bias", B.FULLY_CONNECTED, opt("FullyConnectedOptions"), [q([1, 30]), w("fcn", [5, 30], 0.013), out([1, 5], 0.04)], [0, 1], [2])
case("fully_connected_rows", B.FULLY_CONNECTED, opt("FullyConnectedOptions", keepNumDims=True), [q([1, 9, 8]), w("fcr", [5, 8], 0.013), bias("fcr", 5, [0.013]), out([1, 9, 5], 0.01)], [0, 1, 2], [3])
for tag, pad, stride, to in [("same", 0, 2, [8, 10]), ("valid", 1, 2, [9, 11]), ("dense", 0, 1, [4, 5])]:
    case(f"transpose_conv_{tag}", B.TRANSPOSE_CONV, opt("TransposeConvOptions", padding=pad, strideH=stride, strideW=stride),
         [i32([1, *to, 3]), w("tc" + tag, [3, 3, 3, 6], S3, 0), q(C), bias("tc" + tag, 3, S3), out([1, *to, 3], 0.02)], [0, 1, 2, 3], [4])

# Two values.
for op in ["Add", "Sub", "Mul"]:
    code, scale = getattr(B, op.upper()), 0.7 if op == "Mul" else 0.00045
    unit = 0.05 if op == "Mul" else 0.0003
    options = lambda act=0: opt(op + "Options", fusedActivationFunction=act)
    for tag, shape in [("channels", [6]), ("pixels", [1, 4, 5, 1]), ("whole", C), ("scalar", [1])]:
        case(f"{op.lower()}_{tag}", code, options(), [q(C, unit), k(op + tag, shape), q(C, scale * 0.001 if op == "Mul" else scale)], [0, 1], [2])
    case(f"{op.lower()}_relu", code, options(A.RELU), [q(C, unit), k(op, [6]), q(C, 0.0005)], [0, 1], [2])
    case(f"{op.lower()}_relu6", code, options(A.RELU6), [q(C), k(op, [6]), q(C, 0.0002)], [0, 1], [2])
    case(f"{op.lower()}_first", code, options(), [k(op + "first", [6]), q(C), q(C, 0.00031)], [0, 1], [2])
    case(f"{op.lower()}_self", code, options(), [q(C), q(C, 0.00061)], [0, 0], [1])
    case(f"{op.lower()}_power", code, options(), [q(C, 2.0 ** -12), k(op + "power", C, 2.0 ** -13), q(C, 2.0 ** -11)], [0, 1], [2])
for op in ["MAXIMUM", "MINIMUM"]:
    for tag, shape in [("channels", [6]), ("whole", C)]:
        case(f"{op.lower()}_{tag}", getattr(B, op), opt("MaximumMinimumOptions"), [q(C), k(op + tag, shape, 0.0003), q(C)], [0, 1], [2])
for tag, shape in [("channels", [6]), ("whole", C)]:
    case(f"squared_difference_{tag}", B.SQUARED_DIFFERENCE, opt("SquaredDifferenceOptions"), [q(C), k("squared" + tag, shape), q(C, 0.006)], [0, 1], [2])
case("prelu", B.PRELU, None, [q(C), q([1, 1, 6], 0.01, rand("prelu", [1, 1, 6]), T.INT8, 9), q(C, 0.0004)], [0, 1], [2])

# One value.
for scale in [0.0003, 0.002, 0.00001, 2.0 ** -12, 2.0 ** -11, 0.9]:
    tag = str(scale).replace(".", "_").replace("-", "_")
    case(f"tanh_{tag}", B.TANH, None, [q([1, 4, 50, 6], scale), q([1, 4, 50, 6], 2.0 ** -15)], [0], [1])
    case(f"logistic_{tag}", B.LOGISTIC, None, [q([1, 4, 50, 6], scale), q([1, 4, 50, 6], 2.0 ** -15)], [0], [1])
for scale in [0.0003, 0.002, 0.00001]:
    tag = str(scale).replace(".", "_").replace("-", "_")
    case(f"leaky_relu_{tag}", B.LEAKY_RELU, opt("LeakyReluOptions", alpha=0.17), [q(C, scale), q(C, 0.0004)], [0], [1])
    case(f"relu_{tag}", B.RELU, None, [q(C, scale), q(C, 0.0004)], [0], [1])
    case(f"quantize_{tag}", B.QUANTIZE, opt("QuantizeOptions"), [q(C, scale), q(C, 0.0004)], [0], [1])
    case(f"quantize_to_int8_{tag}", B.QUANTIZE, opt("QuantizeOptions"), [q(C, scale), q(C, 0.07, None, T.INT8, -11)], [0], [1])
    case(f"quantize_from_int8_{tag}", B.QUANTIZE, opt("QuantizeOptions"), [q(C, 0.03, None, T.INT8, 23), q(C, scale)], [0], [1])
case("leaky_relu_negative", B.LEAKY_RELU, opt("LeakyReluOptions", alpha=-0.4), [q(C), q(C, 0.0006)], [0], [1])
case("relu6", B.RELU6, None, [q(C), q(C)], [0], [1])
for scale, beta in [(0.0003, 1.0), (0.00001, 1.0), (0.002, 1.0), (0.0003, 0.35)]:
    tag = f"{scale}_{beta}".replace(".", "_").replace("-", "_")
    case(f"softmax_{tag}", B.SOFTMAX, opt("SoftmaxOptions", beta=beta), [q([1, 3, 4, 11], scale), q([1, 3, 4, 11], 2.0 ** -15)], [0], [1])
case("softmax_one", B.SOFTMAX, opt("SoftmaxOptions", beta=1.0), [q([1, 1]), q([1, 1], 2.0 ** -15)], [0], [1])
case("softmax_many", B.SOFTMAX, opt("SoftmaxOptions", beta=1.0), [q([1, 700], 0.0001), q([1, 700], 2.0 ** -15)], [0], [1])

# Windows and axes.
for op in ["MAX_POOL_2D", "AVERAGE_POOL_2D"]:
    for tag, pad, stride, window, to, act in [("same", 0, 2, [3, 3], [2, 3], 0), ("valid", 1, 1, [2, 3], [3, 3], A.RELU), ("relu6", 0, 1, [3, 2], [4, 5], A.RELU6)]:
        case(f"{op.lower()}_{tag}", getattr(B, op), opt("Pool2DOptions", padding=pad, strideH=stride, strideW=stride, filterHeight=window[0], filterWidth=window[1], fusedActivationFunction=act), [q(C), q([1, *to, 6])], [0], [1])
for op in ["MEAN", "SUM"]:
    for tag, axes, shape in [("pixels", [1, 2], [1, 6]), ("channels", [3], [1, 4, 5]), ("rows", [1], [1, 5, 6]), ("all", [1, 2, 3], [1])]:
        case(f"{op.lower()}_{tag}", getattr(B, op), opt("ReducerOptions", keepDims=False), [q(C), i32(axes), q(shape, 0.001 if op == "SUM" else 0.0002)], [0, 1], [2])

# Places.
case("concatenation_channels", B.CONCATENATION, opt("ConcatenationOptions", axis=3), [q(C), q([1, 4, 5, 12])], [0, 0], [1])
case("concatenation_rows", B.CONCATENATION, opt("ConcatenationOptions", axis=1), [q(C), q([1, 12, 5, 6])], [0, 0, 0], [1])
case("pack", B.PACK, opt("PackOptions", axis=1, valuesCount=3), [q([1, 7]), q([1, 3, 7])], [0, 0, 0], [1])
case("slice", B.SLICE, opt("SliceOptions"), [q(C), i32([0, 1, 2, 1]), i32([1, 2, 3, -1]), q([1, 2, 3, 5])], [0, 1, 2], [3])
case("strided_slice", B.STRIDED_SLICE, opt("StridedSliceOptions", beginMask=1, endMask=9), [q(C), i32([0, 1, -1, 1]), i32([1, 4, 0, 0]), i32([1, 2, -2, 2]), q([1, 2, 2, 3])], [0, 1, 2, 3], [4])
for tag, order, shape in [("channels_first", [0, 3, 1, 2], [1, 6, 4, 5]), ("turned", [0, 2, 1, 3], [1, 5, 4, 6])]:
    case(f"transpose_{tag}", B.TRANSPOSE, opt("TransposeOptions"), [q(C), i32(order), q(shape)], [0, 1], [2])
case("pad_height_width", B.PAD, opt("PadOptions"), [q(C), i32([[0, 0], [1, 2], [0, 3], [0, 0]]), q([1, 7, 8, 6])], [0, 1], [2])
case("pad_channels", B.PAD, opt("PadOptions"), [q(C), i32([[0, 0], [0, 0], [0, 0], [2, 3]]), q([1, 4, 5, 11])], [0, 1], [2])
case("padv2", B.PADV2, opt("PadV2Options"), [q(C), i32([[0, 0], [1, 0], [2, 0], [0, 1]]), q([], 0.0003, np.array(-5555, np.int16)), q([1, 5, 7, 7])], [0, 1, 2], [3])
for align, half in [(False, False), (True, False), (False, True)]:
    tag = "corners" if align else "middles" if half else "plain"
    case(f"resize_nearest_{tag}", B.RESIZE_NEAREST_NEIGHBOR, opt("ResizeNearestNeighborOptions", alignCorners=align, halfPixelCenters=half), [q(C), i32([7, 9]), q([1, 7, 9, 6])], [0, 1], [2])
case("reverse", B.REVERSE_V2, opt("ReverseV2Options"), [q(C), i32([3]), q(C)], [0, 1], [2])
case("broadcast_to", B.BROADCAST_TO, opt("BroadcastToOptions"), [q([1, 1, 5, 1]), i32([1, 4, 5, 6]), q(C)], [0, 1], [2])
case("reshape", B.RESHAPE, opt("ReshapeOptions", newShape=[1, 20, 6]), [q(C), i32([1, 20, 6]), q([1, 20, 6])], [0, 1], [2])

# Networks.
def residual(name, ends_in_int8):
    """Convolution, depthwise, a sum around both, a pool, a dense layer, a softmax."""
    first = [q([1, 12, 10, 1], 0.002, None, T.INT8, -5), q([1, 12, 10, 1], 0.0001)] if ends_in_int8 else [None, q([1, 12, 10, 1], 0.0001)]
    t = [first[0] or q([1]), first[1], w(name, [8, 3, 3, 1], P(8), 0), bias(name, 8, P(8), 1 << 16), q([1, 6, 5, 8], 0.0004),
         w(name + "d", [1, 3, 3, 8], P(8), 3), bias(name + "d", 8, P(8), 1 << 16), q([1, 6, 5, 8], 0.0011),
         q([1, 6, 5, 8], 0.0013), q([1, 3, 2, 8], 0.0013), q([1, 48], 0.0013), i32([1, 48]),
         w(name + "f", [5, 48], 0.009), bias(name + "f", 5, [0.009], 1 << 16), q([1, 5], 0.0008), q([1, 5], 2.0 ** -15), q([1, 5], 1 / 256, None, T.INT8, -128)]
    ops = [(B.CONV_2D, opt("Conv2DOptions", padding=0, strideH=2, strideW=2, dilationHFactor=1, dilationWFactor=1, fusedActivationFunction=A.RELU), [1, 2, 3], [4]),
           (B.DEPTHWISE_CONV_2D, opt("DepthwiseConv2DOptions", padding=0, strideH=1, strideW=1, depthMultiplier=1), [4, 5, 6], [7]),
           (B.ADD, opt("AddOptions"), [4, 7], [8]),
           (B.MAX_POOL_2D, opt("Pool2DOptions", padding=1, strideH=2, strideW=2, filterHeight=2, filterWidth=2), [8], [9]),
           (B.RESHAPE, opt("ReshapeOptions", newShape=[1, 48]), [9, 11], [10]),
           (B.FULLY_CONNECTED, opt("FullyConnectedOptions"), [10, 12, 13], [14]),
           (B.SOFTMAX, opt("SoftmaxOptions", beta=1.0), [14], [15])]
    if ends_in_int8:
        ops = [(B.QUANTIZE, opt("QuantizeOptions"), [0], [1]), *ops, (B.QUANTIZE, opt("QuantizeOptions"), [15], [16])]
    net(name, t, ops, [16 if ends_in_int8 else 15], 6)

residual("network", False)
residual("network_int8_ends", True)
print(len(done), "made,", len(refused), "refused")
