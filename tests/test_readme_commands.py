"""Every command of README.md and CONTRIBUTING.md runs as it stands there, or as a comment beside it says."""

import doc_pages
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_command_runs(page, tmp_path):
    doc_pages.run_page(page, tmp_path)
