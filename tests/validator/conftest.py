from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def dst_data() -> Path:
    """The folder of real Dst files, which lies beside the checkout."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "dst"
    if not folder.is_dir():
        pytest.skip("the real Dst files (../shared/data/dst) are not here")
    return folder
