"""The trial's two stores, really started: filled, and closed to everybody but the gate."""

import http.client
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from glassgate.demo.children import wait_until
from glassgate.demo.dataset import LOST_ORDER, generate
from glassgate.demo.stores import CrmApi, CustomersDb
from glassgate.embedded_postgres import free_port
from tests.support.postgres import short_directory


@dataclass(frozen=True)
class Shop:
    customers: CustomersDb
    crm: CrmApi


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    data = generate()
    with short_directory() as directory:
        (directory / "crm").mkdir(mode=0o700)
        customers = CustomersDb(directory / "customers", free_port())
        crm = CrmApi(directory / "crm", free_port())
        server = customers.start(data)
        child = crm.start(data, directory / "crm.log")
        try:
            wait_until("crm-api", crm.ready, [child])
            yield Shop(customers, crm)
        finally:
            child.stop()
            server.stop()


async def _as_gate(customers: CustomersDb, password: str | None = None) -> asyncpg.Connection:
    trust = ssl.create_default_context(cafile=str(customers.ca_file))
    return await asyncpg.connect(
        host="127.0.0.1",
        port=customers.port,
        user="gate",
        password=password or customers.password_file.read_text().strip(),
        database="customers",
        ssl=trust,
    )


async def test_customers_db_holds_the_data_set(shop: Shop) -> None:
    gate = await _as_gate(shop.customers)
    try:
        for table, rows in generate().rows.items():
            assert await gate.fetchval(f"SELECT count(*) FROM {table}") == len(rows)
        assert await gate.fetchval("SELECT state FROM orders WHERE id = $1", LOST_ORDER) == "paid"
    finally:
        await gate.close()


@pytest.mark.parametrize(
    "statement", ["DELETE FROM orders", "DROP TABLE orders", "CREATE TABLE mine ()", "UPDATE customers SET name = ''"]
)
async def test_the_gates_role_has_no_more_than_it_needs(shop: Shop, statement: str) -> None:
    gate = await _as_gate(shop.customers)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await gate.execute(statement)
    finally:
        await gate.close()


async def test_customers_db_wants_the_password(shop: Shop) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await _as_gate(shop.customers, "guess")


async def test_customers_db_speaks_tls_only(shop: Shop) -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="no encryption"):
        await asyncpg.connect(
            host="127.0.0.1", port=shop.customers.port, user="gate", password="x", database="customers", ssl=False
        )


def _crm(shop: Shop, path: str, *authorization: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", shop.crm.port, timeout=10)
    try:
        connection.putrequest("GET", path)
        for value in authorization:
            connection.putheader("Authorization", value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_crm_api_answers_the_gate(shop: Shop) -> None:
    status, body = _crm(
        shop, f"/crm/orders/{LOST_ORDER}.json?_shape=array", f"Bearer {shop.crm.token_file.read_text().strip()}"
    )
    assert status == 200
    assert b'"paid"' in body


def test_crm_api_answers_nobody_else(shop: Shop) -> None:
    token = shop.crm.token_file.read_text().strip()
    for sent in ((), ("Bearer guess",), (f"Bearer {token}x",), (token,), (f"Bearer {token}", "Bearer guess")):
        assert _crm(shop, "/crm/customers.json", *sent)[0] == 401, sent


def test_secrets_of_the_stores_are_their_owners_alone(shop: Shop) -> None:
    for secret in (shop.customers.password_file, shop.crm.token_file):
        assert secret.stat().st_mode & 0o077 == 0
        assert secret.stat().st_uid == os.geteuid()


def test_credentials_are_new_at_every_start(tmp_path: Path) -> None:
    data = generate()
    crm = CrmApi(tmp_path, free_port())
    seen = set()
    for _ in range(2):
        child = crm.start(data, tmp_path / "log")
        child.stop()
        seen.add(crm.token_file.read_text())
    assert len(seen) == 2
