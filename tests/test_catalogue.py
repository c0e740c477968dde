"""docs/quantities.md is what the tables in factors/ generate."""

import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

DOCS = Path(__file__).parent.parent / "docs"


def test_the_catalogue_is_up_to_date():
    generated = runpy.run_path(str(DOCS / "quantities.py"))["catalogue"]()
    assert (DOCS / "quantities.md").read_text(encoding="utf-8") == generated, "run: python docs/quantities.py"
