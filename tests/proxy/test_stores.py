"""Stores out of the policy in force: nothing is believed that its digest does not cover."""

import hashlib
from typing import Any

import pytest

from approvals.store_definition import StoreDefinition, definition_digest
from ledger.encoding import encode
from proxy.stores import PolicyRefused, Stores

CRM = StoreDefinition(name="crm", protocol="http", upstream="http://127.0.0.1:1", hosts=("CRM.localhost",))


def document(stores: Any) -> tuple[str, str]:
    data = encode({"version": 1, "stores": stores})
    return data.decode(), hashlib.sha256(data).hexdigest()


def test_a_store_is_found_by_name_and_by_host_in_any_case() -> None:
    stores = Stores.from_policy(*document({"crm": CRM}))
    assert stores.by_name("crm") == (CRM, definition_digest(CRM))
    assert stores.by_host("crm.LOCALHOST") == (CRM, definition_digest(CRM))
    assert stores.by_name("CRM") is None
    assert stores.by_host("localhost") is None
    assert stores.names() == ["crm"]


def test_a_changed_document_is_refused() -> None:
    text, digest = document({"crm": CRM})
    with pytest.raises(PolicyRefused, match="digest"):
        Stores.from_policy(text.replace("127.0.0.1", "127.0.0.2"), digest)


@pytest.mark.parametrize(
    ("stores", "says"),
    [
        ({"other": CRM}, "under the name"),
        ({"crm": {"name": "crm"}}, "cannot be read"),
        ([], "cannot be read"),
    ],
)
def test_a_document_of_another_shape_is_refused(stores: Any, says: str) -> None:
    with pytest.raises(PolicyRefused, match=says):
        Stores.from_policy(*document(stores))
