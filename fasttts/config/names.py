"""Names that stand for something else than a model's directory or its place on a hub."""

import re

DEMO = "demo"
"""The name that stands for the bundled demonstration models."""

JUDGE = "judge"
"""The verifier that is the generator itself, asked whether the steps so far are right."""

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_function_name(name: str) -> bool:
    """Whether the name of a verifier or of a search is of the form `module:function`."""
    return _FUNCTION.fullmatch(name) is not None
