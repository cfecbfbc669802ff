"""`vitscale report` and `vitscale demo`: what the page says is what the other commands say, and it needs
nothing but itself."""

import dataclasses
import hashlib
import html.parser
import json
import re
import shlex
import webbrowser

import pandas as pd
import pytest
from command_line import refused, vitscale
from report_samples import measured_store, shallow

from vitscale import quickstart
from vitscale.fits.datasets import load_chinchilla, load_sovit_star, path
from vitscale.fits.prediction.backtest_result import Backtest, Row
from vitscale.fits.store_fit import fit_store
from vitscale.report.cost import cost
from vitscale.report.source import read_star_source
from vitscale.report.star_checks import star_checks
from vitscale.sweeps.config import plan_to_toml
from vitscale.sweeps.recorded import read_recorded
from vitscale.sweeps.store import Store

STAR = path("sovit_star_sweep")


class Text(html.parser.HTMLParser):
    """The words of a page, the addresses that it names, and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.addresses, self.tags, self.alts = [], [], [], []
        self._silent = 0
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        named = dict(attrs)
        self.addresses += [named[key] for key in ("src", "href", "srcset") if named.get(key)]
        if tag == "img":
            self.alts.append(named.get("alt"))
        self._silent += tag in ("style", "script")

    def handle_endtag(self, tag):
        self._silent -= tag in ("style", "script")

    def handle_data(self, data):
        if not self._silent:
            self.words.append(data)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return measured_store(tmp_path_factory.mktemp("report") / "my store")


@pytest.fixture(scope="module")
def report(store, tmp_path_factory):
    """The page of the store, and what the command printed."""
    from contextlib import redirect_stdout
    from io import StringIO

    from vitscale import cli

    out = tmp_path_factory.mktemp("page") / "report.html"
    printed = StringIO()
    with redirect_stdout(printed):
        code = cli.run(["report", str(store), "--out", str(out), "--flops", "1e14", "--price", "2"])
    assert code == 0
    return Text(out.read_text(encoding="utf-8")), printed.getvalue()


def test_the_answer_is_that_of_vitscale_shape(report, store, capsys, tmp_path):
    fit = tmp_path / "fit.json"
    assert vitscale(capsys, "fit", store, "--out", fit)[0] == 0
    _, out, _ = vitscale(capsys, "shape", "--fit", fit, "--flops", 1e14, "--json")
    found = json.loads(out)
    shape = found["shape"]
    headline = f"Width {shape['width']}, depth {shape['depth']}, MLP size {shape['mlp_dim']}"
    page, printed = report
    assert headline in page.text and headline in printed
    low, high = found["sizes"]["width"]["low"], found["sizes"]["width"]["high"]
    assert f"{low:.4g} to {high:.4g}" in page.text
    for warning in found["warnings"]:
        assert warning in page.text


def test_cost_is_that_of_vitscale_status(report, store, capsys):
    _, out, _ = vitscale(capsys, "status", store, "--json")
    status = json.loads(out)
    page, _ = report
    assert f"{len(status['trials'])} networks" in page.text
    assert f"{status['spent_flops']:.3g}".replace("e+", "e") + " FLOPs" in page.text


def test_time_and_price_are_of_training_and_of_evaluation(store):
    """Steps that take as long for every FLOP: a trunk is paid once, an evaluation once for each duration."""
    frame = Store.open(store).table().to_pandas()
    rows = frame.assign(train_seconds=frame["train_flops"] * 3.6e-9, eval_seconds=1800.0)
    rows = pd.concat([rows, rows.assign(metric="another_error")])
    fit_file, table = fit_store(frame)
    source = dataclasses.replace(read_star_source(str(store), frame, fit_file, table), rows=rows)
    facts = dict(cost(source, price=2.0))
    training, evaluation = frame["spent_flops"].sum() * 1e-12, 0.5 * len(frame)
    assert f"{training:.3g} hours of training" in facts["time of one device"]
    assert f"{evaluation:.3g} hours of evaluation" in facts["time of one device"]
    assert facts["price"].startswith(f"{2 * (training + evaluation):,.2f} at 2 an hour")
    assert "without compiling and starting" in facts["price"]


def test_nothing_comes_from_elsewhere(report):
    page, _ = report
    assert page.addresses
    assert all(
        address.startswith(("data:image/svg+xml;base64,", "#")) for address in page.addresses
    )
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)


def test_every_picture_is_told_in_words(report):
    page, _ = report
    assert len(page.alts) >= 12  # each for light and dark
    assert all(alt and len(alt) > 40 for alt in page.alts)


def test_the_commands_make_the_report_again(report, store, capsys, tmp_path, monkeypatch):
    """Each command of the page runs as it stands."""
    page, _ = report
    monkeypatch.chdir(tmp_path)
    commands = [
        " ".join(found.split())
        for found in re.findall(
            r"vitscale (?:fit|shape|report|advise) .*?(?= Copy| The| This| What| grid\.toml| $|$)",
            page.text[page.text.index("Make it again") :],
        )
    ]
    assert len(commands) == 4
    words = shlex.split(next(each for each in commands if " report " in each))
    assert float(words[words.index("--flops") + 1]) == 1e14
    for name, plan in read_recorded(Store.open(store)).plans.items():
        kind, file = "grid" if name == "grid" else "star", tmp_path / f"{name}.toml"
        assert f"vitscale sweep {kind} {name}.toml --store" in page.text
        file.write_text(plan_to_toml(plan))
        assert vitscale(capsys, "sweep", kind, file, "--store", store)[0] == 0  # all is there
    for command in commands:
        words = shlex.split(command)
        more = ["--no-backtest"] if words[1] == "report" else []
        code, _, err = vitscale(capsys, *words[1:], *more)
        assert code == 0, (command, err)
    again = Text((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert re.findall(r"their SHA-256 (\w{64})", page.text) == re.findall(
        r"SHA-256 (\w{64})", again.text
    )


def test_of_several_recipes_the_one_that_was_asked_for_decides_all(store, capsys, tmp_path):
    """Another recipe's larger images, larger networks and diverged runs are none of its business."""
    rows = pd.DataFrame(Store.open(store).read())
    (own,) = rows["recipe_id"].unique()
    other = rows.assign(recipe_id="other", image_size=32, readout="map", params=rows["params"] * 9)
    other["trial_id"] = other["trial_id"].str[::-1]
    both = tmp_path / "both.parquet"
    pd.concat([other, rows]).to_parquet(both)
    fit = tmp_path / "fit.json"
    assert vitscale(capsys, "fit", both, "--recipe", own, "--out", fit)[0] == 0
    setting = json.loads(fit.read_text())["setting"]
    assert (setting["image_size"], setting["readout"]) == (16, "gap")
    out = tmp_path / "both.html"
    options = ("--recipe", own, "--no-backtest", "--out", out)
    assert vitscale(capsys, "report", both, *options)[0] == 0
    page = Text(out.read_text(encoding="utf-8")).text
    assert f"recipe {own} " in page and f"{own}, other" not in page
    assert "on images of 16 pixels" in page


def test_below_the_least_compute_measured_care_is_due(store, capsys, tmp_path):
    least = pd.DataFrame(Store.open(store).read())["train_flops"].min()
    out = tmp_path / "small.html"
    options = ("--flops", least / 4, "--no-backtest", "--out", out)
    assert vitscale(capsys, "report", store, *options)[0] == 0
    page = Text(out.read_text(encoding="utf-8")).text
    assert "well determined" not in page.split("Shapes for other budgets")[0]
    assert "times the budget" in page and "within the compute measured" not in page


def test_a_table_does_not_tell_its_models_but_flags_do(capsys, tmp_path):
    """Images of 384 pixels in patches of 16 are 576 tokens; in the paper's setting there are 256."""
    table = ("--compute", "forward_gflops", "--like", "ViT-g/14 x 16e9", "--no-backtest")
    out = tmp_path / "own.html"
    page = {}
    for name, flags in {"assumed": (), "told": ("--patch", 16, "--image-size", 384)}.items():
        assert vitscale(capsys, "report", STAR, *table, *flags, "--out", out)[0] == 0
        page[name] = Text(out.read_text(encoding="utf-8")).text
    assert "does not tell what models it is of" in page["assumed"]
    assert "does not tell what models" not in page["told"]
    assert "patches of 16 on images of 384 pixels" in page["told"]
    assert "--patch 16 --image-size 384" in page["told"].split("Make it again")[-1]
    assert re.findall(r'local-dir:[^"]+trunk', page["told"]) == ["local-dir:FOLDER/openclip/trunk"]

    fit = tmp_path / "fit.json"
    assert vitscale(capsys, "fit", STAR, "--compute", "forward_gflops", "--out", fit)[0] == 0
    asked = ("shape", "--fit", fit, "--flops", 1e21)
    _, shown, _ = vitscale(capsys, *asked, "--hardware", "cpu")
    assert "does not tell what models it is of" in shown and "None" not in shown
    assert "does not tell" not in vitscale(capsys, *asked, "--patch", 16)[1]


def test_a_star_with_another_dimension_gives_laws_and_no_shape(capsys, tmp_path):
    star = load_sovit_star()
    more = star[star["dimension"] == "depth"].assign(dimension="experts")
    csv, fit, out = tmp_path / "four.csv", tmp_path / "fit.json", tmp_path / "four.html"
    pd.concat([star, more]).to_csv(csv, index=False)
    table = (csv, "--compute", "forward_gflops")
    assert vitscale(capsys, "fit", *table, "--out", fit)[0] == 0
    assert "has experts besides width" in refused(capsys, "shape", "--fit", fit, "--flops", 1e21)
    assert vitscale(capsys, "report", *table, "--out", out, "--no-backtest")[0] == 0
    assert "has experts besides width" in Text(out.read_text(encoding="utf-8")).text


def test_a_table_of_ones_own(capsys, tmp_path, monkeypatch):
    out = tmp_path / "own.html"
    code, printed, _ = vitscale(
        capsys,
        *("report", STAR, "--compute", "forward_gflops", "--like", "ViT-g/14 x 16e9"),
        *("--out", out, "--no-backtest", "--json"),
    )
    said = json.loads(printed)
    assert code == 0 and said["written"] == str(out)
    page = Text(out.read_text(encoding="utf-8"))
    assert said["headline"] in page.text
    fits = re.search(r"(vitscale fit .*? --out fit.json)", page.text)
    assert fits is not None
    monkeypatch.chdir(tmp_path)
    assert vitscale(capsys, *shlex.split(fits[1])[1:])[0] == 0
    assert hashlib.sha256(STAR.read_bytes()).hexdigest() in page.text


def test_runs_of_any_model_are_answered_by_chinchillas_law(capsys, tmp_path):
    """The page says what `vitscale allocate` says, of runs whose columns have names of their own."""
    runs = tmp_path / "runs.csv"
    load_chinchilla().rename(columns={"N": "params", "D": "tokens"}).to_csv(runs, index=False)
    columns = ("--inputs", "N=params", "D=tokens")
    out = tmp_path / "lm.html"
    code, printed, _ = vitscale(
        capsys,
        *("report", runs, "--law", "chinchilla", "--flops", 5.76e23, "--out", out, "--no-backtest"),
        *columns,
    )
    assert code == 0
    _, told, _ = vitscale(capsys, "allocate", runs, "--flops", 5.76e23, *columns, "--json")
    share = json.loads(told)["shares"][0]
    page = Text(out.read_text(encoding="utf-8"))
    headline = (
        f"{share['parameters']['estimate'] / 1e9:.3g} billion parameters on "
        f"{share['tokens']['estimate'] / 1e12:.3g} trillion tokens"
    )
    assert headline in printed and headline in page.text
    assert f"{share['parameters']['low'] / 1e9:.3g} billion" in page.text
    assert refused(capsys, "report", runs, "--law", "chinchilla", "--price", 2, "--out", out)
    assert "add it" in refused(capsys, "report", runs, *columns, "--out", out)


def test_without_an_optimum_no_shape_is_named(capsys, tmp_path):
    """Errors that only fall with width: there is no best width, so no headline may name one."""
    table = load_sovit_star()
    table = table[table["dimension"] != "width"]
    falling = load_sovit_star().query("dimension == 'width'").copy()
    falling["error"] = 2.0 * falling["x"] ** -0.5
    csv = tmp_path / "star.csv"
    pd.concat([table, falling]).to_csv(csv, index=False)
    out = tmp_path / "none.html"
    code, printed, _ = vitscale(
        capsys, "report", csv, "--compute", "forward_gflops", "--out", out, "--no-backtest"
    )
    assert code == 0 and "do not give a shape" in printed
    page = Text(out.read_text(encoding="utf-8"))
    assert "Width 1" not in page.text and "poorly determined" in page.text
    assert "vitscale fit" in page.text and "vitscale shape" not in page.text


def test_a_budget_too_small_for_any_model_is_said_to_be(capsys, tmp_path, monkeypatch):
    """The quickstart goes on to its next budget, and its report says that the usual one has no answer."""
    store = measured_store(tmp_path / "store", small=True, world=shallow)
    monkeypatch.setattr(quickstart, "PLANS", ())  # all is measured, so that it trains nothing
    code, printed, _ = vitscale(capsys, "quickstart", "--out", tmp_path, "--json")
    assert code == 0
    most = pd.DataFrame(Store.open(store).read())["train_flops"].max()
    assert [shape["train_flops"] for shape in json.loads(printed)["shapes"]] == [100 * most]
    assert (tmp_path / "shape" / "shape.json").exists()
    page = Text((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "do not give a shape" in page.text and "depth=0.4" in page.text
    ten = ("--flops", 10 * most)
    said = refused(capsys, "report", store, "--out", tmp_path / "r.html", "--no-backtest", *ten)
    assert "depth=0.4" in said


def test_captions_speak_of_what_is_drawn(report, capsys, tmp_path):
    """Where no dimension has an optimum, no diamond is drawn."""
    table = load_sovit_star()
    table["error"] = 2.0 * table["x"] ** -0.5
    csv, out = tmp_path / "star.csv", tmp_path / "none.html"
    table.to_csv(csv, index=False)
    code, _, _ = vitscale(
        capsys, "report", csv, "--compute", "forward_gflops", "--out", out, "--no-backtest"
    )
    assert code == 0
    none = Text(out.read_text(encoding="utf-8"))
    assert "iamond" in report[0].text and "iamond" not in none.text
    # Sentences begin with a capital, unless with a dimension's name.
    for page in (none, report[0]):
        said = page.text[: page.text.index("Make it again")]
        starts = re.findall(r"(?<![a-z]\.[a-z])\. ([a-z]\w*)", said)
        assert {*starts} <= {"width", "depth", "mlp_dim"}


@pytest.mark.parametrize(("bent", "standing"), [(0.0, "good"), (0.05, "care")])
def test_a_law_that_does_not_bend_as_the_runs_do_is_no_good_sign(store, bent, standing):
    """Every interval holds its run; what is wrong is that all predictions err to one side."""
    frame = Store.open(store).table().to_pandas()
    source = read_star_source(str(store), frame, *fit_store(frame))
    rows = tuple(
        Row(
            name="width",
            cutoff=float(case),
            horizon=2.0,
            measured=1.0,
            predicted=1.0 + bent + 0.01 * (-1) ** case,
            low=0.5,
            high=2.0,
        )
        for case in range(20)
    )
    test = Backtest(rows=rows, level=0.95, along="compute")
    (check,) = [c for c in star_checks(source, None, test) if c.sentence.startswith("Back-test")]
    assert ("try another" in check.sentence) == (standing == "care") and check.standing == standing


def test_demo_is_the_published_star(capsys, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(webbrowser, "open", lambda address: shown.append(address) or True)
    out = tmp_path / "demo.html"
    code, printed, _ = vitscale(capsys, "demo", "--out", out)
    assert code == 0 and shown == [out.as_uri()]
    _, told, _ = vitscale(capsys, "reproduce", "sovit", "--json")
    ours = json.loads(told)["rules"]["our fit"]
    page = Text(out.read_text(encoding="utf-8"))
    for name in ("width", "depth", "mlp_dim"):
        assert f"{ours[name]['predicted']['estimate']:.4g}" in page.text
    assert "MLP size" in printed
    # One unit of compute, and two kinds of best size that are told apart.
    assert "best size alone, the others as in the centre, at 1.28e21 training FLOPs" in page.text
    assert "forward_gflops" not in page.text and "has another optimum" in page.text


def test_what_is_named_is_escaped(capsys, tmp_path):
    """A store may be called anything, and its page stays a page."""
    store = measured_store(tmp_path / "<script>alert(1)</script>", small=True)
    out = tmp_path / "page.html"
    assert vitscale(capsys, "report", store, "--out", out, "--no-backtest")[0] == 0
    assert "<script>alert" not in out.read_text(encoding="utf-8")
    assert Text(out.read_text(encoding="utf-8")).tags.count("script") == 1


def test_refusals(capsys, store, tmp_path):
    assert "--flops 1e21 or as --like" in refused(
        capsys, "report", store, "--flops", 1e14, "--like", "ViT-g/14 x 1e9"
    )
    assert "call it" in refused(capsys, "report", store, "--out", tmp_path / "report.pdf")
    err = refused(capsys, "report", tmp_path / "nothing", "--out", tmp_path / "r.html")
    assert "nothing" in err
    err = refused(capsys, "report", store, "--flops", -1, "--out", tmp_path / "r.html")
    assert "not a budget" in err
    for price in (0, -1, "inf", "nan"):
        err = refused(capsys, "report", store, "--price", price, "--out", tmp_path / "r.html")
        assert "is no price" in err
    for flags, what in ((("--patch", 0), "patch=0"), (("--image-size", 2), "image_size=2")):
        err = refused(
            capsys, "report", store, *flags, "--no-backtest", "--out", tmp_path / "r.html"
        )
        assert what in err
    assert not (tmp_path / "r.html").exists()
