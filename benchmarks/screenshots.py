"""Pictures of the report of the published star in a browser, for docs/report.md and the README.

    uv run python -m benchmarks.screenshots    # needs chromium or google-chrome

Writes docs/images/report.png (a screen, light) and docs/images/report_phone.png (a phone, dark).
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from vitscale.report.page import write_page
from vitscale.report.published import published_page

IMAGES = Path(__file__).parents[1] / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Write the page, open it, and keep what is seen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.parse_args()
    from playwright.sync_api import sync_playwright

    browser_path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "report.html"
        write_page(published_page(), page_file)
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        for name, width, height, scheme in (
            ("report.png", 1080, 760, "light"),
            ("report_phone.png", 380, 760, "dark"),
        ):
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page.goto(page_file.as_uri())
            page.screenshot(path=IMAGES / name)
        browser.close()


if __name__ == "__main__":
    main()
