"""Running a command as a user does, within the process of a test."""

from vitscale import cli


def vitscale(capsys, *arguments) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    code = cli.run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments) -> str:
    """The one sentence with which a command is refused; what it did before may be told above it."""
    code, out, err = vitscale(capsys, *arguments)
    assert (code, out) == (2, "")
    sentence = err.splitlines()[-1]
    assert sentence.startswith("vitscale: ")
    return sentence
