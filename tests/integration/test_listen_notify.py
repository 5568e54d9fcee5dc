"""LISTEN and NOTIFY across connections (PostgreSQL manual, "NOTIFY"): no polling, in order, only after commit."""

import threading

import pytest

import wire
from wire import errors, kinds, tags


def notifications(c, count):
    return [c.until("A")[-1].notification() for _ in range(count)]


def nothing_pending(c):
    """A round trip brings every notification that was due before it."""
    return "A" not in kinds(c.query("SELECT 1"))


@pytest.fixture
def pair(server):
    with server.connect() as listener, server.connect() as sender:
        yield listener, sender


def test_notification_reaches_an_idle_listener(pair):
    listener, sender = pair
    assert tags(listener.query("LISTEN news")) == ["LISTEN"]
    assert tags(sender.query("NOTIFY news, 'hello'")) == ["NOTIFY"]
    assert notifications(listener, 1) == [(sender.pid, "news", "hello")]
    sender.ok("NOTIFY news")
    assert notifications(listener, 1) == [(sender.pid, "news", "")]


def test_pg_notify_function(pair):
    listener, sender = pair
    listener.ok("LISTEN news")
    sender.ok("SELECT pg_notify('news', 'via ' || 'function')")
    assert notifications(listener, 1) == [(sender.pid, "news", "via function")]


def test_own_notifications_come_too(client):
    client.ok("LISTEN me")
    got = client.query("NOTIFY me, 'x'")
    if "A" not in kinds(got):
        got += client.until("A")
    assert [m.notification() for m in got if m.kind == "A"] == [(client.pid, "me", "x")]


def test_unlisten(pair):
    listener, sender = pair
    listener.ok("LISTEN a; LISTEN b; UNLISTEN a")
    sender.ok("NOTIFY a; NOTIFY b")
    assert [n[1] for n in notifications(listener, 1)] == ["b"]
    listener.ok("UNLISTEN *")
    sender.ok("NOTIFY b")
    assert nothing_pending(listener)


def test_only_after_commit_and_not_after_rollback(pair):
    listener, sender = pair
    listener.ok("LISTEN t")
    sender.ok("BEGIN; NOTIFY t, 'later'")
    assert nothing_pending(listener)
    sender.ok("COMMIT")
    assert [n[2] for n in notifications(listener, 1)] == ["later"]
    sender.ok("BEGIN; NOTIFY t, 'never'; ROLLBACK; NOTIFY t, 'after'")
    assert [n[2] for n in notifications(listener, 1)] == ["after"]


def test_duplicates_in_a_transaction_are_sent_once(pair):
    listener, sender = pair
    listener.ok("LISTEN t")
    sender.ok("BEGIN; NOTIFY t, 'x'; NOTIFY t, 'y'; NOTIFY t, 'x'; COMMIT; NOTIFY t, 'end'")
    assert [n[2] for n in notifications(listener, 3)] == ["x", "y", "end"]


def test_listener_in_a_transaction_gets_them_afterwards(pair):
    listener, sender = pair
    listener.ok("LISTEN t")
    listener.ok("BEGIN")
    sender.ok("NOTIFY t, 'x'")
    assert "A" not in kinds(listener.query("SELECT 1"))
    got = listener.query("COMMIT")
    if "A" not in kinds(got):
        got += listener.until("A")
    assert [m.notification()[2] for m in got if m.kind == "A"] == ["x"]


def test_names_fold_like_identifiers(pair):
    listener, sender = pair
    listener.ok('LISTEN MixedCase; LISTEN "MixedCase"')
    sender.ok("NOTIFY mixedcase, '1'")
    sender.ok("NOTIFY \"MixedCase\", '2'")
    assert [n[1:] for n in notifications(listener, 2)] == [("mixedcase", "1"), ("MixedCase", "2")]


def test_databases_are_apart(server, pair, scratch):
    listener, sender = pair
    listener.ok("LISTEN t")
    with server.connect(database=scratch) as elsewhere:
        elsewhere.ok("NOTIFY t, 'from another database'")
    sender.ok("NOTIFY t, 'here'")
    assert [n[2] for n in notifications(listener, 1)] == ["here"]


def test_payload_limits(pair):
    listener, sender = pair
    listener.ok("LISTEN t")
    sender.ok(f"NOTIFY t, '{'x' * 7999}'")
    assert [len(n[2]) for n in notifications(listener, 1)] == [7999]
    assert sender.fails(f"NOTIFY t, '{'x' * 8000}'")["C"] == "22023"
    assert errors(sender.query(f"LISTEN {'c' * 64}")) in ([], ["42622"], ["22023"])


def test_order_is_kept_and_nothing_is_lost(pair):
    listener, sender = pair
    listener.ok("LISTEN t")
    count = 2000
    sender.send(*[wire.query(f"NOTIFY t, '{n}'") for n in range(count)])
    for _ in range(count):
        sender.until_ready()
    assert [int(n[2]) for n in notifications(listener, count)] == list(range(count))


def test_many_listeners(server, client):
    listeners = [server.connect() for _ in range(50)]
    for one in listeners:
        one.ok("LISTEN crowd")
    client.ok("NOTIFY crowd, 'all'")
    for one in listeners:
        assert [n[2] for n in notifications(one, 1)] == ["all"]
        one.close()


def test_senders_on_several_connections(server, client):
    client.ok("LISTEN t")

    def sender(name):
        with server.connect() as c:
            for n in range(100):
                c.ok(f"NOTIFY t, '{name} {n}'")

    threads = [threading.Thread(target=sender, args=(name,)) for name in "abcd"]
    for t in threads:
        t.start()
    got = [n[2].split() for n in notifications(client, 400)]
    for t in threads:
        t.join()
    for name in "abcd":
        assert [int(n) for who, n in got if who == name] == list(range(100))


def test_listener_that_does_not_read_does_not_stop_the_sender(server, client):
    with server.connect(rcvbuf=4096) as deaf:
        deaf.ok("LISTEN t")
        for _ in range(3000):
            client.ok(f"NOTIFY t, '{'x' * 4000}'")
    assert client.ok("SELECT 1") == [("1",)]


def test_discard_all_stops_listening(pair):
    listener, sender = pair
    listener.ok("LISTEN t")
    listener.ok("DISCARD ALL")
    sender.ok("NOTIFY t")
    assert nothing_pending(listener)


def test_listen_takes_effect_at_commit(pair):
    listener, sender = pair
    listener.ok("BEGIN; LISTEN t")
    sender.ok("NOTIFY t, 'too early'")
    assert "A" not in kinds(listener.query("COMMIT"))
    sender.ok("NOTIFY t, 'heard'")
    assert [n[2] for n in notifications(listener, 1)] == ["heard"]


def test_unlisten_takes_effect_at_commit(pair):
    listener, sender = pair
    listener.ok("LISTEN a; LISTEN b")
    listener.ok("BEGIN; UNLISTEN a")
    sender.ok("NOTIFY a, 'still heard'")
    assert [m.notification()[2] for m in listener.query("ROLLBACK") if m.kind == "A"] == ["still heard"]
    listener.ok("BEGIN; UNLISTEN *; LISTEN b; COMMIT")
    sender.ok("NOTIFY a; NOTIFY b, 'heard'")
    assert [n[1:] for n in notifications(listener, 1)] == [("b", "heard")]


def test_listen_and_unlisten_are_rolled_back(pair):
    listener, sender = pair
    listener.ok("LISTEN keep")
    listener.ok("BEGIN; LISTEN t; UNLISTEN keep; ROLLBACK")
    sender.ok("NOTIFY t; NOTIFY keep")
    assert [n[1] for n in notifications(listener, 1)] == ["keep"]
    assert nothing_pending(listener)


def test_a_transaction_hears_its_own_notification_if_it_listens_in_any_order(client):
    for sql in ("BEGIN; LISTEN own; NOTIFY own, 'x'; COMMIT", "BEGIN; NOTIFY own, 'x'; LISTEN own; COMMIT"):
        got = client.query(sql)
        assert [m.notification()[2] for m in got if m.kind == "A"] == ["x"]
        client.ok("UNLISTEN *")


def test_savepoints_take_back_what_came_after_them(pair):
    listener, sender = pair
    listener.ok("BEGIN; LISTEN a; SAVEPOINT one; LISTEN b; SAVEPOINT two; LISTEN c; RELEASE two; ROLLBACK TO one")
    listener.ok("LISTEN d; SAVEPOINT three; LISTEN e; RELEASE three; COMMIT")
    sender.ok("NOTIFY a; NOTIFY b; NOTIFY c; NOTIFY d; NOTIFY e")
    assert [n[1] for n in notifications(listener, 3)] == ["a", "d", "e"]
    sender.ok("BEGIN; NOTIFY a, '1'; SAVEPOINT s; NOTIFY a, '2'; ROLLBACK TO s; NOTIFY a, '3'; COMMIT")
    assert [n[2] for n in notifications(listener, 2)] == ["1", "3"]
    # what was released is not taken back by a later savepoint
    sender.ok("BEGIN; SAVEPOINT s; NOTIFY a, '4'; RELEASE s; SAVEPOINT t; NOTIFY a, '5'; ROLLBACK TO t; COMMIT")
    assert [n[2] for n in notifications(listener, 1)] == ["4"]
    assert nothing_pending(listener)
