"""The conformance suite: a file per section, judging what the scenarios recorded."""
