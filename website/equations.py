"""Equations as MathML, which browsers draw by themselves: no script, nothing from a network."""

import html
import re

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves, in its generic form.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def draw(page: str) -> str:
    """The HTML of a page, with MathML in place of TeX."""
    page = _INLINE.sub(lambda found: convert(html.unescape(found[1])), page)
    return _BLOCK.sub(
        lambda found: (
            '<div class="equation">'
            + convert(html.unescape(found[1]).strip(), display="block")
            + "</div>"
        ),
        page,
    )
