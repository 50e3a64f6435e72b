"""As cut_cases.py, of the scripts of data queues, Events, locks, semaphores, barriers and conditions."""

from __future__ import annotations

from typing import Any

from broker_kit import NOW, Kit

from taskq.broker import barriers, conditions, events, items, permits, queues
from taskq.broker.barriers import Place
from taskq.broker.call import Call
from taskq.broker.line import LAST_PLACE, NO_PLACE
from taskq.model.discipline import Discipline

BORN = str(NOW)


def _put(kit: Kit, *values: str, address: str = "p/1", turn: str = "") -> Call[Any]:
    return items.put(kit.keys, address, [("", value.encode()) for value in values], turn)


def _get(kit: Kit, address: str, *, most: int = 1, turn: str = "", claim: bool = False) -> Call[Any]:
    return items.get(kit.keys, address, most=most, turn=turn, lease=1.0, claim=claim)


def _items(kit: Kit, *values: str, maxsize: int = 0) -> None:
    kit.run(queues.declare(kit.keys, Discipline.FIFO, maxsize, "me", queues.ITEMS))
    kit.run(_put(kit, *values))


def _take(kit: Kit, address: str, turn: str = LAST_PLACE) -> Call[Any]:
    return permits.take(kit.keys, address, limit=1, lease=1.0, turn=turn, who="me")


def _enter(kit: Kit, address: str, *, acts: bool = False) -> Call[Any]:
    return barriers.enter(kit.keys, address, None, parties=2, acts=acts, lease=1.0, who="me")


def _join(kit: Kit, address: str) -> Call[Any]:
    return conditions.join(kit.keys, address, lock="lock:l", who="me")


# --- items


def put_items(kit: Kit) -> Call[Any]:
    _items(kit, "a", maxsize=2)
    return _put(kit, "b", "c", address="p/2", turn=LAST_PLACE)


def get_items(kit: Kit) -> Call[Any]:
    _items(kit, "a", "b", "c", "d", "e")
    return _get(kit, "g/1", most=2)


def get_items_claimed(kit: Kit) -> Call[Any]:
    _items(kit, "a", "b", "c", "d", "e")
    return _get(kit, "g/1", most=2, claim=True)


def get_items_in_line(kit: Kit) -> Call[Any]:
    _items(kit, "a")
    kit.run(_get(kit, "g/1"))
    return _get(kit, "g/2", turn=LAST_PLACE)


def return_items(kit: Kit) -> Call[Any]:
    _items(kit, "a", "b")
    members = kit.run(_get(kit, "g/1", most=2)).members
    return items.put_back(kit.keys, [(1.0, members[0]), (2.0, members[1])])


def _claims(kit: Kit) -> list[str]:
    _items(kit, "a", "b", "c")
    return list(kit.run(_get(kit, "c/1", most=2, claim=True)).claims)


def end_items(kit: Kit) -> Call[Any]:
    return items.end_claims(kit.keys, _claims(kit), back=False)


def end_items_back(kit: Kit) -> Call[Any]:
    return items.end_claims(kit.keys, _claims(kit), back=True)


def end_items_done(kit: Kit) -> Call[Any]:
    _items(kit, "a", "b", "c", "d")
    return items.done(kit.keys, 2)


def keep_claims(kit: Kit) -> Call[Any]:
    addresses = [items.address_of(kit.keys, claim) for claim in _claims(kit)]
    kit.advance(0.3)
    return items.keep(kit.keys, [*addresses, items.address_of(kit.keys, "99")], 1.0)


def leave_items(kit: Kit) -> Call[Any]:
    _items(kit, "a")
    kit.run(_get(kit, "g/1"))
    for address in ("g/2", "g/3"):
        kit.run(_get(kit, address, turn=LAST_PLACE))
    return items.leave(kit.keys, "g/2", items.GETTERS)


def join_items(kit: Kit) -> Call[Any]:
    _items(kit, "a")
    return items.join(kit.keys, "j/1")


def count_items(kit: Kit) -> Call[Any]:
    _claims(kit)
    return items.stand(kit.keys)


def close_items(kit: Kit) -> Call[Any]:
    _items(kit, "a", "b")
    return items.close(kit.keys, shutdown=True, drop=True)


# --- coordination


def set_event(kit: Kit) -> Call[Any]:
    kit.run(events.wait(kit.keys, "e/1"))
    return events.set_event(kit.keys)


def clear_event(kit: Kit) -> Call[Any]:
    kit.run(events.set_event(kit.keys))
    return events.clear(kit.keys)


def wait_event(kit: Kit) -> Call[Any]:
    return events.wait(kit.keys, "e/1")


def take_permit(kit: Kit) -> Call[Any]:
    return _take(kit, "a/1", NO_PLACE)


def take_permit_in_line(kit: Kit) -> Call[Any]:
    kit.run(_take(kit, "a/1"))
    kit.run(_take(kit, "b/1"))
    return _take(kit, "c/1")


def give_permit(kit: Kit) -> Call[Any]:
    for address in ("a/1", "b/1", "c/1"):
        kit.run(_take(kit, address))
    return permits.give(kit.keys, ["a/1"], limit=1, lease=1.0)


def give_permit_added(kit: Kit) -> Call[Any]:
    kit.run(_take(kit, "a/1"))
    return permits.give(kit.keys, [], limit=1, lease=1.0, count=2)


def leave_line(kit: Kit) -> Call[Any]:
    for address in ("a/1", "b/1"):
        kit.run(_take(kit, address))
    kit.run(permits.give(kit.keys, ["a/1"], limit=1, lease=1.0))
    return permits.leave(kit.keys, "b/1")


def keep_permits(kit: Kit) -> Call[Any]:
    kit.run(_take(kit, "a/1"))
    kit.advance(0.1)
    return permits.keep(kit.keys, ["a/1", "lost/1"], 1.0)


def count_permits(kit: Kit) -> Call[Any]:
    kit.run(_take(kit, "a/1"))
    return permits.count(kit.keys, 1)


def enter_barrier(kit: Kit) -> Call[Any]:
    return _enter(kit, "a/1")


def enter_barrier_last(kit: Kit) -> Call[Any]:
    kit.run(_enter(kit, "a/1"))
    return _enter(kit, "b/1")


def open_barrier(kit: Kit) -> Call[Any]:
    kit.run(_enter(kit, "a/1", acts=True))
    kit.run(_enter(kit, "b/1", acts=True))
    return barriers.finish(kit.keys, "b/1", Place(1, BORN), done=True)


def leave_barrier(kit: Kit) -> Call[Any]:
    kit.run(_enter(kit, "a/1"))
    return barriers.leave(kit.keys, "a/1", Place(0, BORN), stays=False, idle=True)


def break_barrier(kit: Kit) -> Call[Any]:
    kit.run(_enter(kit, "a/1"))
    return barriers.end_waits(kit.keys, parties=2, anew=False, who="me")


def break_barrier_anew(kit: Kit) -> Call[Any]:
    kit.run(_enter(kit, "a/1"))
    return barriers.end_waits(kit.keys, parties=2, anew=True, who="me")


def keep_barrier(kit: Kit) -> Call[Any]:
    kit.run(_enter(kit, "a/1"))
    kit.advance(0.1)
    return barriers.keep(kit.keys, ["a/1"], 1.0)


def join_condition(kit: Kit) -> Call[Any]:
    kit.run(_join(kit, "a/1"))
    return _join(kit, "b/1")


def look_condition(kit: Kit) -> Call[Any]:
    kit.run(_join(kit, "a/1"))
    kit.advance(1)
    return conditions.look(kit.keys, "a/1")


def leave_condition(kit: Kit) -> Call[Any]:
    kit.run(_join(kit, "a/1"))
    return conditions.leave(kit.keys, "a/1")


def notify_condition(kit: Kit) -> Call[Any]:
    for address in ("a/1", "b/1", "c/1"):
        kit.run(_join(kit, address))
    return conditions.notify(kit.keys, 1, lock="lock:l")


SHARED = {
    "break_barrier": break_barrier,
    "break_barrier:anew": break_barrier_anew,
    "clear_event": clear_event,
    "close_items": close_items,
    "count_items": count_items,
    "count_permits": count_permits,
    "end_items": end_items,
    "end_items:back": end_items_back,
    "end_items:done": end_items_done,
    "enter_barrier": enter_barrier,
    "enter_barrier:last": enter_barrier_last,
    "get_items": get_items,
    "get_items:claim": get_items_claimed,
    "get_items:line": get_items_in_line,
    "give_permit": give_permit,
    "give_permit:add": give_permit_added,
    "join_condition": join_condition,
    "join_items": join_items,
    "keep_barrier": keep_barrier,
    "keep_claims": keep_claims,
    "keep_permits": keep_permits,
    "leave_barrier": leave_barrier,
    "leave_condition": leave_condition,
    "leave_items": leave_items,
    "leave_line": leave_line,
    "look_condition": look_condition,
    "notify_condition": notify_condition,
    "open_barrier": open_barrier,
    "put_items": put_items,
    "return_items": return_items,
    "set_event": set_event,
    "take_permit": take_permit,
    "take_permit:line": take_permit_in_line,
    "wait_event": wait_event,
}
