"""Help, versions, misspelt words and errors of the command line, of every command in its table."""

import dataclasses
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest
import tyro
from command_line import in_its_own_process, refused, vitscale

import vitscale as package
from vitscale import cli
from vitscale.commands.options import describe
from vitscale.commands.usage import parse


def leaves() -> Iterator[tuple[str, type]]:
    """Every command that runs, with what it is called in full."""
    for entry in cli.COMMANDS:
        command, _ = entry.load()
        actions = describe(command).actions
        yield from ((f"{entry.name} {name}", action) for name, action in actions.items())
        if not actions:
            yield entry.name, command


LEAVES = dict(leaves())
NAMES = [*LEAVES, *(entry.name for entry in cli.COMMANDS if entry.name not in LEAVES)]


def helped(capsys, name: str) -> str:
    code, out, err = vitscale(capsys, *name.split(), "--help")
    assert (code, err) == (0, "")
    return out


class TestHelp:
    def test_every_command_stands_under_a_heading(self, capsys):
        code, out, err = vitscale(capsys, "--help")
        assert (code, err) == (0, "")
        for entry in cli.COMMANDS:
            heading = out.index(f"\n{entry.group}:\n")
            assert re.search(rf"^  {entry.name} +{re.escape(entry.summary)}$", out[heading:], re.M)

    @pytest.mark.parametrize("name", NAMES)
    def test_every_command_has_an_example_that_parses(self, name):
        entry = next(each for each in cli.COMMANDS if each.name == name.split()[0])
        command, _ = entry.load()
        described = describe(LEAVES.get(name, command))
        if not described.actions:
            assert described.examples
        for example in described.examples:
            # An example may show what comes next, by another command.
            program, first, *words = shlex.split(example)
            assert program == "vitscale"
            other, _ = next(each for each in cli.COMMANDS if each.name == first).load()
            parse(other, words, f"vitscale {first}")
        assert not described.examples or any(
            f"vitscale {name} " in f"{e} " for e in described.examples
        )

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("columns", [80, 60])
    def test_help_keeps_to_the_width_and_is_plain_where_it_is_piped(
        self, capsys, monkeypatch, name, columns
    ):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        text = helped(capsys, name)
        # What a shell must be given in one piece may be longer.
        long = [line for line in text.splitlines() if len(line) > columns]
        assert all(len(line.split()) <= 3 for line in long)
        assert columns < 80 or not long
        assert not re.search("[\x1b│─╭╰]", text)
        assert "Examples:" in text or "Example:" in text

    @pytest.mark.parametrize("name", LEAVES)
    def test_every_option_is_there_once_and_in_a_group_of_few(self, capsys, name):
        text = helped(capsys, name)
        described = describe(LEAVES[name])
        for option in described.options:
            assert option.help, f"{option.field} has no help"
            if option.flags:
                flags = ", ".join(reversed(option.flags))
                assert len(re.findall(rf"^  {flags}(?: |$)", text, re.M)) == 1
        sections = re.split(r"^\S.*:$", text, flags=re.M)[1:]
        assert max(len(re.findall(r"^  -", section, re.M)) for section in sections) <= 10

    @pytest.mark.parametrize("name", LEAVES)
    def test_groups_name_fields_of_the_command(self, name):
        fields = {field.name for field in dataclasses.fields(LEAVES[name])}
        grouped = [f for group in describe(LEAVES[name]).groups.values() for f in group]
        assert set(grouped) <= fields
        assert len(grouped) == len(set(grouped))

    @pytest.mark.parametrize("name", LEAVES)
    def test_options_are_those_that_the_parser_takes(self, capsys, monkeypatch, name):
        """What we read off a class against what tyro makes of it."""
        config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
        monkeypatch.setenv("COLUMNS", "10000")
        with pytest.raises(SystemExit):
            tyro.cli(LEAVES[name], args=["--help"], config=config)
        rows = [line.strip("│ ") for line in capsys.readouterr().out.splitlines()]
        rows = [row for row in rows if re.match("--?[a-z]", row) and "--help" not in row]
        theirs = {frozenset(re.findall(r"(?<!\S)--?[a-z][a-z-]*", r.split("  ")[0])) for r in rows}
        options = describe(LEAVES[name]).options
        assert theirs == {frozenset(option.flags) for option in options if option.flags}

    @pytest.mark.parametrize("name", LEAVES)
    def test_every_command_speaks_json(self, name):
        assert describe(LEAVES[name]).option("--json") is not None

    def test_colour_is_for_terminals_or_those_who_ask(self, capsys, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.delenv("NO_COLOR", raising=False)
        coloured = helped(capsys, "fit")
        assert "\x1b[" in coloured
        monkeypatch.setenv("NO_COLOR", "1")
        plain = helped(capsys, "fit")
        assert re.sub(r"\x1b\[\d+m", "", coloured) == plain

    def test_help_imports_neither_the_parser_nor_what_is_slow(self):
        code = (
            "import sys\nfrom vitscale import cli\ncli.run(['--help'])\ncli.run(['--version'])\n"
            "print([m for m in ('tyro', 'rich', 'numpy') if m in sys.modules])\n"
            "cli.run(['fit', '--help'])\n"
            "print([m for m in ('numpy', 'jax', 'pandas', 'matplotlib') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert [line for line in done.stdout.splitlines() if line.startswith("[")] == ["[]", "[]"]

    def test_help_is_a_command_too(self, capsys):
        assert vitscale(capsys, "help", "store", "merge")[1] == helped(capsys, "store merge")

    def test_version(self, capsys):
        assert vitscale(capsys, "--version") == (0, f"vitscale {package.__version__}\n", "")


class TestMisspelt:
    @pytest.mark.parametrize("name", [entry.name for entry in cli.COMMANDS])
    def test_commands(self, capsys, name):
        swapped = name[:-2] + name[-1] + name[-2]
        if swapped == name:
            swapped += "x"
        assert f"did you mean {name!r}" in refused(capsys, swapped)

    @pytest.mark.parametrize("name", LEAVES)
    def test_flags(self, capsys, name):
        for option in describe(LEAVES[name]).options:
            flag = option.flags[0] if option.flags else "--json"
            if len(flag) > 6:
                wrong = flag[:3] + flag[4:]
                assert repr(flag) in refused(capsys, *name.split(), wrong)

    @pytest.mark.parametrize(
        ("words", "meant"),
        [
            ("store mrege", "'merge'"),
            ("sweep satr sovit", "'star'"),
            ("sweep star lapto", "laptop"),
            ("convert a b --to tim", "'timm'"),
            ("fit {star} --law chinchila --error error", "'chinchilla'"),
            ("fit {star} --compute forward_gflop", "'forward_gflops'"),
            ("fit {star} --compute forward_gflops --x X", "'x'"),
            ("shape --flops 1e21 --rule sovit-txt", "'sovit-text'"),
            ("shape --like So400n/14×16e9", "'So400m'"),
            ("shapefinder --recipe sovti", "'sovit'"),
            ("train S/16 --recipe argreg --examples 1e5 --store {new}", "'augreg'"),
            ("train S/16 --set lerning_rate=1 --examples 1e5 --store {new}", "'learning_rate'"),
            ("train s/16 --examples 1e5 --set crop=inceptoin --store {new}", "'inception'"),
            ("train So400/16 --examples 1e5 --store {new}", "'So400m'"),
            ("train S/16 --data glyph --examples 1e5 --store {new}", "'glyphs'"),
            ("train S/16 --data tdfs:x --examples 1e5 --store {new}", "'tfds'"),
            ("reproduce sovt", "'sovit'"),
            ("advise {star} --compute forward_gflops --budget 1e20 --arm widht", "'width'"),
            ("import {star} --dry-run --map wdith=x", "'width'"),
            ("import {star} --dry-run --metric error=eror", "'error'"),
            (
                "import {star} --dry-run --set heads=4 patch=4 image_size=8 --only dimensoin=x",
                "'dimension'",
            ),
            ("sweep star sovit --store {new} --track tensorbord=x", "'tensorboard'"),
        ],
    )
    def test_names(self, capsys, tmp_path, words, meant):
        from vitscale.fits.datasets import path

        star, new = path("sovit_star_sweep"), tmp_path / "new"
        filled = [word.format(star=star, new=new) for word in words.split()]
        error = refused(capsys, *filled)
        assert "did you mean" in error and meant in error
        assert not new.exists()


class TestWrongUsage:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("fit", "vitscale fit needs SOURCE: a store"),
            ("sweep", "needs KIND: which of the three: star, grid, auto; and SWEEP: "),
            ("advise x", "needs --budget: training FLOPs to spend"),
            ("fit a b", "'b' is too much: expected vitscale fit SOURCE and options"),
            ("sweep star x --workers two", "--workers two: expected a whole number"),
            ("sweep star x --workers", "--workers lacks its value"),
            ("shapefinder --depths 3 b", "--depths 3 b: expected each a whole number"),
            ("shape --flops many", "--flops many: expected a number"),
            ("data", "vitscale data needs to know what to do: prepare, digits, info"),
            ("fit x -z", "vitscale fit has no option -z"),
            ("fit x --quiet --verbose", "do not go together"),
            ("--nothing", "there is no option --nothing"),
        ],
    )
    def test_is_one_sentence(self, capsys, words, message):
        error = refused(capsys, *words.split())
        assert message in error
        assert "vitscale" in error.removeprefix("vitscale: ") or "leave one out" in error

    def test_no_command_shows_the_commands(self, capsys):
        code, out, err = vitscale(capsys)
        assert (code, out) == (2, "")
        assert "quickstart" in err and "maintain" in err

    def test_errors_of_a_terminal_are_plain_where_piped(self):
        done = in_its_own_process("sweep", "ring", "x", FORCE_COLOR="1")
        assert done.returncode == 2
        assert done.stderr.startswith("vitscale: ") and done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr
