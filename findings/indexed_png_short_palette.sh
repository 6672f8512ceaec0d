#!/usr/bin/env bash
# Pillow 13.0.0 writes an indexed PNG whose palette has fewer entries than its pixels use, and changes the pixels.
#
# Guess beforehand: an index without a palette entry is kept, as in memory, or refused when the file is written.
# Seen: the number of bits of a pixel is taken from the length of the palette, not from the pixels. With two entries a pixel
# has one bit, and every index above 0 is stored as 1: labels 0 1 2 3 become 0 1 1 1. With three entries it has two bits, and
# label 4 becomes 0. Nothing is raised or warned of: a mask of several classes has other classes after it was written.
# Who meets it: masks in mode P whose palette names the classes of another data set, or background and one class.
# What helps: save the mask in mode L, or give the palette 256 entries.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6

cat > "$folder/show.py" <<'END'
import io

import numpy as np
import PIL
from PIL import Image

labels = np.repeat(np.arange(5, dtype=np.uint8), 8).reshape(5, 8)
print("Pillow", PIL.__version__)
for n_entries in (2, 3, 5, 256):
    image = Image.fromarray(labels).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([value for entry in range(n_entries) for value in (entry, 255 - entry, 0)])
    file = io.BytesIO()
    image.save(file, "png")
    again = np.asarray(Image.open(io.BytesIO(file.getvalue())))
    print(n_entries, "entries:", np.asarray(image)[:, 0].tolist(), "->", again[:, 0].tolist())
END

cat > "$folder/expected" <<'END'
Pillow 13.0.0
2 entries: [0, 1, 2, 3, 4] -> [0, 1, 1, 1, 1]
3 entries: [0, 1, 2, 3, 4] -> [0, 1, 2, 3, 0]
5 entries: [0, 1, 2, 3, 4] -> [0, 1, 2, 3, 4]
256 entries: [0, 1, 2, 3, 4] -> [0, 1, 2, 3, 4]
END

"$folder/env/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as described"
