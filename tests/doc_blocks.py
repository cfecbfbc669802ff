"""Code blocks of the README and of docs/, and how they are run.

Blocks of `sh`, `bash`, `console` and `python` are run, page by page and in order, in a fresh folder that holds what
a clone of the repository does. Of `console` blocks, lines that begin with `$ ` are commands, and what follows each
must be what it prints; `...` stands for any text. A page says in comments right before a block what is special:

    <!-- given: NAME, NAME -->                  what a reader has at that point, by its name in doc_givens.GIVEN
    <!-- instead, as REASON:                    what is run in its place
    COMMANDS -->
    <!-- not run, as REASON; see tests/... -->  what checks it then: a file that names the page

Benchmarks are measured apart, so of their commands only the names and flags are checked. All commands of vitscale, run
or not, must be such that the parser takes them.
"""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUN = ("sh", "bash", "console", "python")
_COMMENTS = re.compile(r"((?:<!--(?:(?!-->).)*-->\s*)*)\Z", re.DOTALL)
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.DOTALL | re.MULTILINE,
)
_BENCHMARK = re.compile(r"\bpython (?:-m benchmarks\.|benchmarks/)(\w+)(?:\.py)?(.*)")
_OURS = re.compile(
    r"(?:^|[;&|(]\s*|\buv run(?: --[\w-]+(?: \w+)?)*\s+|\bsrun\s+)vitscale(?=\s)(.*)"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A code block: where it stands, what it says, and what is to be known before it is run."""

    page: Path
    line: int
    language: str
    text: str
    given: tuple[str, ...] = ()
    instead: str | None = None
    not_run: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README.md, CONTRIBUTING.md and all of docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order.

    Raises `ValueError` for a comment before a block that begins like one of the above but is none.
    """
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        before = _COMMENTS.search(text, 0, fence.start())
        said: dict = {}
        for comment in re.findall(r"<!--(.*?)-->", before[1] if before else "", re.DOTALL):
            said |= _said(comment.strip(), page)
        lines = fence["text"].splitlines()
        found.append(
            Block(
                page=page,
                line=text.count("\n", 0, fence.start()) + 1,
                language=fence["language"],
                text="\n".join(line.removeprefix(fence["indent"]) for line in lines),
                **said,
            )
        )
    return found


def _said(comment: str, page: Path) -> dict:
    if given := re.fullmatch(r"given: (.+)", comment):
        return {"given": tuple(name.strip() for name in given[1].split(","))}
    if instead := re.fullmatch(r"instead, as [^\n]{8,}:\n(.+)", comment, re.DOTALL):
        return {"instead": instead[1]}
    if not_run := re.fullmatch(r"not run, as .{8,}; see (\S+)", comment, re.DOTALL):
        return {"not_run": not_run[1]}
    if re.match(r"(given|instead|not run)\b", comment):
        raise ValueError(f"{page}: this comment says nothing that is understood: {comment}")
    return {}


def our_commands(block: Block) -> Iterator[list[str]]:
    """The arguments of each command of vitscale in a block."""
    for line in _commands_of(block).replace("\\\n", " ").splitlines():
        if found := _OURS.search(line):
            arguments = shlex.split(found[1], comments=True)
            ends = [n for n, word in enumerate(arguments) if re.fullmatch(r"[;&|>]+.*", word)]
            yield arguments[: ends[0]] if ends else arguments


def benchmarks(block: Block) -> Iterator[tuple[str, list[str]]]:
    """The name and the arguments of each benchmark that a block has run."""
    for line in block.text.splitlines():
        if found := _BENCHMARK.search(line):
            yield found[1], shlex.split(found[2], comments=True)


def _commands_of(block: Block) -> str:
    if block.language != "console":
        return block.text
    return "\n".join(command for command, _ in sessions(block.text))


def sessions(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with what it is to print."""
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif found and found[-1][0][-1].endswith("\\") and not found[-1][1]:
            found[-1][0].append(line.removeprefix("> "))
        elif found:
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(output).strip("\n")) for command, output in found]


def clone(folder: Path) -> Path:
    """What a clone holds, as far as a reader's commands need it."""
    folder.mkdir()
    for name in ("vitscale", "benchmarks", "docs", "website", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "pyproject.toml",
        "uv.lock",
        "mkdocs.yml",
    ):
        shutil.copy(ROOT / name, folder / name)
    return folder


def environment(home: Path) -> dict[str, str]:
    """A reader's: an empty home, our vitscale first on the path, nothing from a network."""
    home.mkdir(exist_ok=True)
    return {
        **os.environ,
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        # `uv run` as it is, in the environment that runs the tests.
        "UV_PROJECT_ENVIRONMENT": str(Path(sys.executable).parents[1]),
        "UV_NO_SYNC": "1",
        "UV_FROZEN": "1",
        "UV_OFFLINE": "1",
        "VIRTUAL_ENV": "",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "JAX_PLATFORMS": "cpu",
    }


def run_block(block: Block, folder: Path, env: dict[str, str]) -> None:
    """Run a block; raises `AssertionError` that says where it stands and what went wrong."""
    text = block.instead or block.text
    if block.language == "console" and block.instead is None:
        for command, expected in sessions(text):
            printed = _shell(command, block, folder, env)
            pattern = _pattern(expected)
            assert re.fullmatch(pattern, _tidy(printed), re.DOTALL), (
                f"{block.place}: `{command}` printed\n{printed}\nand the page says\n{expected}"
            )
    elif block.language == "python":
        done = _run([sys.executable, "-c", text], folder, env)
        assert done.returncode == 0, f"{block.place}: {done.stdout}\n{done.stderr}"
    else:
        _shell(text, block, folder, env)


def _shell(text: str, block: Block, folder: Path, env: dict[str, str]) -> str:
    lines = [line for line in text.splitlines() if not _BENCHMARK.search(line)]
    script = "\n".join(["exec 2>&1", *lines])
    done = _run(["bash", "-euo", "pipefail", "-c", script], folder, env)
    assert done.returncode == 0, (
        f"{block.place}: `{text}` exits with {done.returncode}:\n{done.stdout}"
    )
    return done.stdout


def _run(command: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=600,
    )


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def _pattern(expected: str) -> str:
    return ".*?".join(re.escape(part) for part in _tidy(expected).split("..."))
