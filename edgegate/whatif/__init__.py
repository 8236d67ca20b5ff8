"""What if: a site's recorded taps again, under its records as they are and as they might be."""

from edgegate.whatif.compare import Comparison, Summary, Told, Verdict
from edgegate.whatif.study import Study, prepare

__all__ = ["Comparison", "Study", "Summary", "Told", "Verdict", "prepare"]
