"""Trained networks as Paddle Inference programs: written, checked, run, and kept for the next time.

write_export("exported", model, config, class_names)
network = ExportedNetwork("exported")          # or htc.Predictor("exported")
"""

from htc.deploy.cache import cached_export
from htc.deploy.errors import ExportError
from htc.deploy.manifest import MANIFEST, Manifest, is_export, read_manifest
from htc.deploy.network import ExportedNetwork
from htc.deploy.processor import computes_bfloat16
from htc.deploy.writing import write_export

__all__ = [
    "MANIFEST",
    "ExportError",
    "ExportedNetwork",
    "Manifest",
    "cached_export",
    "computes_bfloat16",
    "is_export",
    "read_manifest",
    "write_export",
]
