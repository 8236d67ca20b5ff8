"""Why somebody may enter or not: every pass, every rule, with the facts that settled it."""

from edgegate.explain.gather import UnknownIdError, explain
from edgegate.explain.model import Explanation, to_json
from edgegate.explain.show import render

__all__ = ["Explanation", "UnknownIdError", "explain", "render", "to_json"]
