#!/usr/bin/env bash
# pydicom 3.0.2 cannot read the RLE that it has written itself where 16 bits are allocated and 8 or fewer are stored.
#
# Guess beforehand: what Dataset.compress(RLELossless) writes reads back equal, whatever the number of bits stored.
# Seen: with BitsAllocated 16 and BitsStored 1 or 8 the pixels are compressed without a word, and decoding them raises: they
# come out as 36 bytes where 72 are expected. With 9, 12 and 16 bits
# stored they are equal. Uncompressed, all are read.
# Who meets it: label maps in DICOM (few bits stored in 16), compressed on the way to an archive.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 numpy==2.4.6

cat > "$folder/show.py" <<'END'
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, SecondaryCaptureImageStorage

print("pydicom", pydicom.__version__)
for stored in (1, 8, 9, 12, 16):
    labels = (np.arange(72).reshape(9, 8) % 2).astype("<u2")
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    one.Rows, one.Columns = labels.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, stored, stored - 1, 0
    one.PixelData = labels.tobytes()
    plain = bool((one.pixel_array == labels).all())
    one.compress(RLELossless)
    try:
        packed = "equal" if (one.pixel_array == labels).all() else "other values"
    except Exception as error:
        packed = type(error).__name__
    print(f"{stored} bits stored: uncompressed {'equal' if plain else 'other values'}, RLE {packed}")
END

cat > "$folder/expected" <<'END'
pydicom 3.0.2
1 bits stored: uncompressed equal, RLE RuntimeError
8 bits stored: uncompressed equal, RLE RuntimeError
9 bits stored: uncompressed equal, RLE equal
12 bits stored: uncompressed equal, RLE equal
16 bits stored: uncompressed equal, RLE equal
END

"$folder/env/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as described"
