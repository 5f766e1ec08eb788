"""Request views for tests of what is shown: everybody and everything in them is invented."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from approvals.scope import Limits
from approvals.views import GrantView, QuorumView, ReasonView, RequestView, ReviewView, StoreView

ASKED_AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
REQUEST = "req_01k8x3m5q0000000000000000a"
GRANT = "gr_01k8x3m5q0000000000000000b"
NAMES = {
    "ada": "Ada Example (Acme AG)",
    "olga": "Olga Example (Zurich Data Oversight)",
    "sten": "Sten Example (Acme AG)",
}


def request(**changes: Any) -> RequestView:
    """A pending request of Ada's for customers-db."""
    return replace(
        RequestView(
            id=REQUEST,
            state="pending",
            requester="ada",
            requester_name="Ada Example",
            organisation="acme",
            organisation_name="Acme AG",
            store="customers-db",
            protocol="postgres",
            data_class="personal",
            actions=("read", "write"),
            resources=("*",),
            limits=Limits(),
            reason="incident",
            reason_text="Incident",
            purpose="order 1881 missing",
            ticket="INC-42",
            duration_s=3600,
            rule="customer data for incidents",
            assurance="click",
            digest="5f" * 32,
            cnf="",
            created_at=ASKED_AT,
            expires_at=ASKED_AT + timedelta(hours=12),
            closed_at=None,
            closed_by="",
            comment="",
            quorum=(QuorumView("overseer:zurich", "Zurich Data Oversight", 1, ()),),
            reviews=(),
            grant=None,
            version=1,
        ),
        **changes,
    )


def review(**changes: Any) -> ReviewView:
    """Olga's approval for half an hour."""
    return replace(
        ReviewView(
            id="rev_01k8x3m5q0000000000000000c",
            reviewer="olga",
            reviewer_name="Olga Example",
            organisation="zurich",
            organisation_name="Zurich Data Oversight",
            verdict="approve",
            comment="Only the one order.",
            actions=("read",),
            resources=("*",),
            duration_s=1800,
            via="slack",
            at=ASKED_AT + timedelta(minutes=5),
        ),
        **changes,
    )


def grant(**changes: Any) -> GrantView:
    """What Olga's approval issued."""
    return replace(
        GrantView(
            id=GRANT,
            request=REQUEST,
            subject="ada",
            subject_name="Ada Example",
            organisation="acme",
            store="customers-db",
            protocol="postgres",
            actions=("read",),
            resources=("*",),
            limits=Limits(),
            duration_s=1800,
            state="issued",
            decision="7a" * 32,
            assurance="click",
            approvers=("olga",),
            cnf="",
            issued_at=ASKED_AT + timedelta(minutes=5),
            use_by=ASKED_AT + timedelta(minutes=65),
            starts_at=None,
            ends_at=None,
            closed_at=None,
            closed_by="",
            comment="",
            revocation=None,
            keys=(),
            version=1,
        ),
        **changes,
    )


def approved(**changes: Any) -> RequestView:
    """The request with Olga's approval and its grant."""
    quorum = (QuorumView("overseer:zurich", "Zurich Data Oversight", 1, ("olga",)),)
    return request(state="approved", reviews=(review(),), quorum=quorum, grant=grant(**changes))


def active(**changes: Any) -> RequestView:
    started = ASKED_AT + timedelta(minutes=10)
    return approved(**({"state": "active", "starts_at": started, "ends_at": started + timedelta(minutes=30)} | changes))


def revoked() -> RequestView:
    return active(
        state="revoked", closed_at=ASKED_AT + timedelta(minutes=20), closed_by="olga", comment="Reads too much."
    )


def denied() -> RequestView:
    return request(
        state="denied",
        closed_at=ASKED_AT + timedelta(minutes=5),
        closed_by="olga",
        reviews=(review(verdict="deny", comment="No such order.", actions=(), resources=(), duration_s=0),),
    )


def stores() -> tuple[StoreView, ...]:
    """What Ada may ask for, and one store that she may not."""
    incident = ReasonView("incident", "Incident", "INC-[0-9]+")
    support = ReasonView("support", "Customer support", "")
    return (
        StoreView(
            "customers-db",
            "postgres",
            "personal",
            (),
            ("read", "write"),
            ("read", "write"),
            (incident,),
            14400,
            "click",
        ),
        StoreView("crm-api", "http", "personal", (), ("read",), ("read",), (incident, support), 3600, "click"),
        StoreView("payroll", "postgres", "personal", (), ("read",), (), (), 0, "signed"),
    )
