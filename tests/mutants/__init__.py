"""Broken servers, each of one fault, that prove the checks: what a check never fails on, it never
looked at.

`catalog.py` lists them, `serve.py` runs one, `runner.py` judges one with the whole suite, and
`python -m tests.mutants` does that for all and writes the kill matrix.
"""
