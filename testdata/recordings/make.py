#!/usr/bin/env python3
"""Makes the recordings of this folder: one small file for each format that tinyops-data reads.

Python 3 and its standard library; run it in this folder. The signal is the same in all of them: channel x is the sine of
reading / 4, channel y its negative half, 16 readings (8 in the images).
"""
import gzip
import hashlib
import hmac
import io
import json
import math
import struct
import wave
import zlib

X = [round(math.sin(i / 4), 6) for i in range(16)]
Y = [round(-v / 2, 6) for v in X]


def put(name, data):
    with open(name, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


def pack(data):
    packed = io.BytesIO()
    # No time and no name in the header: the same bytes on every run.
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as file:
        file.write(data.encode())
    return packed.getvalue()


rows = list(zip(X, Y))
put("plain.csv", "".join(f"{x}, {y}\n" for x, y in rows))
put("header.csv", "timestamp,x,y,label\n" + "".join(f"{10 * i},{x},{y},{'up' if i < 5 else 'down'}\n" for i, (x, y) in enumerate(rows)))
put("comma.csv", "t;x;y\r\n" + "".join(f"{i};{x};{y}\r\n".replace(".", ",") for i, (x, y) in enumerate(rows)))
put("engines.txt", "".join(f"{i // 8 + 1} {i % 8 + 1} {x} {y}  \n" for i, (x, y) in enumerate(rows)))
lines = "".join(" ".join(f"{v: .7e}" for v in row) + "\n" for row in (X, Y, X[::-1]))
put("lines.txt", lines)
put("lines.txt.gz", pack(lines))


def wav(width, channels):
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(8000)
        for row in rows:
            for value in row[:channels]:
                scaled = int(value * (2 ** (8 * width - 1) - 1))
                file.writeframes(bytes([scaled + 128]) if width == 1 else scaled.to_bytes(width, "little", signed=True))
    return data.getvalue()


put("mono8.wav", wav(1, 1))
put("mono16.wav", wav(2, 1))
put("stereo24.wav", wav(3, 2))
floats = struct.pack("<16f", *X)
put("float32.wav", b"RIFF" + struct.pack("<I", 36 + len(floats)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 32000, 4, 32) + b"data" + struct.pack("<I", len(floats)) + floats)


def element(kind, body):
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8 if kind != 15 else 0)


def matrix(name, values):
    return element(14, element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", len(values), 1)) + element(1, name.encode()) + element(9, struct.pack(f"<{len(values)}d", *values)))


head = b"MATLAB 5.0 MAT-file, made by testdata/recordings/make.py".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
variables = [("X001_DE_time", X), ("X001_FE_time", Y), ("X001RPM", [1797.0])]
put("plain.mat", head + b"".join(matrix(*variable) for variable in variables))
put("packed.mat", head + b"".join(element(15, zlib.compress(matrix(*variable))) for variable in variables))

pixels = [int(127 * (v + 1)) for v in X]
put("two-images-idx3-ubyte", struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 2, 4) + bytes(pixels))
put("two-labels-idx1-ubyte", struct.pack(">BBBBI", 0, 0, 8, 1, 2) + bytes([3, 8]))

KEY = b"not-a-secret-but-a-key-for-tests"


def message(signature):
    return {
        "protected": {"ver": "v1", "alg": "HS256", "iat": 1700000000},
        "signature": signature,
        "payload": {
            "device_name": "00:00:00:00:00:01",
            "device_type": "TEST",
            "interval_ms": 10,
            "sensors": [{"name": "x", "units": "g"}, {"name": "y", "units": "g"}],
            "values": [list(row) for row in rows],
        },
    }


def cbor(value, streamed=False):
    def number(major, n):
        if n < 24:
            return bytes([major << 5 | n])
        width = next(w for w in (1, 2, 4, 8) if n < 256**w)
        return bytes([major << 5 | 23 + width.bit_length()]) + n.to_bytes(width, "big")

    if isinstance(value, dict):
        return number(5, len(value)) + b"".join(cbor(k) + cbor(v, k == "values") for k, v in value.items())
    if isinstance(value, list):
        items = b"".join(cbor(v) for v in value)
        return b"\x9f" + items + b"\xff" if streamed else number(4, len(value)) + items
    if isinstance(value, str):
        return number(3, len(value)) + value.encode()
    if isinstance(value, int):
        return number(0, value)
    return b"\xfb" + struct.pack(">d", value)


for name, encode in [("sample.json", lambda m: json.dumps(m, separators=(",", ":")).encode()), ("sample.cbor", cbor)]:
    zeros = encode(message("0" * 64))
    signed = encode(message(hmac.new(KEY, zeros, hashlib.sha256).hexdigest()))
    put(name, signed)
put("HMAC_KEY.txt", KEY + b"\n")
put("info.labels", json.dumps({"version": 1, "files": [{"path": "sample.json", "category": "testing", "label": {"type": "label", "label": "sine"}}]}))
