"""What a command line says already."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.notify.slack.prefill import Prefill, prefill
from tests.approvals.notify.slack.views import stores


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Prefill()),
        (
            "customers-db 1h INC-42 order missing",
            Prefill("customers-db", 3600, "incident", "INC-42", "order missing"),
        ),
        ("INC-42 30m crm-api", Prefill("crm-api", 1800, "incident", "INC-42", "")),
        ("order missing in customers-db", Prefill(purpose="order missing in customers-db")),
        ("customers-db crm-api", Prefill("customers-db", purpose="crm-api")),
        ("customers-db 1h 2h", Prefill("customers-db", 3600, purpose="2h")),
        ("customers-db INC-42x", Prefill("customers-db", purpose="INC-42x")),
        ("  customers-db   1h   why  not ", Prefill("customers-db", 3600, purpose="why  not")),
    ],
)
def test_prefill(text: str, expected: Prefill) -> None:
    assert prefill(text, stores()) == expected


@given(st.text(max_size=300))
def test_any_text_is_read_and_its_end_is_kept(text: str) -> None:
    read = prefill(text, stores())
    assert text.strip().endswith(read.purpose)
