"""Times calls on the GPU: events, inputs rotated past the cache, medians."""

from __future__ import annotations

import statistics

import torch

ROUNDS = 30
MAX_COPIES = 64
HEAD_START = 400_000  # cycles in which the host may queue a call before the clock starts


def copies_past_cache(tensors):
    """A list of copies of the tensors, so many that a call finds none of them in the L2 cache."""
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    count = min(max(2 * cache // max(size, 1) + 2, 2), MAX_COPIES)
    return [tensors, *([tensor.clone() for tensor in tensors] for _ in range(count - 1))]


def median_ms(function, copies, rounds=ROUNDS):
    """Median time of function(*inputs), each round on other copies of the inputs."""
    for inputs in copies[:2]:
        function(*inputs)
    torch.cuda.synchronize()
    pairs = []
    for number in range(rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(HEAD_START)
        begin.record()
        result = function(*copies[number % len(copies)])
        end.record()
        del result
        pairs.append((begin, end))
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in pairs)


def copy_bandwidth():
    """GB/s, read and written bytes both counted, of a copy of 1 GB within the card."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / median_ms(target.copy_, [[source], [source]]) / 1e6
