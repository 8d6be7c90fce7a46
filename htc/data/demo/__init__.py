"""The demo data set: generated, so that training can be tried without any download."""

from htc.data.demo.making import demo_paths, make_demo

__all__ = ["demo_paths", "make_demo"]
