"""Looks at a deployment and writes down what it seems to be: a profile to begin with."""

from .look import LookError, survey
from .write import profile_text

__all__ = ["LookError", "profile_text", "survey"]
