-- Jobs, their logs, quota and idempotency (protocol §8), as in the SQLite store.

-- The clock of leases, due times and retention: one for all instances, whatever their hosts think.
-- Not now(): that is when a transaction began, and one may have waited for a lock since then.
CREATE FUNCTION run_clock() RETURNS float8 LANGUAGE sql VOLATILE AS
$$ SELECT extract(epoch FROM clock_timestamp())::float8 $$;

CREATE FUNCTION run_stamp(unix_s float8) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT to_char(to_timestamp(unix_s) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;

-- Every append rewrites a row here. The free space keeps the new version on the same page, so that
-- no index has to learn about it.
CREATE TABLE run_metadata (
    job_id text PRIMARY KEY,
    status text NOT NULL,
    application_id text,            -- in the seed's table; this server has no applications: NULL
    created_at text NOT NULL,
    updated_at text NOT NULL,
    client_id text NOT NULL,
    head bigint NOT NULL,           -- id of the newest event, 0 when there is none
    epoch bigint NOT NULL,          -- raised by each claim and by a cancel; appends must carry it
    owner text,
    lease_expires float8,           -- Unix seconds by run_clock(), like the next two
    not_before float8 NOT NULL,     -- a job that waits for its first reader is due then
    ended_at float8
) WITH (fillfactor = 60);
CREATE INDEX run_metadata_unfinished ON run_metadata (not_before) WHERE ended_at IS NULL;
CREATE INDEX run_metadata_ended ON run_metadata (ended_at) WHERE ended_at IS NOT NULL;

-- Apart from run_metadata, because that row is rewritten with every append and a script may hold
-- half a MiB of text.
CREATE TABLE run_parameters (
    job_id text PRIMARY KEY,
    parameters text NOT NULL
);

-- JSON as text: jsonb refuses the escape of U+0000, and would not give back the same octets.
CREATE TABLE run_events (
    job_id text NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    ts text NOT NULL,
    size integer NOT NULL,          -- octets of the payload
    payload text NOT NULL,
    PRIMARY KEY (job_id, seq)
);

-- Counted apart from the jobs, so that pruning an old job gives no start back.
CREATE TABLE run_quota (
    client_id text PRIMARY KEY,
    accepted integer NOT NULL
);

CREATE TABLE run_idempotency (
    client_id text NOT NULL,
    idempotency_key text NOT NULL,
    fingerprint text NOT NULL,
    job_id text NOT NULL,
    remaining integer,
    PRIMARY KEY (client_id, idempotency_key)
);
CREATE INDEX run_idempotency_job ON run_idempotency (job_id);

-- One row that a readiness probe writes, to learn whether a write would succeed.
CREATE TABLE store_probe (
    id integer PRIMARY KEY CHECK (id = 1),
    probed_at float8 NOT NULL
);

-- What takes several statements is a function: one round trip, and no transaction that stays open,
-- with its locks, while the instance that began it is paused.

CREATE FUNCTION create_run(
    p_job_id text, p_client_id text, p_parameters text, p_ready boolean, p_wait_s float8,
    p_key text, p_fingerprint text, p_owner text, p_lease_s float8, p_quota integer,
    OUT outcome text, OUT job_id text, OUT remaining integer
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    known run_idempotency;
    used integer;
    at_s float8;
BEGIN
    -- The starts of one client come one after the other, in all instances. Each statement below
    -- sees what those before it have committed.
    PERFORM pg_advisory_xact_lock(hashtextextended('streamgauge start ' || p_client_id, 0));
    SELECT * INTO known FROM run_idempotency
        WHERE client_id = p_client_id AND idempotency_key = p_key;
    IF FOUND THEN
        outcome := CASE WHEN known.fingerprint = p_fingerprint THEN 'repeated' ELSE 'reused' END;
        job_id := known.job_id;
        remaining := known.remaining;
        RETURN;
    END IF;
    SELECT accepted + 1 INTO used FROM run_quota WHERE client_id = p_client_id;
    used := coalesce(used, 1);
    IF p_quota > 0 AND used > p_quota THEN
        outcome := 'exceeded';
        RETURN;
    END IF;
    at_s := run_clock();
    INSERT INTO run_metadata (
        job_id, status, created_at, updated_at, client_id, head, epoch, owner, lease_expires,
        not_before
    ) VALUES (
        p_job_id, 'queued', run_stamp(at_s), run_stamp(at_s), p_client_id, 0,
        CASE WHEN p_ready THEN 1 ELSE 0 END, CASE WHEN p_ready THEN p_owner END,
        at_s + p_lease_s, CASE WHEN p_ready THEN at_s ELSE at_s + p_wait_s END
    );
    INSERT INTO run_parameters VALUES (p_job_id, p_parameters);
    INSERT INTO run_quota VALUES (p_client_id, used)
        ON CONFLICT (client_id) DO UPDATE SET accepted = excluded.accepted;
    outcome := 'created';
    job_id := p_job_id;
    remaining := CASE WHEN p_quota > 0 THEN p_quota - used END;
    IF p_key IS NOT NULL THEN
        INSERT INTO run_idempotency
            VALUES (p_client_id, p_key, p_fingerprint, p_job_id, remaining);
    END IF;
END $$;

-- The first draft is the job's beginning, and is left out where the log has begun already.
CREATE FUNCTION cancel_run(p_job_id text, p_types text[], p_stamps text[], p_payloads text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    run run_metadata;
    skipped integer;
BEGIN
    SELECT * INTO run FROM run_metadata WHERE job_id = p_job_id FOR UPDATE;
    IF NOT FOUND OR run.ended_at IS NOT NULL THEN
        RETURN;
    END IF;
    skipped := CASE WHEN run.head = 0 THEN 0 ELSE 1 END;
    INSERT INTO run_events (job_id, seq, type, ts, size, payload)
        SELECT p_job_id, run.head + place - skipped, type, ts, octet_length(payload), payload
        FROM unnest(p_types, p_stamps, p_payloads) WITH ORDINALITY AS e (type, ts, payload, place)
        WHERE place > skipped;
    UPDATE run_metadata
        SET epoch = epoch + 1, head = head + cardinality(p_types) - skipped, status = 'canceled',
            updated_at = p_stamps[cardinality(p_stamps)], ended_at = run_clock(), owner = NULL
        WHERE job_id = p_job_id;
END $$;

CREATE FUNCTION delete_run(p_job_id text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    -- The row first: of two instances that prune the same job one waits here and finds nothing.
    DELETE FROM run_metadata WHERE job_id = p_job_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM run_events WHERE job_id = p_job_id;
    DELETE FROM run_parameters WHERE job_id = p_job_id;
    DELETE FROM run_idempotency WHERE job_id = p_job_id;
    RETURN true;
END $$;
