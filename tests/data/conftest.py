import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for shared, coco_folder


@pytest.fixture
def folder(tmp_path):
    from coco_folder import CocoFolder

    return CocoFolder(tmp_path / "set")
