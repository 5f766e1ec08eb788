-- The record: what writers commit, what the sequencer numbers, and what the log serves.
-- Roles exist already (glassgate_approvals, glassgate_proxy, glassgate_sequencer, glassgate_reader); this file only grants.

SET LOCAL lock_timeout = '5s';

CREATE SCHEMA ledger;
COMMENT ON SCHEMA ledger IS 'The tamper-evident log of this gate: one append-only Merkle tree.';
REVOKE ALL ON SCHEMA ledger FROM PUBLIC;

-- 1. What writers commit ---------------------------------------------------------------------------------------------

CREATE TABLE ledger.entry_batch (
    id            bigserial PRIMARY KEY,
    log           text   NOT NULL,
    writer        text   NOT NULL,
    first_counter bigint NOT NULL,
    n             int    NOT NULL,
    bytes         bytea  NOT NULL,
    CONSTRAINT entry_batch_counts_its_entries CHECK (n BETWEEN 1 AND 1024 AND first_counter >= 0),
    CONSTRAINT entry_batch_names_are_short CHECK (octet_length(log) <= 255 AND octet_length(writer) <= 64),
    CONSTRAINT entry_batch_is_bounded CHECK (octet_length(bytes) <= 25165824)
);
COMMENT ON TABLE ledger.entry_batch IS
    'Durable and not yet numbered: one row per flush. Rows live for milliseconds; the sequencer deletes what it numbers.';
-- Commitments and signatures do not compress; storing as is saves the attempt on every flush.
ALTER TABLE ledger.entry_batch ALTER COLUMN bytes SET STORAGE EXTERNAL;
-- A queue: rows come and go, so clean by count, not by a share of a table that is nearly empty.
ALTER TABLE ledger.entry_batch SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000
);

CREATE TABLE ledger.writer_head (
    writer       text   NOT NULL,
    log          text   NOT NULL,
    next_counter bigint NOT NULL CHECK (next_counter >= 0),
    prev         text   NOT NULL,
    CONSTRAINT writer_head_is_one_per_writer_and_log PRIMARY KEY (writer, log)
);
COMMENT ON TABLE ledger.writer_head IS
    'Where a writer stands that appends inside other transactions: locked there, so that a rollback returns the counters.';

-- 2. The log -----------------------------------------------------------------------------------------------------------

CREATE TABLE ledger.entry (
    idx       bigint PRIMARY KEY CHECK (idx >= 0),
    leaf      bytea  NOT NULL CHECK (octet_length(leaf) <= 65535),
    leaf_hash bytea  NOT NULL CHECK (octet_length(leaf_hash) = 32)
);
COMMENT ON TABLE ledger.entry IS 'The leaves, in order, for ever. Nothing here is ever updated or deleted.';

CREATE TABLE ledger.body (
    idx           bigint PRIMARY KEY,
    facts         bytea,
    facts_blind   bytea CHECK (octet_length(facts_blind) = 32),
    content       bytea,
    content_blind bytea CHECK (octet_length(content_blind) = 32),
    form          smallint NOT NULL,
    CONSTRAINT body_parts_have_blinds
        CHECK ((facts IS NULL) = (facts_blind IS NULL) AND (content IS NULL) = (content_blind IS NULL))
);
COMMENT ON TABLE ledger.body IS 'Facts and content of the entry of the same index, with the blinds of their commitments.';
COMMENT ON COLUMN ledger.body.form IS
    'How the parts are kept: the forms byte of the body framing (high four bits facts, low four content: 0 none, 1 clear, 2 sealed, 3 erased).';

CREATE TABLE ledger.tile (
    level  smallint NOT NULL CHECK (level BETWEEN 0 AND 63),
    n      bigint   NOT NULL CHECK (n >= 0),
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    root   bytea    NOT NULL CHECK (octet_length(root) = 32),
    CONSTRAINT tile_is_stored_once PRIMARY KEY (level, n)
);
COMMENT ON TABLE ledger.tile IS
    'Full tiles only (c2sp.org/tlog-tiles). A partial one is a prefix: of entry.leaf_hash at level 0, of the roots one level down above it.';
ALTER TABLE ledger.tile ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE TABLE ledger.head (
    one       boolean     PRIMARY KEY DEFAULT true CHECK (one),
    log       text        NOT NULL,
    size      bigint      NOT NULL CHECK (size >= 0),
    root      bytea       NOT NULL CHECK (octet_length(root) = 32),
    note      bytea       NOT NULL,
    epoch     bigint      NOT NULL,
    signed_at timestamptz NOT NULL
);
COMMENT ON TABLE ledger.head IS
    'One row: the size and root of the tree and the signed checkpoint over them. Leaders move it by compare-and-swap on size and epoch.';
-- Rewritten once per commit: leave room on the page so that no index is touched.
ALTER TABLE ledger.head SET (fillfactor = 10);

CREATE TABLE ledger.writer (
    writer       text   PRIMARY KEY,
    public_key   bytea  NOT NULL CHECK (octet_length(public_key) = 32),
    next_counter bigint NOT NULL CHECK (next_counter > 0),
    prev         text   NOT NULL,
    last_idx     bigint NOT NULL,
    stopped      text   NOT NULL DEFAULT ''
);
COMMENT ON TABLE ledger.writer IS 'Per certified writer: what its next entry must be.';
COMMENT ON COLUMN ledger.writer.stopped IS
    'Not empty: a batch that this writer signed could not be numbered, for this reason; nothing of it is numbered any more.';
ALTER TABLE ledger.writer SET (fillfactor = 50);

CREATE TABLE ledger.numbered_batch (
    writer        text   NOT NULL,
    first_counter bigint NOT NULL,
    n             int    NOT NULL,
    first_idx     bigint NOT NULL,
    CONSTRAINT numbered_batch_counts_once PRIMARY KEY (writer, first_counter)
);
COMMENT ON TABLE ledger.numbered_batch IS
    'Which entries came in which flush: tells a batch that was sent twice from one that says something else.';

CREATE TABLE ledger.quarantine (
    id            bigserial   PRIMARY KEY,
    batch_id      bigint      NOT NULL,
    log           text        NOT NULL,
    writer        text        NOT NULL,
    first_counter bigint      NOT NULL,
    n             int         NOT NULL,
    bytes         bytea       NOT NULL,
    fault         text        NOT NULL,
    detail        text        NOT NULL,
    at            timestamptz NOT NULL
);
COMMENT ON TABLE ledger.quarantine IS 'Batches that were committed and could not be numbered, whole, with the reason.';

CREATE TABLE ledger.lookup (
    idx     bigint PRIMARY KEY,
    id      uuid   NOT NULL,
    kind    text   NOT NULL,
    at      text   NOT NULL,
    writer  text   NOT NULL,
    request text,
    "grant" text,
    store   text,
    person  text,
    session text
);
COMMENT ON TABLE ledger.lookup IS
    'For searching: filled behind the sequencer from stubs and facts, may lag, proves nothing and may be rebuilt at any time.';
CREATE INDEX lookup_by_id ON ledger.lookup (id);
CREATE INDEX lookup_by_kind ON ledger.lookup (kind, idx);
CREATE INDEX lookup_by_request ON ledger.lookup (request, idx) WHERE request IS NOT NULL;
CREATE INDEX lookup_by_grant ON ledger.lookup ("grant", idx) WHERE "grant" IS NOT NULL;
CREATE INDEX lookup_by_store ON ledger.lookup (store, idx) WHERE store IS NOT NULL;
CREATE INDEX lookup_by_person ON ledger.lookup (person, idx) WHERE person IS NOT NULL;

-- 3. Who may do what ---------------------------------------------------------------------------------------------------
-- Nobody but the owner may update or delete leaves, bodies or tiles. What the owner or a superuser does to them anyway
-- is found by verification against the checkpoints, not prevented here.

REVOKE ALL ON ALL TABLES IN SCHEMA ledger FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA ledger FROM PUBLIC;

GRANT USAGE ON SCHEMA ledger TO glassgate_approvals, glassgate_proxy, glassgate_sequencer, glassgate_reader;

GRANT INSERT ON ledger.entry_batch TO glassgate_proxy, glassgate_approvals, glassgate_sequencer;
GRANT USAGE ON SEQUENCE ledger.entry_batch_id_seq TO glassgate_proxy, glassgate_approvals, glassgate_sequencer;
GRANT SELECT, INSERT, UPDATE ON ledger.writer_head TO glassgate_approvals, glassgate_sequencer;

GRANT SELECT, DELETE ON ledger.entry_batch TO glassgate_sequencer;
GRANT SELECT, INSERT ON ledger.entry, ledger.body, ledger.tile, ledger.numbered_batch, ledger.lookup, ledger.quarantine
    TO glassgate_sequencer;
GRANT SELECT, INSERT, UPDATE ON ledger.head, ledger.writer TO glassgate_sequencer;
GRANT USAGE ON SEQUENCE ledger.quarantine_id_seq TO glassgate_sequencer;

GRANT SELECT ON ledger.entry, ledger.body, ledger.tile, ledger.head, ledger.writer, ledger.numbered_batch,
    ledger.lookup, ledger.quarantine TO glassgate_reader;
