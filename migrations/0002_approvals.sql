-- Requests, reviews, grants, access keys, logins, policy versions and the outbox.
-- Roles exist already; this file only grants. What the lifecycle forbids, the database forbids too.

SET LOCAL lock_timeout = '5s';

CREATE SCHEMA approvals;
COMMENT ON SCHEMA approvals IS 'Who may have what, for how long, and who said so.';
REVOKE ALL ON SCHEMA approvals FROM PUBLIC;

-- 1. The lifecycle -----------------------------------------------------------------------------------------------------

CREATE TABLE approvals.transition (
    machine    text NOT NULL CHECK (machine IN ('request', 'grant')),
    from_state text NOT NULL,
    event      text NOT NULL,
    to_state   text NOT NULL,
    CONSTRAINT transition_is_a_function PRIMARY KEY (machine, from_state, event),
    CONSTRAINT transition_can_be_referenced UNIQUE (machine, from_state, event, to_state)
);
COMMENT ON TABLE approvals.transition IS
    'The same pairs as approvals/lifecycle.py; every state change references one of them.';

INSERT INTO approvals.transition (machine, from_state, event, to_state) VALUES
    ('request', 'pending', 'approve',  'approved'),
    ('request', 'pending', 'deny',     'denied'),
    ('request', 'pending', 'cancel',   'cancelled'),
    ('request', 'pending', 'expire',   'expired'),
    ('grant',   'issued',  'activate', 'active'),
    ('grant',   'issued',  'expire',   'expired'),
    ('grant',   'issued',  'revoke',   'revoked'),
    ('grant',   'issued',  'end',      'ended'),
    ('grant',   'active',  'expire',   'expired'),
    ('grant',   'active',  'revoke',   'revoked'),
    ('grant',   'active',  'end',      'ended');

-- 2. Policy ------------------------------------------------------------------------------------------------------------

CREATE TABLE approvals.policy_version (
    number       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest       text        NOT NULL,
    document     text        NOT NULL,
    adopted_at   timestamptz NOT NULL,
    adopted_by   text        NOT NULL,
    sync_version bigint      NOT NULL,
    CONSTRAINT policy_version_has_its_digest
        CHECK (digest = encode(sha256(convert_to(document, 'UTF8')), 'hex'))
);
COMMENT ON TABLE approvals.policy_version IS 'Policies as adopted, as canonical JSON; the one with the highest number is in force.';

CREATE TABLE approvals.policy_turn (never boolean NOT NULL CHECK (never AND NOT never));
COMMENT ON TABLE approvals.policy_turn IS
    'Always empty: it is locked, by every step to share and by an adoption alone, so that no policy changes under a step.';

-- 3. Requests and reviews ----------------------------------------------------------------------------------------------

CREATE TABLE approvals.request (
    id           text        COLLATE "C" PRIMARY KEY,
    requester    text        NOT NULL,
    organisation text        NOT NULL,
    store        text        NOT NULL,
    store_def    text        NOT NULL,
    actions      text[]      NOT NULL,
    resources    text[]      NOT NULL,
    limits       jsonb       NOT NULL,
    reason       text        NOT NULL,
    purpose      text        NOT NULL,
    ticket       text        NOT NULL,
    duration_s   int         NOT NULL,
    rule         text        NOT NULL,
    assurance    text        NOT NULL CHECK (assurance IN ('click', 'signed')),
    cnf          text        NOT NULL,
    via          text        NOT NULL,
    digest       text        NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    state        text        NOT NULL DEFAULT 'pending',
    step         int         NOT NULL DEFAULT 0,
    version      int         NOT NULL DEFAULT 0,
    CONSTRAINT request_asks_for_something CHECK (cardinality(actions) > 0 AND cardinality(resources) > 0),
    CONSTRAINT request_lasts_a_day_at_most CHECK (duration_s BETWEEN 1 AND 86400),
    CONSTRAINT request_is_answered_within_12_hours
        CHECK (expires_at > created_at AND expires_at <= created_at + interval '12 hours'),
    CONSTRAINT request_has_a_purpose CHECK (char_length(purpose) BETWEEN 1 AND 2000),
    CONSTRAINT request_starts_pending CHECK (step > 0 OR state = 'pending'),
    CONSTRAINT request_names_its_requester UNIQUE (id, requester)
);
-- Ids are compared byte by byte (COLLATE "C"): they sort by time, and pages of them rely on it.
COMMENT ON TABLE approvals.request IS 'An access request as it was asked; only state, step and version ever change.';
COMMENT ON COLUMN approvals.request.digest IS 'SHA-256 over everything that is shown to the people who decide.';
COMMENT ON COLUMN approvals.request.step IS 'How many state changes there were: the last row of request_change.';
COMMENT ON COLUMN approvals.request.version IS 'Counts every write; a write names the version it expects and must change one row.';
CREATE INDEX request_due ON approvals.request (expires_at) WHERE state = 'pending';
CREATE INDEX request_by_requester ON approvals.request (requester, id);
CREATE INDEX request_by_store ON approvals.request (store, id);

CREATE TABLE approvals.request_change (
    request    text        COLLATE "C" NOT NULL REFERENCES approvals.request (id),
    step       int         NOT NULL CHECK (step > 0),
    machine    text        NOT NULL DEFAULT 'request' CHECK (machine = 'request'),
    from_state text        NOT NULL,
    event      text        NOT NULL,
    to_state   text        NOT NULL,
    at         timestamptz NOT NULL,
    by_person  text        NOT NULL,
    via        text        NOT NULL,
    comment    text        NOT NULL,
    before     int         GENERATED ALWAYS AS (NULLIF(step - 1, 0)) STORED,
    PRIMARY KEY (request, step),
    CONSTRAINT request_change_can_be_referenced UNIQUE (request, step, to_state),
    CONSTRAINT request_change_is_in_the_table
        FOREIGN KEY (machine, from_state, event, to_state)
        REFERENCES approvals.transition (machine, from_state, event, to_state),
    CONSTRAINT request_change_starts_pending CHECK (step > 1 OR from_state = 'pending'),
    CONSTRAINT request_change_follows_the_one_before
        FOREIGN KEY (request, before, from_state) REFERENCES approvals.request_change (request, step, to_state)
);
COMMENT ON TABLE approvals.request_change IS 'Every state change of a request; by_person is empty when it was the clock.';

-- A state is only ever what the last recorded change made it.
ALTER TABLE approvals.request ADD COLUMN changed int GENERATED ALWAYS AS (NULLIF(step, 0)) STORED;
ALTER TABLE approvals.request ADD CONSTRAINT request_state_is_its_last_change
    FOREIGN KEY (id, changed, state) REFERENCES approvals.request_change (request, step, to_state)
    DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE approvals.review (
    id           text        PRIMARY KEY,
    request      text        COLLATE "C" NOT NULL,
    requester    text        NOT NULL,
    reviewer     text        NOT NULL,
    organisation text        NOT NULL,
    slot         text        NOT NULL,
    verdict      text        NOT NULL CHECK (verdict IN ('approve', 'deny')),
    comment      text        NOT NULL CHECK (char_length(comment) <= 2000),
    shown_digest text        NOT NULL,
    actions      text[]      NOT NULL,
    resources    text[]      NOT NULL,
    limits       jsonb       NOT NULL,
    duration_s   int         NOT NULL,
    via          text        NOT NULL,
    assurance    text        NOT NULL CHECK (assurance IN ('click', 'signed')),
    at           timestamptz NOT NULL,
    CONSTRAINT review_is_of_that_request FOREIGN KEY (request, requester) REFERENCES approvals.request (id, requester),
    CONSTRAINT review_is_never_by_the_requester CHECK (reviewer <> requester),
    CONSTRAINT review_is_once_per_person UNIQUE (request, reviewer)
);
COMMENT ON TABLE approvals.review IS 'One person''s word on one request. Never changed.';

CREATE TABLE approvals.idempotency (
    person       text        NOT NULL,
    key          text        NOT NULL CHECK (char_length(key) BETWEEN 1 AND 200),
    request      text        COLLATE "C" NOT NULL REFERENCES approvals.request (id),
    input_digest text        NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (person, key)
);
COMMENT ON TABLE approvals.idempotency IS 'Which request a client''s key led to, for 24 hours.';

-- 4. Grants and access keys --------------------------------------------------------------------------------------------

CREATE TABLE approvals.access_grant (
    id             text        COLLATE "C" PRIMARY KEY,
    request        text        COLLATE "C" NOT NULL,
    subject        text        NOT NULL,
    organisation   text        NOT NULL,
    store          text        NOT NULL,
    store_def      text        NOT NULL,
    actions        text[]      NOT NULL,
    resources      text[]      NOT NULL,
    limits         jsonb       NOT NULL,
    duration_s     int         NOT NULL,
    decision       text        NOT NULL,
    assurance      text        NOT NULL CHECK (assurance IN ('click', 'signed')),
    approvers      text[]      NOT NULL,
    cnf            text        NOT NULL,
    issued_at      timestamptz NOT NULL,
    use_by         timestamptz NOT NULL,
    starts_at      timestamptz,
    ends_at        timestamptz,
    state          text        NOT NULL DEFAULT 'issued',
    step           int         NOT NULL DEFAULT 0,
    version        int         NOT NULL DEFAULT 0,
    sync_version   bigint      NOT NULL,
    over_since     timestamptz,
    CONSTRAINT access_grant_is_one_per_request UNIQUE (request),
    CONSTRAINT access_grant_is_the_requesters FOREIGN KEY (request, subject) REFERENCES approvals.request (id, requester),
    CONSTRAINT access_grant_covers_something CHECK (cardinality(actions) > 0 AND cardinality(resources) > 0),
    CONSTRAINT access_grant_has_approvers_and_not_its_subject
        CHECK (cardinality(approvers) > 0 AND NOT subject = ANY (approvers)),
    CONSTRAINT access_grant_lasts_a_day_at_most CHECK (duration_s BETWEEN 1 AND 86400),
    CONSTRAINT access_grant_is_used_within_an_hour
        CHECK (use_by > issued_at AND use_by <= issued_at + interval '1 hour'),
    CONSTRAINT access_grant_window_is_whole CHECK ((starts_at IS NULL) = (ends_at IS NULL)),
    CONSTRAINT access_grant_window_is_as_granted
        CHECK (starts_at >= issued_at AND starts_at < use_by
               AND ends_at > starts_at AND ends_at <= starts_at + make_interval(secs => duration_s)),
    CONSTRAINT access_grant_active_has_a_window CHECK (state <> 'active' OR starts_at IS NOT NULL),
    CONSTRAINT access_grant_starts_issued CHECK (step > 0 OR state = 'issued')
);
COMMENT ON TABLE approvals.access_grant IS 'A time-bound right; scope, subject and decision never change.';
COMMENT ON COLUMN approvals.access_grant.over_since IS
    'When it was over by the database''s own clock: what acknowledgements of proxies are measured against.';
CREATE INDEX access_grant_by_sync_version ON approvals.access_grant (sync_version);
CREATE INDEX access_grant_issued_due ON approvals.access_grant (use_by) WHERE state = 'issued';
CREATE INDEX access_grant_active_due ON approvals.access_grant (ends_at) WHERE state = 'active';
CREATE INDEX access_grant_by_subject ON approvals.access_grant (subject, id);

CREATE TABLE approvals.grant_change (
    access_grant text        COLLATE "C" NOT NULL REFERENCES approvals.access_grant (id),
    step         int         NOT NULL CHECK (step > 0),
    machine      text        NOT NULL DEFAULT 'grant' CHECK (machine = 'grant'),
    from_state   text        NOT NULL,
    event        text        NOT NULL,
    to_state     text        NOT NULL,
    at           timestamptz NOT NULL,
    by_person    text        NOT NULL,
    via          text        NOT NULL,
    comment      text        NOT NULL,
    before       int         GENERATED ALWAYS AS (NULLIF(step - 1, 0)) STORED,
    PRIMARY KEY (access_grant, step),
    CONSTRAINT grant_change_can_be_referenced UNIQUE (access_grant, step, to_state),
    CONSTRAINT grant_change_is_in_the_table
        FOREIGN KEY (machine, from_state, event, to_state)
        REFERENCES approvals.transition (machine, from_state, event, to_state),
    CONSTRAINT grant_change_starts_issued CHECK (step > 1 OR from_state = 'issued'),
    CONSTRAINT grant_change_follows_the_one_before
        FOREIGN KEY (access_grant, before, from_state) REFERENCES approvals.grant_change (access_grant, step, to_state)
);
COMMENT ON TABLE approvals.grant_change IS 'Every state change of a grant; by_person is empty when it was the clock.';

ALTER TABLE approvals.access_grant ADD COLUMN changed int GENERATED ALWAYS AS (NULLIF(step, 0)) STORED;
ALTER TABLE approvals.access_grant ADD CONSTRAINT access_grant_state_is_its_last_change
    FOREIGN KEY (id, changed, state) REFERENCES approvals.grant_change (access_grant, step, to_state)
    DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE approvals.access_key (
    serial       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          text        NOT NULL CHECK (char_length(key) = 4),
    access_grant text        COLLATE "C" NOT NULL REFERENCES approvals.access_grant (id),
    subject      text        NOT NULL,
    store        text        NOT NULL,
    sha256       text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    scram        text        NOT NULL,
    live         boolean     NOT NULL DEFAULT true,
    created_at   timestamptz NOT NULL,
    sync_version bigint      NOT NULL,
    CONSTRAINT access_key_is_never_used_again UNIQUE (sha256)
);
COMMENT ON TABLE approvals.access_key IS 'Verifiers of access keys; the keys themselves never come here.';
CREATE UNIQUE INDEX access_key_live_name_is_unique ON approvals.access_key (store, subject, key) WHERE live;
CREATE UNIQUE INDEX access_key_is_one_live_per_grant ON approvals.access_key (access_grant) WHERE live;
CREATE INDEX access_key_by_sync_version ON approvals.access_key (sync_version);

-- One write at a time, one change at a time, and never back: compare-and-swap as a rule of the rows themselves.
CREATE FUNCTION approvals.only_forward() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.version <> OLD.version + 1 OR NEW.step NOT IN (OLD.step, OLD.step + 1)
        OR (NEW.step = OLD.step) <> (NEW.state = OLD.state)
    THEN
        RAISE EXCEPTION '% % moves only forward: one version a write, one step a change of state', TG_TABLE_NAME, OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION approvals.only_forward() IS 'Versions count every write, steps every change of state.';
REVOKE ALL ON FUNCTION approvals.only_forward() FROM PUBLIC;
CREATE TRIGGER request_moves_only_forward BEFORE UPDATE ON approvals.request
    FOR EACH ROW EXECUTE FUNCTION approvals.only_forward();
CREATE TRIGGER access_grant_moves_only_forward BEFORE UPDATE ON approvals.access_grant
    FOR EACH ROW EXECUTE FUNCTION approvals.only_forward();

-- What began does not begin again later, what is over was over when it was said to be, an ended key never lives again.
CREATE FUNCTION approvals.never_again() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% is settled once and for good', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;
COMMENT ON FUNCTION approvals.never_again() IS 'Refuses the update that its trigger''s condition describes.';
REVOKE ALL ON FUNCTION approvals.never_again() FROM PUBLIC;
CREATE TRIGGER access_grant_window_is_settled BEFORE UPDATE ON approvals.access_grant
    FOR EACH ROW WHEN (
        OLD.starts_at IS NOT NULL
            AND (NEW.starts_at IS DISTINCT FROM OLD.starts_at OR NEW.ends_at IS DISTINCT FROM OLD.ends_at)
        OR OLD.over_since IS NOT NULL AND NEW.over_since IS DISTINCT FROM OLD.over_since)
    EXECUTE FUNCTION approvals.never_again();
CREATE TRIGGER access_key_ends_for_good BEFORE UPDATE ON approvals.access_key
    FOR EACH ROW WHEN (NEW.live AND NOT OLD.live) EXECUTE FUNCTION approvals.never_again();

-- 5. Logging in --------------------------------------------------------------------------------------------------------

CREATE TABLE approvals.login_code (
    sha256     text        PRIMARY KEY,
    person     text        NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    CONSTRAINT login_code_lasts_ten_minutes
        CHECK (expires_at > created_at AND expires_at <= created_at + interval '10 minutes')
);
COMMENT ON TABLE approvals.login_code IS 'One-time codes, hashed.';

CREATE TABLE approvals.login_failure (
    source   text        NOT NULL,
    minute   timestamptz NOT NULL,
    failures int         NOT NULL,
    PRIMARY KEY (source, minute)
);
COMMENT ON TABLE approvals.login_failure IS 'Wrong codes per source and minute, so that guessing is slow.';

CREATE TABLE approvals.session (
    sha256     text        PRIMARY KEY,
    person     text        NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT session_lasts_twelve_hours
        CHECK (expires_at > created_at AND expires_at <= created_at + interval '12 hours')
);
COMMENT ON TABLE approvals.session IS 'Sessions of people at the API: only the hash of the token is kept.';
CREATE INDEX session_by_person ON approvals.session (person);

-- 6. What is to be told ------------------------------------------------------------------------------------------------

CREATE TABLE approvals.outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic      text        NOT NULL,
    payload    jsonb       NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE approvals.outbox IS
    'What channels have to be told, written with the step it tells of, delivered after its commit, at least once.';

-- 7. Who may do what ---------------------------------------------------------------------------------------------------
-- History (changes, reviews, policy versions) can be added to and read, by nobody but the owner changed or removed.

REVOKE ALL ON ALL TABLES IN SCHEMA approvals FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA approvals FROM PUBLIC;

GRANT USAGE ON SCHEMA approvals TO glassgate_approvals;
GRANT SELECT ON approvals.transition TO glassgate_approvals;
GRANT SELECT, UPDATE ON approvals.policy_turn TO glassgate_approvals;
GRANT SELECT, INSERT ON approvals.policy_version, approvals.request, approvals.request_change, approvals.review,
    approvals.access_grant, approvals.grant_change, approvals.access_key TO glassgate_approvals;
GRANT UPDATE (state, step, version) ON approvals.request TO glassgate_approvals;
GRANT UPDATE (state, step, version, starts_at, ends_at, sync_version, over_since)
    ON approvals.access_grant TO glassgate_approvals;
GRANT UPDATE (live, sync_version) ON approvals.access_key TO glassgate_approvals;
GRANT SELECT, INSERT, UPDATE, DELETE ON approvals.idempotency, approvals.login_code, approvals.login_failure,
    approvals.session, approvals.outbox TO glassgate_approvals;
