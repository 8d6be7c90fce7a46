"""Keeps what the tests export out of the user's cache, and their runs from changing one another."""

import os

import pytest

THREADS = os.environ.get("HTC_OPS_NUM_THREADS")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """A cache folder of the session's own, for this process and those that tests start."""
    before = os.environ.get("HTC_CACHE")
    os.environ["HTC_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["HTC_CACHE"]
    else:
        os.environ["HTC_CACHE"] = before


@pytest.fixture(autouse=True)
def own_threads():
    """runtime.threads of a run in this process does not reach what later tests start."""
    yield
    if THREADS is None:
        os.environ.pop("HTC_OPS_NUM_THREADS", None)
    else:
        os.environ["HTC_OPS_NUM_THREADS"] = THREADS
