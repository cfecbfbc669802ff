"""The command line: find the command, parse its words, run it. The commands are in `vitscale.commands`.

Only the module of the command that was asked for is imported.

Exit codes: 0 done, 1 something failed while it ran, 2 the input or the store was refused (what was
measured before is kept, and nothing is left half-written), 75 asked to go by SIGTERM, so that the same command goes on from what was saved, 130
interrupted from the keyboard, 143 ended by SIGTERM.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from vitscale import __version__
from vitscale.commands.entry import Entry

_PLAN, _ANSWER = "Plan and run", "Fit and answer"
_DATA, _LOOK = "Data and models", "Look and maintain"

COMMANDS = (
    Entry("quickstart", _PLAN, "quickstart:Quickstart", "the whole path on this machine", True),
    Entry(
        "sweep", _PLAN, "sweep:Sweep", "plan, price and run a star, a grid, or a loop of both", True
    ),
    Entry("rehearse", _PLAN, "rehearse:Rehearse", "play a sweep through on a simulated cluster"),
    Entry("train", _PLAN, "train:Train", "train one ViT, or every trial of a plan", True),
    Entry(
        "worker",
        _PLAN,
        "worker:Worker:run_worker",
        "train what a store lacks, on any machine",
        True,
    ),
    Entry(
        "resume", _PLAN, "worker:Resume:run_resume", "take up what failed or was cancelled", True
    ),
    Entry("cancel", _PLAN, "worker:Cancel:run_cancel", "have nobody train some trials"),
    Entry("fit", _ANSWER, "fit:Fit", "fit the scaling laws of a store or a table"),
    Entry("shape", _ANSWER, "shape:ShapeFor", "the compute-optimal shape for a budget"),
    Entry("report", _ANSWER, "report:Report:run_report", "all of it as one page of HTML"),
    Entry("demo", _ANSWER, "report:Demo:run_demo", "the report of a paper's data, in seconds"),
    Entry("plot", _ANSWER, "plot:Plot", "every figure that a store or a table allows"),
    Entry("frontier", _ANSWER, "frontier:Frontier", "the least error that compute buys"),
    Entry("allocate", _ANSWER, "allocate:Allocate", "a budget between parameters and tokens"),
    Entry("advise", _ANSWER, "advise:Advise", "what to measure next"),
    Entry(
        "reproduce",
        _ANSWER,
        "reproduce:Reproduce",
        "a paper's published data through the whole fit",
    ),
    Entry("data", _DATA, "data:Data", "prepare a data set of images, or see what one holds"),
    Entry("import", _DATA, "import_runs:Import", "bring in runs of CSV, W&B, MLflow, TensorBoard"),
    Entry("convert", _DATA, "convert:Convert", "weights from one framework into another"),
    Entry("shapefinder", _DATA, "shapefinder:Shapefinder", "which shapes fit this device", True),
    Entry("status", _LOOK, "status:Status", "what a store holds and what is under way"),
    Entry("store", _LOOK, "store:StoreCommand", "compact, check, export or merge stores"),
    Entry("completion", _LOOK, "completion:Completion", "what makes a shell complete words"),
    Entry("doctor", _LOOK, "doctor:Doctor", "whether this machine has what vitscale needs"),
)
"""Every command, in the order of the help: one row each."""

REPORT_TO = "the issue tracker of vitscale"


def main() -> None:
    """Entry point of `vitscale`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character shows another instead of an error.
        stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    signal.signal(signal.SIGTERM, _end)
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Parse and run one command; returns its exit code."""
    words, asked = _take_flags_of_all(words)
    if asked["--version"]:
        return _print(f"vitscale {__version__}\n")
    if not words:
        from vitscale.commands.overview import top_help

        text = top_help(COMMANDS)
        return _print(text) if asked["--help"] else _refuse(f"name a command\n\n{text.rstrip()}")
    name, *rest = words
    if name == "help":
        return run([*rest, "--help"])
    try:
        entry = _entry(name)
    except ValueError as error:
        return _refuse(str(error))
    return _run_command(entry, rest, asked)


def read(words: Sequence[str]) -> Any:
    """The command that the words say, without running it: an instance of its dataclass.

    Raises `ValueError`, in one sentence, where `run` would refuse the words.
    """
    from vitscale.commands.usage import parse

    words, _ = _take_flags_of_all(words)
    if not words:
        raise ValueError("name a command")
    entry = _entry(words[0])
    return parse(entry.load()[0], words[1:], f"vitscale {entry.name}")


def _entry(name: str) -> Entry:
    found = next((each for each in COMMANDS if each.name == name), None)
    if found is None:
        from vitscale.scaling.names import suggest

        what = "option" if name.startswith("-") else "command"
        near = suggest(name, [each.name for each in COMMANDS], listed=False)
        raise ValueError(f"there is no {what} {name}; {near}see vitscale --help")
    return found


_FLAGS_OF_ALL = {
    "--quiet": ("--quiet", "-q"),
    "--verbose": ("--verbose", "-v"),
    "--debug": ("--debug",),
    "--help": ("--help", "-h"),
    "--version": ("--version", "-V"),
}


def _take_flags_of_all(words: Sequence[str]) -> tuple[list[str], dict[str, bool]]:
    """The words without the flags that every command has, and which of those were among them."""
    end = words.index("--") if "--" in words else len(words)
    front, back = list(words[:end]), list(words[end:])
    asked = {
        flag: any(each in front for each in written) for flag, written in _FLAGS_OF_ALL.items()
    }
    taken = {each for written in _FLAGS_OF_ALL.values() for each in written}
    asked["--debug"] |= os.environ.get("VITSCALE_DEBUG", "") not in ("", "0")
    return [word for word in front if word not in taken] + back, asked


def _run_command(entry: Entry, words: Sequence[str], asked: dict[str, bool]) -> int:
    """Help of a command, or the command itself, with every error as one sentence."""
    from vitscale.commands.saying import log, set_saying

    prog = f"vitscale {entry.name}"
    set_saying(quiet=asked["--quiet"], verbose=asked["--verbose"])
    try:
        command, run_it = entry.load()
        if asked["--help"]:
            return _help(command, words, prog)
        if asked["--quiet"] and asked["--verbose"]:
            return _refuse("--quiet and --verbose do not go together; leave one out")
        from vitscale.commands.looks import looking
        from vitscale.commands.usage import UsageError, given, parse

        try:
            parsed: Any = parse(command, words, prog)
        except UsageError as error:
            return _refuse(str(error))
        log.info("%s with %s", prog, given(parsed) or "no options")
        began = time.monotonic()
        with looking(parsed):
            code = run_it(parsed)
        log.info("exit code %d after %.2f s", code, time.monotonic() - began)
        return code
    except BrokenPipeError:
        return _output_closed()
    except (ValueError, OSError) as error:
        _show_trace(asked["--debug"])
        return _refuse(_sentence(error))
    except RuntimeError as error:
        _show_trace(asked["--debug"])
        print(f"vitscale: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        _show_trace(asked["--debug"])
        more = "; the same command goes on" if entry.goes_on else ""
        print(f"vitscale: interrupted{more}", file=sys.stderr)
        return 130
    except ImportError as error:
        _show_trace(asked["--debug"])
        return _refuse(f"{error}; vitscale doctor says what is missing here, and how to install it")
    except Exception as error:
        _show_trace(asked["--debug"])
        print(f"vitscale: {_unexpected(error, shown=asked['--debug'])}", file=sys.stderr)
        return 1


def _help(command: type, words: Sequence[str], prog: str) -> int:
    from vitscale.commands.help import command_help
    from vitscale.commands.usage import UsageError, find_action

    try:
        command, prog, _ = find_action(command, words, prog)
    except UsageError as error:
        if words:
            return _refuse(str(error))
    return _print(command_help(command, prog))


def _print(text: str) -> int:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        return _output_closed()
    return 0


def _show_trace(wanted: bool) -> None:
    if wanted:
        import traceback

        traceback.print_exc()


def _unexpected(error: Exception, *, shown: bool) -> str:
    """One sentence for an error that nobody foresaw: what, where, how to see more, where to report it."""
    import traceback

    frames = [f for f in traceback.extract_tb(error.__traceback__) if "vitscale" in f.filename]
    where = (
        f" in {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""
    )
    text = " ".join(str(error).split())
    what = f"{type(error).__name__}{where}" + (f" ({text[:300]})" if text else "")
    trace = "the trace above" if shown else "its trace, which --debug shows,"
    return f"unexpected {what}: this is a bug in vitscale {__version__}; report it with {trace} to {REPORT_TO}"


def _sentence(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    from vitscale.fits.option_error import in_flags

    return in_flags(error)


def _refuse(sentence: str) -> int:
    print(f"vitscale: {sentence}", file=sys.stderr)
    return 2


def _output_closed() -> int:
    # Whoever read our output has gone (as `head` does); do not complain at exit either.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _end(*_: object) -> NoReturn:
    """SIGTERM ends a command in order, with what it holds given back; those that train save first."""
    print("vitscale: ended by SIGTERM", file=sys.stderr)
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
