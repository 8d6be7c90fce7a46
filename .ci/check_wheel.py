"""Fails when a wheel holds anything but the packages' own files and one compiled library."""

import subprocess
import sys
import zipfile

wheel = sys.argv[1]
tracked = set(
    subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.split()
)
names = zipfile.ZipFile(wheel).namelist()
own = [name for name in names if ".dist-info/" not in name]
libraries = [name for name in own if name.endswith(".so")]
strange = [name for name in own if name not in tracked and name not in libraries]
missing = [
    name
    for name in tracked
    if name.startswith(("htc/", "htc_ops/")) and name.endswith((".py", ".yml")) and name not in own
]
print(f"{wheel}: {len(own)} files, library {libraries}")
if libraries != ["htc_ops/libhtc_ops.so"] or strange or missing:
    sys.exit(f"not expected in the wheel: {strange}; missing from it: {missing}")
