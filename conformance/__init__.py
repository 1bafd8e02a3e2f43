"""The conformance suite: a file per section of the catalogue, judging what the scenarios recorded."""
