import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # small_weights.py


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    from small_weights import write_small_weights

    return write_small_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def exported(weights, tmp_path_factory):
    """The folder of an export of these weights; not to be changed."""
    from htc.deploy import write_export
    from htc.deploy.sources import open_source

    source = open_source(weights)
    folder = tmp_path_factory.mktemp("exports") / "small"
    return write_export(folder, source.build(), source.config, source.class_names)
