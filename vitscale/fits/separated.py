"""Text with a header and a row a line, whatever separates its cells and marks its decimals."""

import csv
import io
import re
import sys
from pathlib import Path

import pandas as pd

_DECIMAL_COMMA = r"\s*-?\d+,\d+(?:[eE][+-]?\d+)?\s*"


def read_separated(path: Path, *, tabs: bool = False) -> pd.DataFrame:
    """The table in the text file `path`, or on standard input where it is `-`.

    Cells are separated by commas, semicolons or tabs, whichever the header has most of (`tabs`: in any
    case). Where it is not commas, numbers may have decimal commas.

    Raises `ValueError`, naming the file, where it is no such text, or names a column twice.
    """
    where = "standard input" if str(path) == "-" else str(path)
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
        header = next((line for line in text.splitlines() if line.strip()), "")
        separator = "\t" if tabs else max(",;\t", key=header.count)
        _refuse_twice(where, header, separator)
        frame = pd.read_csv(io.StringIO(text), sep=separator, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(
            f"{where} is not a readable CSV file ({reason}); expected a header line and one row for "
            f"each measurement, separated by commas"
        ) from error
    return frame if separator == "," else _with_points(frame)


def _with_points(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns whose cells are all numbers with decimal commas, or whole numbers, as numbers."""
    for name in frame.columns:
        column = pd.Series(frame[name])
        if pd.api.types.is_numeric_dtype(column):
            continue
        words = column.dropna().astype(str)
        commas = words.str.fullmatch(_DECIMAL_COMMA)
        plain = pd.Series(pd.to_numeric(words, errors="coerce")).notna()
        if commas.any() and (commas | plain).all():
            frame[name] = pd.to_numeric(column.astype(str).str.replace(",", "."), errors="coerce")
    return frame


def _refuse_twice(where: str, header: str, separator: str) -> None:
    names = [name.strip() for name in next(csv.reader([header], delimiter=separator), [])]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ValueError(f"{where} has several columns named {twice[0]!r}; rename all but one")


def cell_in_words(value: object, column: str) -> str:
    """A cell that is no positive number, with what is probably wrong with it."""
    text = str(value).strip()
    if text == "" or text.lower() in ("nan", "none", "<na>"):
        return "empty"
    if text == column:
        return f"{text}, the header again"
    if re.fullmatch(r"[\d.]+\s*[kKmMbBtTgG]", text):
        return f"{text}, with a suffix; write the number out, such as 1e9"
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
        return f"{text}, with thousands separators"
    if re.fullmatch(_DECIMAL_COMMA, text):
        return f"{text}, with a decimal comma"
    return text
