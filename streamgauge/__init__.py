"""streamgauge: does a deployment of a job-streaming service really stream?"""

__version__ = "0.1.0"
