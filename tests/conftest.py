"""Keeps what the tests export out of the user's cache."""

import os

import pytest


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
