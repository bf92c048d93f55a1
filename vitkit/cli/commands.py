"""What commands there are."""

TRAINING = {
    "fit": "train a model",
    "validate": "score a checkpoint on the validation split",
    "test": "score a checkpoint on the test split",
    "predict": "write class probabilities to a CSV file",
}
OTHERS = {
    "evaluate": "run a robustness suite over any model, and write a report",
    "compare": "compare evaluations on the same samples, on one page",
    "report": "draw the report of a finished evaluation again",
    "inspect-data": "say what a set of scans is like, and what is wrong with which of them",
    "make-phantoms": "write a small data set of generated scans",
    "plan": "say what a training takes, in memory and time, before it runs",
    "explain": "say which backend computes a config's attention, and why",
    "ls": "list suites, backbones, corruptions, biases, densities, scorers, patterns, datasets",
}
COMMANDS = TRAINING | OTHERS
