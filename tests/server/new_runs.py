"""Starts as a store is given them."""

from __future__ import annotations

from reference_server.store import NewRun


def new_run(job_id: str = "job", **changes: object) -> NewRun:
    """One that is ready at once, but for what is changed."""
    members: dict[str, object] = {
        "job_id": job_id,
        "client_id": "client",
        "parameters": '{"kind":"test"}',
        "ready": True,
        "wait_s": 30.0,
        "idempotency_key": None,
        "fingerprint": "print",
        "owner": "me",
        "lease_s": 15.0,
    }
    return NewRun(**{**members, **changes})  # type: ignore[arg-type]
