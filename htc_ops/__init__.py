"""Operators of instance segmentation for PaddlePaddle, on CPU and GPU."""

from htc_ops._library import get_num_threads, set_num_threads
from htc_ops.box_codec import decode_boxes, encode_boxes

__all__ = ["decode_boxes", "encode_boxes", "get_num_threads", "set_num_threads"]
