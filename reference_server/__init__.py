"""The reference server: a job-streaming service that keeps every guarantee of the protocol.

It exists so that the instrument has something right to be measured against, and so that a team has
a complete example to read. It shares no code with the instrument: they meet over HTTP only.
"""
