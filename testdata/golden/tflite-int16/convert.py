#!/usr/bin/env python3
"""Makes networks of this folder with TensorFlow's converter, and their outputs by TFLM's own kernels.

`converter` has int16 ends, `converter_float_ends` real ones. The converter's files differ from run to
run, so these two are kept as they are; made with tensorflow 2.21.0 and tflite-micro
0.dev20261023182759. Usage: convert.py networks FOLDER (needs tensorflow), then convert.py cases FOLDER
(needs tflite-micro).
"""
import base64, json, sys
import numpy as np

STEP, OUT = sys.argv[1:]
NAMES = {"converter": np.int16, "converter_float_ends": np.float32}
SHAPE = (1, 12, 10, 1)


def networks():
    import tensorflow as tf

    tf.keras.utils.set_random_seed(11)
    L = tf.keras.layers
    x = i = L.Input(SHAPE[1:], batch_size=1)
    x = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)))
    y = L.Conv2D(8, 1, activation="relu6")(L.DepthwiseConv2D(3, padding="same")(x))
    x = L.Add()([x, y])
    z = L.AveragePooling2D(2)(x)
    x = L.LeakyReLU(negative_slope=0.1)(L.Concatenate()([L.MaxPooling2D(2)(x), z]))
    g = L.Dense(16, activation="sigmoid")(L.GlobalAveragePooling2D()(x))
    x = L.Flatten()(L.Multiply()([x, L.Reshape((1, 1, 16))(g)]))
    x = L.Softmax()(L.Dense(5)(L.Dense(12, activation="tanh")(x)))
    model = tf.keras.Model(i, x)
    rng = np.random.default_rng(3)
    for v in model.weights:
        if "moving_variance" in v.path:
            v.assign(rng.uniform(0.5, 2, v.shape))
        elif v.path.endswith("bias") or "beta" in v.path or "moving_mean" in v.path:
            v.assign(rng.normal(0, 0.2, v.shape))
    for name, ends in NAMES.items():
        c = tf.lite.TFLiteConverter.from_keras_model(model)
        c.optimizations = [tf.lite.Optimize.DEFAULT]
        c.representative_dataset = lambda: ([rng.normal(0, 1, SHAPE).astype(np.float32)] for _ in range(50))
        c.target_spec.supported_ops = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
        c.inference_input_type = c.inference_output_type = tf.as_dtype(ends)
        open(f"{OUT}/{name}.tflite", "wb").write(c.convert())


def cases():
    from tflite_micro.python.tflite_micro import runtime

    encode = lambda array: [base64.b64encode(array.tobytes()).decode()]
    for name, kind in NAMES.items():
        model, rng, made = open(f"{OUT}/{name}.tflite", "rb").read(), np.random.default_rng(9), []
        for n in range(6):
            x = rng.normal(0, 1 + n / 2, SHAPE) if kind == np.float32 else rng.integers(-32768, 32768, SHAPE)
            interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
            interpreter.set_input(x.astype(kind), 0)
            interpreter.invoke()
            outputs = encode(interpreter.get_output(0))
            made.append(dict(name=f"{name} {n}", inputs=encode(x.astype(kind)), outputs=outputs))
        file = dict(model=name + ".tflite", tolerance=0, cases=made)
        json.dump(file, open(f"{OUT}/{name}.cases.json", "w"), indent=1)


networks() if STEP == "networks" else cases()
