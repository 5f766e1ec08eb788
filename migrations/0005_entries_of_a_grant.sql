-- Progress and outcomes of an access name their grant only by its decision's digest: find them by the grant's id too.

SET LOCAL lock_timeout = '5s';

ALTER TABLE ledger.lookup ADD COLUMN decision bytea;
COMMENT ON COLUMN ledger.lookup.decision IS
    'Of grant.issued only: the digest by which the leaves of everything under the grant name it.';
CREATE INDEX lookup_by_decision ON ledger.lookup (decision) WHERE decision IS NOT NULL;

-- What is there was filled without; the indexer fills it again from the log.
TRUNCATE ledger.lookup;
