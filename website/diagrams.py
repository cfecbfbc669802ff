"""Mermaid diagrams, drawn beforehand: GitHub draws them itself, the site shows the same as SVG without a script.

uv run python website/diagrams.py     # draws those that docs/ has and website/diagrams lacks

needs npm (for Mermaid) and Chromium, which the build of the site does not.
"""

import hashlib
import html
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "website" / "diagrams"
_FENCE = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_MERMAID = "mermaid@11"


def sources(markdown: str) -> list[str]:
    """The diagrams of a page."""
    return _FENCE.findall(markdown)


def path_of(source: str) -> Path:
    """Where the drawing of a diagram is kept, by its content."""
    return FOLDER / f"{hashlib.sha256(source.encode()).hexdigest()[:12]}.svg"


def inline(markdown: str) -> str:
    """The page with drawings in place of its diagrams.

    Raises `FileNotFoundError` where one was not drawn yet.
    """

    def drawn(found: re.Match) -> str:
        path = path_of(found[1])
        if not path.exists():
            raise FileNotFoundError(
                f"{path.relative_to(ROOT)} is missing; run `uv run python website/diagrams.py`"
            )
        return f'<div class="diagram">{path.read_text(encoding="utf-8").strip()}</div>'

    return _FENCE.sub(drawn, markdown)


def main() -> None:
    """Draw what is missing, and remove what no page has any more."""
    found = [s for page in sorted((ROOT / "docs").rglob("*.md")) for s in sources(page.read_text())]
    wanted = {path_of(source): source for source in found}
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.svg"):
        if path not in wanted:
            path.unlink()
    missing = {path: source for path, source in wanted.items() if not path.exists()}
    if not missing:
        return
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium on this machine; install it, or draw the diagrams elsewhere")
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(
            ["npm", "install", "--silent", "--prefix", work, _MERMAID],
            check=True,
            stdout=sys.stderr,
        )
        script = Path(work, "node_modules", "mermaid", "dist", "mermaid.min.js")
        for path, source in missing.items():
            path.write_text(_draw(chromium, script, source, path.stem, Path(work)) + "\n")
            print(path.relative_to(ROOT))


def _draw(chromium: str, script: Path, source: str, name: str, work: Path) -> str:
    page = work / "diagram.html"
    page.write_text(
        f"""<!doctype html><meta charset="utf-8"><script src="{script.as_uri()}"></script>
<pre id="source">{html.escape(source)}</pre><div id="out"></div><script>
mermaid.initialize({{startOnLoad: false, htmlLabels: false, flowchart: {{htmlLabels: false, nodeSpacing: 25, rankSpacing: 28, padding: 8,
  subGraphTitleMargin: {{top: 4, bottom: 12}}}},
  theme: "neutral", themeVariables: {{fontSize: "24px"}}, fontFamily: "sans-serif"}});
mermaid.render("d{name}", document.getElementById("source").textContent).then(
  ({{svg}}) => {{ document.getElementById("out").innerHTML = svg; }});
</script>""",
        encoding="utf-8",
    )
    # fmt: off
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000",
               "--dump-dom", page.as_uri()]
    # fmt: on
    dom = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r'<div id="out">(<svg.*?</svg>)</div>', dom, re.DOTALL)
    if found is None:
        raise RuntimeError(f"Mermaid drew nothing of:\n{source}")
    return found[1]


if __name__ == "__main__":
    main()
