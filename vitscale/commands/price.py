"""`--price`, which several commands have."""

import math


def check_price(price: float | None) -> None:
    """Raises `ValueError` where a price was given that is none."""
    if price is not None and not 0 < price < math.inf:
        raise ValueError(f"price={price:g} is no price; use more than 0, or leave it out")
