-- How outbox rows reach the channels, and which Slack messages show which request.

SET LOCAL lock_timeout = '5s';

-- 1. Delivery ------------------------------------------------------------------------------------------------------

CREATE TABLE approvals.outbox_channel (
    name       text        PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 64),
    active     boolean     NOT NULL DEFAULT true,
    failures   int         NOT NULL DEFAULT 0 CHECK (failures >= 0),
    not_before timestamptz NOT NULL DEFAULT '-infinity'
);
COMMENT ON TABLE approvals.outbox_channel IS
    'The ways people are told. A channel that cannot be reached pauses until not_before; that survives restarts.';

CREATE TABLE approvals.outbox_delivery (
    channel    text        NOT NULL REFERENCES approvals.outbox_channel (name),
    outbox     bigint      NOT NULL REFERENCES approvals.outbox (id) ON DELETE CASCADE,
    subject    text        NOT NULL,
    state      text        NOT NULL DEFAULT 'due',
    attempts   int         NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    refusals   int         NOT NULL DEFAULT 0 CHECK (refusals BETWEEN 0 AND attempts),
    not_before timestamptz NOT NULL DEFAULT '-infinity',
    last_error text        NOT NULL DEFAULT '' CHECK (octet_length(last_error) <= 2000),
    done_at    timestamptz,
    CONSTRAINT outbox_delivery_is_one_per_channel PRIMARY KEY (channel, outbox),
    CONSTRAINT outbox_delivery_states CHECK (state IN ('due', 'delivered', 'parked')),
    CONSTRAINT outbox_delivery_knows_when_it_was_done CHECK ((state = 'due') = (done_at IS NULL))
);
COMMENT ON TABLE approvals.outbox_delivery IS
    'One row per outbox row and channel. Rows of one subject are delivered in order; a parked one lets the next pass.';
COMMENT ON COLUMN approvals.outbox_delivery.refusals IS
    'How many of the attempts reached the other side and were refused there: these park it, an outage does not.';
COMMENT ON COLUMN approvals.outbox_delivery.subject IS 'What must stay in order: the request''s id.';

CREATE INDEX outbox_delivery_due ON approvals.outbox_delivery (channel, outbox) WHERE state = 'due';
CREATE INDEX outbox_delivery_order ON approvals.outbox_delivery (channel, subject, outbox) WHERE state = 'due';
CREATE INDEX outbox_delivery_parked ON approvals.outbox_delivery (channel, outbox) WHERE state = 'parked';
-- Referenced rows are deleted by age; without this every delete would scan the deliveries.
CREATE INDEX outbox_delivery_of ON approvals.outbox_delivery (outbox);

CREATE FUNCTION approvals.outbox_fan_out() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO approvals.outbox_delivery (channel, outbox, subject)
    SELECT name, NEW.id, coalesce(NEW.payload ->> 'request', '') FROM approvals.outbox_channel WHERE active;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION approvals.outbox_fan_out() IS
    'One delivery per active channel, in the transaction that wrote the outbox row: nothing has to look for late commits.';
REVOKE ALL ON FUNCTION approvals.outbox_fan_out() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION approvals.outbox_fan_out() TO glassgate_approvals;

CREATE TRIGGER outbox_fan_out AFTER INSERT ON approvals.outbox
    FOR EACH ROW EXECUTE FUNCTION approvals.outbox_fan_out();

-- 2. Slack -----------------------------------------------------------------------------------------------------------

CREATE TABLE approvals.slack_message (
    request   text        NOT NULL,
    role      text        NOT NULL CHECK (octet_length(role) BETWEEN 1 AND 64),
    channel   text        NOT NULL CHECK (octet_length(channel) <= 64),
    ts        text        NOT NULL CHECK (octet_length(ts) <= 64),
    posted_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT slack_message_is_one_per_role PRIMARY KEY (request, role)
);
COMMENT ON TABLE approvals.slack_message IS
    'Where a request is shown: one message in the overseers'' channel, and what its requester has been told already.';
COMMENT ON COLUMN approvals.slack_message.role IS '"overseers", or "told:" and the topic of a direct message.';

REVOKE ALL ON approvals.outbox_channel, approvals.outbox_delivery, approvals.slack_message FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON approvals.outbox_channel TO glassgate_approvals;
GRANT SELECT, INSERT, UPDATE, DELETE ON approvals.outbox_delivery TO glassgate_approvals;
GRANT SELECT, INSERT, UPDATE ON approvals.slack_message TO glassgate_approvals;
