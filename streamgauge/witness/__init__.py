"""Real clients as witnesses: what each of them would have heard of the streams of a run.

The suite judges bytes with a parser of its own. Users read the same bytes with libraries that have
faults of their own, and a deployment that is right can still look wrong through one of them. What
stands here says so in the report, and never turns a verdict.
"""

from .hearing import hear
from .model import Difference, Heard, Stream, Witness, differences, truth

__all__ = ["Difference", "Heard", "Stream", "Witness", "differences", "hear", "truth"]
