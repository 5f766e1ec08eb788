"""The table of reading functions, held against a live catalog."""

import asyncpg

from proxy.classify.sql_functions import HARMLESS, READING
from tests.support.postgres import TlsCluster

VOLATILE = """
select distinct proname from pg_proc
where pronamespace = 'pg_catalog'::regnamespace and provolatile = 'v' and proname = any($1)
"""


async def test_no_function_of_the_table_is_volatile(tls_cluster: TlsCluster) -> None:
    connection = await asyncpg.connect(tls_cluster.superuser_dsn())
    try:
        volatile = await connection.fetch(VOLATILE, sorted(READING))
    finally:
        await connection.close()
    assert {row["proname"] for row in volatile} == set()


def test_the_two_tables_do_not_overlap() -> None:
    assert READING.isdisjoint(HARMLESS)
