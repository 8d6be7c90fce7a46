"""Trained networks as Paddle Inference programs: written, checked, run, and kept for the next time.

write_export("exported", model, config, class_names)
network = ExportedNetwork("exported")          # or htc.Predictor("exported")
"""

from importlib import import_module

# Loaded when first used: commands set the threads before Paddle is imported.
_HOMES = {
    "ExportError": "errors",
    "ExportedNetwork": "network",
    "MANIFEST": "manifest",
    "Manifest": "manifest",
    "PredictorPool": "pool",
    "cached_export": "cache",
    "computes_bfloat16": "processor",
    "is_export": "manifest",
    "read_manifest": "manifest",
    "write_export": "writing",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'htc.deploy' has no attribute {name!r}")
    return getattr(import_module(f"htc.deploy.{_HOMES[name]}"), name)
