#!/usr/bin/env python3
"""Makes the files of this folder: each is wrong in one way, which `refusals.txt` tells as the importer does.

All but `long_axis.tflite`, which a fuzzer made: an axis of more places than memory holds.

`pip install ai-edge-litert numpy flatbuffers`. Usage: make.py FOLDER
"""
import os, struct, sys
import flatbuffers, numpy as np
from ai_edge_litert import schema_py_generated as S

OUT = sys.argv[1]
B, T = S.BuiltinOperator, S.TensorType

def tensor(name, shape, scales=(0.05,), zero=3, data=None, kind=T.INT8, axis=0):
    return dict(name=name, shape=shape, scales=scales, zero=zero, data=data, kind=kind, axis=axis)

def sound():
    """One convolution between an input and an output."""
    weights = (np.arange(4 * 9 * 2) % 200 - 100).astype(np.int8)
    tensors = [tensor("input", [1, 5, 6, 2]), tensor("filter", [4, 3, 3, 2], (0.01, 0.02, 0.03, 0.04), 0, weights),
               tensor("bias", [4], (0.0005, 0.001, 0.0015, 0.002), 0, np.array([1, 2, 3, 4], np.int32), T.INT32), tensor("output", [1, 5, 6, 4], (0.1,), -4)]
    conv = S.Conv2DOptionsT(); conv.padding = 0; conv.strideH = conv.strideW = 1; conv.dilationHFactor = conv.dilationWFactor = 1
    return dict(version=3, tensors=tensors, ops=[(B.CONV_2D, ("Conv2DOptions", conv), [0, 1, 2], [3])], inputs=[0], outputs=[3], graphs=1, custom=None)

def bytes_of(net):
    m = S.ModelT(); m.version = net["version"]; m.description = ""; m.buffers = [S.BufferT()]; m.operatorCodes = []; m.subgraphs = []
    g = S.SubGraphT(); g.tensors = []; g.operators = []; g.inputs = net["inputs"]; g.outputs = net["outputs"]
    shared = {}
    for t in net["tensors"]:
        x = S.TensorT(); x.name = t["name"]; x.shape = t["shape"]; x.type = t["kind"]; x.buffer = 0
        if t["scales"] is not None:
            p = S.QuantizationParametersT(); p.scale = list(t["scales"]); p.zeroPoint = [t["zero"]] * len(t["scales"]); p.quantizedDimension = t["axis"]
            x.quantization = p
        if t["data"] is not None:
            if id(t["data"]) not in shared:
                b = S.BufferT(); b.data = np.frombuffer(t["data"].tobytes(), np.uint8); shared[id(t["data"])] = len(m.buffers); m.buffers.append(b)
            x.buffer = shared[id(t["data"])]
        g.tensors.append(x)
    for code, options, inputs, outputs in net["ops"]:
        c = S.OperatorCodeT(); c.builtinCode = code; c.deprecatedBuiltinCode = min(code, 127); c.version = 1
        if code == B.CUSTOM: c.customCode = net["custom"]
        o = S.OperatorT(); o.opcodeIndex = len(m.operatorCodes); m.operatorCodes.append(c); o.inputs = inputs; o.outputs = outputs
        if options: o.builtinOptionsType = getattr(S.BuiltinOptions, options[0]); o.builtinOptions = options[1]
        g.operators.append(o)
    m.subgraphs = [g] * net["graphs"]
    b = flatbuffers.Builder(1024); b.Finish(m.Pack(b), b"TFL3")
    return bytes(b.Output())

def write(name, data): open(os.path.join(OUT, name + ".tflite"), "wb").write(data)

def bad(name, change):
    net = sound(); change(net); write(name, bytes_of(net))

def set_tensor(index, **fields): return lambda net: net["tensors"][index].update(fields)
def set_net(**fields): return lambda net: net.update(fields)

whole = bytes_of(sound())
write("cut", whole[:len(whole) * 2 // 3])
write("offset_beyond", struct.pack("<I", 1 << 31) + whole[4:])
bad("version_4", set_net(version=4))
bad("no_graph", set_net(graphs=0))
bad("two_graphs", set_net(graphs=2))
bad("no_output", set_net(outputs=[]))
bad("tensor_beyond", set_net(inputs=[99]))
def cycle(net):
    net["tensors"].append(tensor("later", [1, 5, 6, 4], (0.1,), -4))
    net["ops"] = [(B.RELU, None, [4], [3]), (B.RELU, None, [3], [4])]
bad("cycle", cycle)
def twice(net): net["ops"] = net["ops"] * 2
bad("made_twice", twice)
bad("zero_dimension", set_tensor(0, shape=[1, 0, 6, 2]))
bad("negative_dimension", set_tensor(0, shape=[1, -5, 6, 2]))
bad("huge_dimension", set_tensor(0, shape=[1, 2147483647, 6, 2]))
bad("overflowing_dimensions", set_tensor(3, shape=[60000, 60000, 60000, 60000]))
bad("huge_activation", set_tensor(3, shape=[1, 60000, 60000, 4]))
bad("other_shape", set_tensor(3, shape=[1, 5, 6, 5]))
bad("short_filter", set_tensor(1, data=np.zeros(7, np.int8)))
bad("filter_without_data", set_tensor(1, data=None))
bad("no_scale", set_tensor(0, scales=None))
bad("scale_0", set_tensor(0, scales=(0.0,)))
bad("scale_not_a_number", set_tensor(3, scales=(float("nan"),)))
bad("scale_negative", set_tensor(3, scales=(-0.5,)))
bad("zero_point_300", set_tensor(3, zero=300))
bad("three_filter_scales", set_tensor(1, scales=(0.1, 0.2, 0.3)))
bad("filter_zero_point", set_tensor(1, zero=5))
bad("scales_along_input", set_tensor(1, axis=3))
bad("bias_of_three", set_tensor(2, data=np.array([1, 2, 3], np.int32)))
bad("float_network", lambda net: [t.update(kind=T.FLOAT32, scales=None) for t in net["tensors"]])
bad("string_input", set_tensor(0, kind=T.STRING))
def replace(code, custom=None): return lambda net: net.update(ops=[(code, None, [0, 1, 2], [3])], custom=custom)
bad("custom", replace(B.CUSTOM, "TFLite_Detection_PostProcess"))
bad("unknown_operator", replace(9999))
bad("where", replace(B.WHERE))
def no_inputs(net): net["ops"] = [(B.CONV_2D, net["ops"][0][1], [], [3])]
bad("no_inputs", no_inputs)
def stride_0(net): net["ops"][0][1][1].strideH = 0
bad("stride_0", stride_0)
def several(net):
    net["tensors"] += [tensor("a", [1, 5, 6, 4], (0.1,), -4), tensor("b", [1, 5, 6, 4], (0.1,), -4)]
    net["ops"] += [(B.WHILE, None, [3], [4]), (B.DIV, None, [3, 4], [5])]; net["outputs"] = [5]
bad("several_at_once", several)
def bomb(net):
    # A constant of 40 kB that sixty operators share.
    big = np.zeros(40000, np.int8)
    net["tensors"] = [tensor("input", [1, 200]), tensor("filter", [200, 200], (0.1,), 0, big)] + [tensor(f"t{n}", [1, 200]) for n in range(60)]
    net["ops"] = [(B.FULLY_CONNECTED, None, [max(n + 1, 2) - 1 if n else 0, 1, -1], [n + 2]) for n in range(60)]; net["outputs"] = [61]
    net["ops"] = [(code, options, [0 if n == 0 else n + 1, 1, -1], outputs) for n, (code, options, _, outputs) in enumerate(net["ops"])]
bad("shared_constant", bomb)
