"""``KEY=VALUE`` on the command line."""

from __future__ import annotations

import tomllib
from typing import Any

from fer_bench.core.errors import SpecError, require


def parse_assignment(text: str, option: str, form: str = "KEY=VALUE") -> tuple[str, Any]:
    """The key and the value of ``KEY=VALUE``. Values are TOML, and a bare word is a string.

    Args:
        text: What was typed.
        option: The option that it belongs to, for the message.
        form: What it must look like, for the message.

    Raises:
        SpecError: The text has no "=", or nothing before it.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    require(bool(key and equals), f"{option} {text!r} is not of the form {form}")
    try:
        return key, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key, value
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets
        raise SpecError(f"{option} {key}: the value cannot be read ({error})") from None
