"""One file per experiment: QUESTION, SETTING, and ``run(lab)``, which returns an `Outcome`."""
