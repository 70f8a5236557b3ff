"""Sizes of the patches from one file to another in every mode of detools that has them, and of the new file alone.

Usage: detools_sizes.py OLD NEW; prints one `name bytes` a line. A mode that fails is left out.
"""

import io
import lzma
import sys

import detools


def patch(old, new, **options):
    out = io.BytesIO()
    detools.create_patch(io.BytesIO(old), io.BytesIO(new), out, **options)
    return len(out.getvalue())


def main():
    old, new = (open(path, "rb").read() for path in sys.argv[1:3])
    compressions = ["none", "crle", "heatshrink", "lzma", "bz2", "zstd", "lz4"]
    modes = [(f"sequential {name}", dict(compression=name)) for name in compressions]
    modes += [
        (f"hdiffpatch {name}", dict(compression=name, patch_type="hdiffpatch", algorithm="hdiffpatch"))
        for name in compressions
    ]
    room = 4096 * (max(len(old), len(new)) // 4096 + 8)
    modes += [
        (
            f"in-place {name}",
            dict(compression=name, patch_type="in-place", memory_size=room, segment_size=4096, minimum_shift_size=4096),
        )
        for name in ("crle", "heatshrink")
    ]
    for name, options in modes:
        try:
            print(name.replace(" ", "-"), patch(old, new, **options))
        except Exception as error:  # a mode that this build of detools lacks
            print(name, error, file=sys.stderr)
    print("xz", len(lzma.compress(new, check=lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME)))


main()
