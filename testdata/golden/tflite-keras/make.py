#!/usr/bin/env python3
"""Makes the networks of this folder with Keras and TensorFlow's converter: layers as users meet them.

`pip install tensorflow-cpu`; made with tensorflow 2.21.0, keras 3.15.1. Usage: make.py FOLDER. `cases.py` adds the cases.
"""
import os; os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"; os.environ["CUDA_VISIBLE_DEVICES"] = ""
import sys, tempfile
import numpy as np, tensorflow as tf
from tensorflow.keras import layers as L
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2 as frozen

tf.random.set_seed(1); np.random.seed(1)
OUT = sys.argv[1]

def convert(name, model, *shapes, ends=tf.int8, dynamic=False):
    if dynamic:  # The batch is not known, as in a model that is saved whole.
        folder = tempfile.mkdtemp(); model.export(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    else:
        call = tf.function(lambda *x: model(list(x) if len(x) > 1 else x[0]))
        specs = [tf.TensorSpec([1, *shape], tf.float32) for shape in shapes]
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen(call.get_concrete_function(*specs))])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.random.randn(1, *shape).astype(np.float32) for shape in shapes] for _ in range(50))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if ends is not None: converter.inference_input_type = converter.inference_output_type = ends
    open(f"{OUT}/{name}.tflite", "wb").write(converter.convert())

def row(*layers): return tf.keras.Sequential(list(layers))
def lambda_layer(function): return type("Own", (L.Layer,), dict(call=lambda self, x: function(x)))()

S = (12, 5)
convert("gru_unrolled", row(L.Input(S, batch_size=1), L.GRU(8, unroll=True), L.Dense(3, activation="softmax")), S)
convert("lstm_unrolled", row(L.Input(S, batch_size=1), L.LSTM(8, unroll=True), L.Dense(3)), S)
convert("rnn_unrolled", row(L.Input(S, batch_size=1), L.SimpleRNN(8, unroll=True), L.Dense(3)), S)
convert("tcn", row(L.Input((32, 4)), L.Conv1D(6, 3, padding="causal", activation="relu"), L.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu"), L.Conv1D(6, 3, padding="same", dilation_rate=4), L.GlobalAveragePooling1D(), L.Dense(2)), (32, 4))
convert("tcn_dynamic", row(L.Input((32, 4)), L.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu"), L.Flatten(), L.Dense(2)), (32, 4), dynamic=True)
convert("conv1d_pool", row(L.Input((32, 4)), L.Conv1D(6, 3, strides=2, activation="relu"), L.MaxPooling1D(2), L.BatchNormalization(), L.SeparableConv1D(8, 3), L.Flatten(), L.Dense(2, activation="sigmoid")), (32, 4), dynamic=True)
convert("dilated2d", row(L.Input((16, 16, 3)), L.Conv2D(4, 3, dilation_rate=2, padding="same", activation="relu"), L.DepthwiseConv2D(3, dilation_rate=2, depth_multiplier=2), L.Conv2D(6, 3, dilation_rate=(1, 3)), L.GlobalMaxPooling2D(), L.Dense(2)), (16, 16, 3))
convert("grouped", row(L.Input((8, 8, 4)), L.Conv2D(8, 3, groups=2, activation="relu6", padding="same"), L.Conv2D(8, 1, groups=4), L.Flatten(), L.Dense(3)), (8, 8, 4))
i = L.Input((6, 8)); a = L.LayerNormalization()(L.MultiHeadAttention(2, 4)(i, i) + i)
convert("attention", tf.keras.Model(i, L.Dense(3)(L.GlobalAveragePooling1D()(a))), (6, 8))
i = L.Input((16,)); h = L.Dense(8, activation="relu")(i)
convert("two_outputs", tf.keras.Model(i, [L.Dense(3, activation="softmax")(h), L.Dense(1)(h)]), (16,))
i = [L.Input((8,)), L.Input((4,))]
convert("two_inputs", tf.keras.Model(i, L.Dense(2)(L.Concatenate()([L.Dense(4)(i[0]), i[1]]))), (8,), (4,))
convert("argmax", row(L.Input((16,)), L.Dense(5), lambda_layer(lambda x: tf.argmax(x, -1, output_type=tf.int32))), (16,))
picture = lambda: row(L.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu"), L.Flatten(), L.Dense(3, activation="softmax"))
convert("float_ends", picture(), (8, 8, 3), ends=None, dynamic=True)
convert("uint8_ends", picture(), (8, 8, 3), ends=tf.uint8, dynamic=True)
convert("l2norm", row(L.Input((16,)), L.Dense(6), lambda_layer(lambda x: tf.math.l2_normalize(x, -1))), (16,))
def standard(x):
    mean = tf.reduce_mean(x, -1, keepdims=True); spread = tf.reduce_mean(tf.math.squared_difference(x, mean), -1, keepdims=True)
    return (x - mean) * tf.math.rsqrt(spread + 0.01)
convert("layernorm_by_hand", row(L.Input((6, 16)), L.Dense(6), lambda_layer(standard)), (6, 16))
