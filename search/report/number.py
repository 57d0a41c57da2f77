"""Numbers as people read them."""

import math


def number(value: float | None, *, digits: int = 3) -> str:
    """``value`` to ``digits`` significant digits, never in exponent form from 0.0001 up.

    >>> [number(value) for value in (0.03141, 23.456, 1500.4, 35746307, 2.0, None)]
    ['0.0314', '23.5', '1500', '35,746,307', '2', '-']
    """
    text = significant(value, digits=digits)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def significant(value: float | None, *, digits: int = 3) -> str:
    """The same with its zeros, for columns of measured values; whole numbers of type int stay whole.

    >>> significant(0.42), significant(2.0), significant(8)
    ('0.420', '2.00', '8')
    """
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value}"
    if value != 0 and abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, digits - 1 - magnitude)}f}"


def with_error(value: float | None, stderr: float | None) -> str:
    """``value`` with its standard error, both to the error's second digit at most; exact ones without.

    >>> with_error(23.456, 0.42), with_error(1.25, 0.0), with_error(152.3, 12.7)
    ('23.46 ± 0.42', '1.25', '152 ± 13')
    """
    if value is None or not stderr or not math.isfinite(stderr):
        return significant(value)
    places = min(6, max(0, 1 - math.floor(math.log10(stderr))))
    return f"{value:.{places}f} ± {stderr:.{places}f}"


def duration(seconds: float) -> str:
    """``seconds`` in the two largest units that say something.

    >>> [duration(seconds) for seconds in (4.21, 75, 3700, 90000)]
    ['4.2 s', '1 min 15 s', '1 h 1 min', '25 h 0 min']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
