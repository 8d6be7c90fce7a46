import pytest


@pytest.fixture(scope="session")
def demo_data(tmp_path_factory):
    """A folder that the generated pictures are kept in for all tests."""
    return tmp_path_factory.mktemp("demo_data")
