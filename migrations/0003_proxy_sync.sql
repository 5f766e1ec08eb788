-- How proxies learn what is granted: one function, which is all that their role may call here.

SET LOCAL lock_timeout = '5s';

CREATE TABLE approvals.sync_version (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint  NOT NULL CHECK (version >= 0)
);
COMMENT ON TABLE approvals.sync_version IS
    'One row, updated in every transaction that changes what proxies must know: its lock makes the order of versions '
    'the order of commits, which a sequence would not.';
INSERT INTO approvals.sync_version (version) VALUES (0);

CREATE TABLE approvals.proxy_worker (
    worker          text        PRIMARY KEY CHECK (octet_length(worker) BETWEEN 1 AND 64),
    applied_version bigint      NOT NULL,
    first_version   bigint      NOT NULL,
    seen_at         timestamptz NOT NULL
);
COMMENT ON COLUMN approvals.proxy_worker.first_version IS
    'The least that its first answer told it. Not a time: a worker that comes between the end of a grant and its commit '
    'is told that the grant lives.';
COMMENT ON TABLE approvals.proxy_worker IS
    'What each proxy worker last said it enforces, and when, by the database''s own clock.';
-- Every row is rewritten twice a second: leave room on the page for it.
ALTER TABLE approvals.proxy_worker SET (fillfactor = 30);

-- Steps: 1 the worker's words are checked; 2 its acknowledgement is stored; 3 one statement, and so one snapshot,
-- reads the version and everything that changed since. Rows newer than the version can therefore not be missed, and
-- older ones were sent before.
-- A worker that claims a version from the future has met another database, or a backup restored behind its back: it is
-- told everything, and counts as having applied nothing.
CREATE FUNCTION approvals.proxy_sync(worker text, applied_version bigint) RETURNS jsonb
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    known   bigint;
    current_version bigint;
    since   bigint;
    answer  jsonb;
BEGIN
    IF octet_length(worker) NOT BETWEEN 1 AND 64 OR applied_version < 0 THEN  -- 1
        RAISE EXCEPTION 'proxy_sync: a worker has a name of at most 64 bytes and applies versions from 0 on'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT s.version INTO current_version FROM approvals.sync_version AS s;  -- 2
    SELECT w.applied_version INTO known FROM approvals.proxy_worker AS w WHERE w.worker = proxy_sync.worker;
    since := CASE WHEN known IS NULL OR applied_version > current_version THEN 0 ELSE applied_version END;
    IF known IS NULL THEN
        DELETE FROM approvals.proxy_worker AS w WHERE w.seen_at < clock_timestamp() - interval '1 day';
        IF (SELECT count(*) FROM approvals.proxy_worker) >= 10000 THEN
            RAISE EXCEPTION 'proxy_sync: more than 10000 workers in a day' USING ERRCODE = 'configuration_limit_exceeded';
        END IF;
    END IF;
    INSERT INTO approvals.proxy_worker AS w (worker, applied_version, first_version, seen_at)
    VALUES (worker, since, current_version, clock_timestamp())
    ON CONFLICT ON CONSTRAINT proxy_worker_pkey
    DO UPDATE SET applied_version = EXCLUDED.applied_version, seen_at = EXCLUDED.seen_at;

    SELECT jsonb_build_object(  -- 3
        'version', v.version,
        'full', since = 0,
        'grants', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'grant', g.id, 'request', g.request, 'subject', g.subject, 'store', g.store,
                'scope', jsonb_build_object(
                    'store', g.store, 'actions', g.actions, 'resources', g.resources, 'limits', g.limits),
                'state', g.state, 'starts_at', g.starts_at, 'ends_at', g.ends_at, 'store_def', g.store_def,
                'decision', g.decision, 'assurance', g.assurance, 'cnf', g.cnf) ORDER BY g.sync_version, g.id)
            FROM approvals.access_grant AS g
            WHERE g.sync_version > since
              -- Everything that lives, and what was over so recently that a token of it may still come along.
              AND (since > 0 OR g.state IN ('issued', 'active') OR g.over_since > clock_timestamp() - interval '1 hour')
        ), '[]'),
        'keys', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'key', k.key, 'grant', k.access_grant, 'subject', k.subject, 'store', k.store,
                'sha256', k.sha256, 'scram', k.scram, 'live', k.live) ORDER BY k.serial)
            FROM approvals.access_key AS k
            WHERE k.sync_version > since AND (since > 0 OR k.live)
        ), '[]'),
        'policy', (
            SELECT jsonb_build_object('digest', p.digest, 'document', p.document)
            FROM approvals.policy_version AS p
            WHERE p.number = (SELECT max(number) FROM approvals.policy_version) AND p.sync_version > since
        ),
        'blocks', '[]'::jsonb,
        'leases', '[]'::jsonb)
    INTO answer
    FROM approvals.sync_version AS v;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION approvals.proxy_sync(text, bigint) IS
    'Stores what the worker enforces and returns what changed since, as JSON (proxy/live_grants.py, Sync).';

REVOKE ALL ON approvals.sync_version, approvals.proxy_worker FROM PUBLIC;
REVOKE ALL ON FUNCTION approvals.proxy_sync(text, bigint) FROM PUBLIC;

GRANT USAGE ON SCHEMA approvals TO glassgate_proxy;
GRANT EXECUTE ON FUNCTION approvals.proxy_sync(text, bigint) TO glassgate_proxy;
GRANT SELECT, UPDATE ON approvals.sync_version TO glassgate_approvals;
GRANT SELECT ON approvals.proxy_worker TO glassgate_approvals;
