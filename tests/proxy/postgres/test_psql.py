"""The real psql through the gate."""

from tests.proxy.postgres.conftest import Running


async def test_a_query_is_answered_and_on_record(running: Running) -> None:
    running.grant("read")
    code, out, err = await running.psql("-Atc", "select customer from orders where id = 7")
    assert (code, out, err) == (0, "customer 7\n", "")
    assert running.texts() == ["select customer from orders where id = 7"]
    intent = running.executions()[0]
    assert intent.facts["resources"] == ["public.orders"]
    assert intent.facts["actions"] == ["read"]
    outcome = running.outcome(intent)
    assert (outcome["result"], outcome["command"], outcome["rows"]) == ("complete", "SELECT 1", 1)


async def test_the_whole_life_of_a_session_is_on_record(running: Running) -> None:
    running.grant("read")
    await running.psql("-Atc", "select 1")
    await running.gate.recorder.wait_for("session.ended")
    kinds = [entry.kind for entry in running.entries]
    assert kinds == ["session.started", "access.intent", "access.outcome", "session.ended"]
    started = running.entries[0]
    assert started.facts["application"] == "psql"
    assert started.facts["tls"] == "TLSv1.3"
    assert started.facts["subject"] == "ada"
    assert started.facts["key"] == "k7f3"
    assert started.draft.grant == "d" * 64
    assert running.entries[-1].facts["statements"] == 1


async def test_the_systems_older_psql_works_too(running: Running) -> None:
    running.grant("read")
    code, out, err = await running.psql("-Atc", "select count(*) from orders", program="psql")
    assert (code, out, err) == (0, "100\n", "")


async def test_describe_commands(running: Running) -> None:
    running.grant("read")
    code, out, err = await running.psql("-c", r"\d orders", "-c", r"\dt", "-c", r"\l", "-c", r"\du", "-c", r"\df")
    assert (code, err) == (0, "")
    assert "orders_pkey" in out
    assert all(entry.facts["actions"] == ["read"] for entry in running.executions())


async def test_each_statement_of_one_query_has_its_own_record(running: Running) -> None:
    running.grant("read", "write")
    code, out, _ = await running.psql(
        "-At", stdin="begin \\; select 1 \\; update orders set cents = 0 where id < 4 \\; commit;\n"
    )
    assert (code, out) == (0, "BEGIN\n1\nUPDATE 3\nCOMMIT\n")
    commands = [running.outcome(intent)["command"] for intent in running.executions()]
    assert commands == ["BEGIN", "SELECT 1", "UPDATE 3", "COMMIT"]
    assert [i.facts["operation"] for i in running.executions()] == ["BEGIN", "SELECT", "UPDATE", "COMMIT"]
    assert "".join(running.texts()) == "begin ; select 1 ; update orders set cents = 0 where id < 4 ; commit;"


async def test_statements_behind_an_error_are_marked_skipped(running: Running) -> None:
    running.grant("read")
    code, _, err = await running.psql("-At", stdin="select 1 \\; select 1/0 \\; select 2;\n")
    assert "division by zero" in err
    assert [running.outcome(i)["result"] for i in running.executions()] == ["complete", "error", "skipped"]
    assert running.outcome(running.executions()[1])["sqlstate"] == "22012"
    assert code == 0


async def test_a_write_without_the_action_is_refused_and_the_session_goes_on(running: Running) -> None:
    running.grant("read")
    code, out, err = await running.psql(
        "-At", "-v", "VERBOSITY=verbose", stdin="delete from orders;\nselect count(*) from orders;\n"
    )
    assert code == 0
    assert out == "100\n"
    assert "42501" in err and "does not cover this kind of operation" in err
    refused = running.of("access.refused")
    assert [e.facts["reason"] for e in refused] == ["action_not_granted"]
    assert refused[0].content is not None
    assert refused[0].content["text"] == "delete from orders;"
    assert running.texts() == ["select count(*) from orders;"]


async def test_a_table_outside_the_scope_is_refused_by_resource(running: Running) -> None:
    running.grant("read", resources=("public.orders",))
    _, out, err = await running.psql("-At", stdin="select word from secrets;\nselect 1 from orders limit 1;\n")
    assert out == "1\n"
    assert "does not cover this part of the store" in err
    assert running.of("access.refused")[0].facts["reason"] == "resource_not_granted"


async def test_refusals_inside_a_transaction_abort_it_as_an_error_would(running: Running) -> None:
    running.grant("read")
    _, out, err = await running.psql("-At", stdin="begin;\ndelete from orders;\nselect 1;\nrollback;\nselect 2;\n")
    assert out == "BEGIN\nROLLBACK\n2\n"
    assert "current transaction is aborted" in err


async def test_a_typing_mistake_is_told_as_the_store_would(running: Running) -> None:
    running.grant("read")
    _, out, err = await running.psql("-At", stdin="selct 1;\nselect 2;\n")
    assert 'syntax error at or near "selct"' in err
    assert out == "2\n"
    assert running.of("access.refused")[0].facts["reason"] == "statement_unparsed"


async def test_copy_out(running: Running) -> None:
    running.grant("read")
    code, out, _ = await running.psql("-c", r"\copy orders to stdout")
    assert code == 0
    assert out.count("\n") == 100
    outcome = running.outcome(running.executions()[0])
    assert (outcome["command"], outcome["rows"]) == ("COPY 100", 100)


async def test_copy_in(running: Running) -> None:
    running.grant("read", "write")
    code, out, err = await running.psql("-At", "-c", r"\copy orders from pstdin", stdin="1001\tx\t1\n1002\ty\t2\n")
    assert (code, out, err) == (0, "COPY 2\n", "")
    outcome = running.outcome(running.executions()[0])
    assert (outcome["command"], outcome["rows"], outcome["bytes_in"]) == ("COPY 2", 2, 18)
    assert len(outcome["body_digest"]) == 64


async def test_copy_in_without_the_action_never_reaches_the_store(running: Running) -> None:
    running.grant("read")
    code, _, err = await running.psql("-c", r"\copy orders from pstdin", stdin="1001\tx\t1\n")
    assert code == 1
    assert "does not cover" in err
    assert running.executions() == []


async def test_a_bad_row_in_copy_leaves_the_session_in_step(running: Running) -> None:
    running.grant("read", "write")
    _, out, err = await running.psql(
        "-At", stdin="copy orders from stdin;\n2001\ta\t1\nnot a number\tb\t2\n\\.\nselect 'next';\n"
    )
    assert "invalid input syntax" in err
    assert out == "next\n"
    assert [running.outcome(i)["result"] for i in running.executions()] == ["error", "complete"]


async def test_passwords_in_statements_are_not_written_down(running: Running) -> None:
    running.grant("read")
    await running.psql("-c", "alter role gate_writer password 'hunter2'")
    entry = running.of("access.refused")[0]
    assert entry.content == {
        "text": "alter role gate_writer password '[redacted]'",
        "parameters": [],
        "redacted": ["password literal"],
        "continues": "",
    }
    assert not any(b"hunter2" in repr(e).encode() for e in running.entries)


async def test_the_parsers_complaint_is_told_but_not_written_into_facts(running: Running) -> None:
    running.grant("read")
    _, _, err = await running.psql("-c", "alter role gate_writer 'hunter2'")
    assert "hunter2" in err
    assert "hunter2" not in str(running.of("access.refused")[0].facts)


async def test_watch_records_every_run(running: Running) -> None:
    running.grant("read")
    code, out, _ = await running.psql("-At", stdin="select 'tick' \\watch c=3 i=0.05\n")
    assert code == 0
    assert out.count("tick") == 3
    assert len(running.executions()) == 3


async def test_notices_reach_the_client(running: Running) -> None:
    running.grant("read", "ddl")
    _, _, err = await running.psql("-c", "drop table if exists nothing_there")
    assert 'table "nothing_there" does not exist, skipping' in err


async def test_a_large_result_is_accounted_for_as_it_leaves(running: Running) -> None:
    running.grant("read")
    code, out, _ = await running.psql("-Atc", "select repeat('x', 1000) from generate_series(1, 5000)")
    assert code == 0
    assert len(out) == 5000 * 1001
    progress = [entry.facts["bytes_out"] for entry in running.of("access.progress")]
    outcome = running.outcome(running.executions()[0])
    assert outcome["rows"] == 5000
    assert progress == sorted(progress)
    assert len(progress) >= 4
    steps = [b - a for a, b in zip([0, *progress], [*progress, outcome["bytes_out"]], strict=True)]
    assert max(steps) <= 1024 * 1024


async def test_channel_binding_can_be_demanded(running: Running) -> None:
    running.grant("read")
    words = f"host=localhost port={running.port} user=ada dbname=customers-db channel_binding=require"
    code, out, err = await running.psql("-Atc", "select 1", dsn=words)
    assert (code, out, err) == (0, "1\n", "")


async def test_direct_tls(running: Running) -> None:
    running.grant("read")
    words = f"host=localhost port={running.port} user=ada dbname=customers-db sslnegotiation=direct"
    code, out, err = await running.psql("-Atc", "select 1", dsn=words)
    assert (code, out, err) == (0, "1\n", "")


async def test_login_by_one_key(running: Running) -> None:
    running.grant("read")
    words = f"host=localhost port={running.port} user=ada+k7f3 dbname=customers-db"
    code, out, _ = await running.psql("-Atc", "select 1", dsn=words)
    assert (code, out) == (0, "1\n")
