-- Jobs, their logs, quota and idempotency (protocol §8).

CREATE TABLE run_metadata (
    job_id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    application_id TEXT,            -- in the seed's table; this server has no applications: NULL
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    client_id TEXT NOT NULL,
    head INTEGER NOT NULL,          -- id of the newest event, 0 when there is none
    epoch INTEGER NOT NULL,         -- raised by each claim and by a cancel; appends must carry it
    owner TEXT,
    lease_expires REAL,             -- Unix seconds by the host's clock, like the next two
    not_before REAL NOT NULL,       -- a job that waits for its first reader is due then
    ended_at REAL
);
CREATE INDEX run_metadata_unfinished ON run_metadata (not_before) WHERE ended_at IS NULL;
CREATE INDEX run_metadata_ended ON run_metadata (ended_at) WHERE ended_at IS NOT NULL;

-- Apart from run_metadata, because that row is rewritten with every append and a script may hold
-- half a MiB of text.
CREATE TABLE run_parameters (
    job_id TEXT PRIMARY KEY,
    parameters TEXT NOT NULL
);

-- The size stands before the payload, so that a page can be measured without reading payloads.
CREATE TABLE run_events (
    id INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    ts TEXT NOT NULL,
    size INTEGER NOT NULL,          -- octets of the payload
    payload TEXT NOT NULL
);
CREATE UNIQUE INDEX run_events_job_seq ON run_events (job_id, seq);

-- Counted apart from the jobs, so that pruning an old job gives no start back.
CREATE TABLE run_quota (
    client_id TEXT PRIMARY KEY,
    accepted INTEGER NOT NULL
);

CREATE TABLE run_idempotency (
    client_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    job_id TEXT NOT NULL,
    remaining INTEGER,
    PRIMARY KEY (client_id, idempotency_key)
);
CREATE INDEX run_idempotency_job ON run_idempotency (job_id);

-- One row that a readiness probe writes, to learn whether a write would succeed.
CREATE TABLE store_probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    probed_at REAL NOT NULL
);
