#!/usr/bin/env bash
# SimpleITK 2.5.7 refuses a NIfTI whose sform alone is set and shears by 0.0005; with a qform beside it reads the file.
#
# Guess beforehand: a sform whose axes miss the right angle by 0.0005 (a quarter of a voxel at 512 voxels) is read as it is.
# Seen: SimpleITK raises (it finds no orthonormal definition); nibabel reads the file. With the same sform and a qform of the
# same code that does not shear it is read, and the directions are the qform's: the sform is passed over without a word. With a
# shear of 0.0001 and less the directions are the sform's in both files, shear and all. So one field decides whether a file
# opens and where its voxels lie, and the size of a rounding decides which field.
# Who meets it: volumes whose matrix went through a registration or single-precision arithmetic, with the qform code 0.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check SimpleITK==2.5.7 nibabel==5.4.2 numpy==2.4.6

cat > "$folder/show.py" <<'END'
import sys
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK

SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
print("SimpleITK", SimpleITK.Version_VersionString())
for shear in (0.0, 1e-6, 1e-5, 1e-4, 5e-4):
    told = []
    for qform in (0, 1):
        affine = np.diag([-1.0, -1.0, 2.0, 1.0])
        affine[0, 1] = shear
        image = nibabel.Nifti1Image(np.zeros((4, 3, 2), np.int16), affine)
        image.header.set_sform(affine, code=1)
        image.header.set_qform(np.diag([-1.0, -1.0, 2.0, 1.0]), code=qform)
        path = Path(sys.argv[1], f"{shear}-{qform}.nii")
        nibabel.save(image, path)
        assert nibabel.load(path).get_fdata().shape == (4, 3, 2)
        try:
            direction = SimpleITK.ReadImage(str(path)).GetDirection()
            told.append("read" if direction == (1, 0, 0, 0, 1, 0, 0, 0, 1) else f"read, {direction[1]:.6f} sheared")
        except RuntimeError:
            told.append("refused")
    print(f"shear {shear:g}: sform alone {told[0]}, with a qform {told[1]}")
END
cat > "$folder/expected" <<'END'
SimpleITK 2.5.7
shear 0: sform alone read, with a qform read
shear 1e-06: sform alone read, -0.000001 sheared, with a qform read, -0.000001 sheared
shear 1e-05: sform alone read, -0.000010 sheared, with a qform read, -0.000010 sheared
shear 0.0001: sform alone read, -0.000100 sheared, with a qform read, -0.000100 sheared
shear 0.0005: sform alone refused, with a qform read
END

"$folder/env/bin/python" "$folder/show.py" "$folder" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen" && echo "as described"
