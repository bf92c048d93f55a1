"""Model, data and suite in; results in one documented schema out."""

from vitkit.evaluation.results import Results, load_results

__all__ = ["Results", "load_results"]
