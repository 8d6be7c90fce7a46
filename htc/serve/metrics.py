"""Counts of what the service did, in the text format that Prometheus reads."""

from __future__ import annotations

import threading
from collections import Counter


class Metrics:
    """Counters; may be used from any thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self._responses: Counter[int] = Counter()
        self._detections = 0
        self._seconds = 0.0

    def answered(self, status: int, seconds: float = 0.0, detections: int = 0) -> None:
        """Count one answer to POST /detect."""
        with self._lock:
            self._responses[status] += 1
            self._detections += detections
            self._seconds += seconds

    def text(self, waiting: int, batches: int) -> str:
        """All of them, and the gauges given."""
        with self._lock:
            lines = ["# TYPE htc_requests_total counter"]
            lines += [
                f'htc_requests_total{{status="{status}"}} {count}'
                for status, count in sorted(self._responses.items())
            ]
            values = [
                ("htc_detections_total", "counter", self._detections),
                ("htc_request_seconds_total", "counter", round(self._seconds, 6)),
                ("htc_batches_total", "counter", batches),
                ("htc_queue_length", "gauge", waiting),
            ]
        for name, kind, value in values:
            lines += [f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"
