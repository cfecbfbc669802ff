"""One self-contained HTML page that answers, and shows why: `vitscale report` and `vitscale demo`.

`star_report.py` and `law_report.py` say what a page tells of a fit, as a `Page` of plain texts; `page.py` makes HTML of any `Page`.
"""
