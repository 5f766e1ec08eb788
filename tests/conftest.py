"""Fixtures for every test: `postgres_cluster`, `database`, `empty_database`, `tls_cluster`."""

from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest

from tests.support.postgres import (
    Cluster,
    Database,
    TlsCluster,
    customers_cluster,
    drop_database,
    fresh_database,
    gate_cluster,
)

pytest_plugins = ["tests.support.require"]

# How long one example takes says something about the machine, and a busy one must not fail a property.
hypothesis.settings.register_profile("glassgate", deadline=None)
hypothesis.settings.load_profile("glassgate")


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """A real cluster with the gate's roles and a template that has all migrations; made once per session."""
    with gate_cluster() as cluster:
        yield cluster


@pytest.fixture
async def database(postgres_cluster: Cluster) -> AsyncIterator[Database]:
    """A migrated database of this test's own: `.dsn(role)`, `await .connect(role)`, `await .pool(role)`."""
    made = await fresh_database(postgres_cluster)
    yield made
    await drop_database(made)


@pytest.fixture
async def empty_database(postgres_cluster: Cluster) -> AsyncIterator[Database]:
    """A database without any migration."""
    made = await fresh_database(postgres_cluster, template="")
    yield made
    await drop_database(made)


@pytest.fixture(scope="session")
def tls_cluster() -> Iterator[TlsCluster]:
    """A second PostgreSQL with TLS on loopback, in the part of a customer's database."""
    with customers_cluster() as cluster:
        yield cluster
