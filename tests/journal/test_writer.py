"""One writer, on its own thread or on a leading caller's: all in order, nothing twice, nothing behind a loss."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from random import Random

import pytest

from mdap.core.errors import JournalError
from mdap.journal.writer import GATHER, GLANCE, Writer


class Disk:
    """What was written, by whom, and when it breaks."""

    def __init__(self, breaks_at: int | None = None) -> None:
        self.items: list[int] = []
        self.threads: set[str] = set()
        self.durable = 0
        self.busy = False
        self._breaks_at = breaks_at

    def write(self, batch: list[int]) -> None:
        assert not self.busy, "two write at once"
        self.busy = True
        time.sleep(0.0005)
        self.threads.add(threading.current_thread().name)
        if self._breaks_at is not None and self._breaks_at in batch:
            self.busy = False
            raise JournalError("the disk is full", remedy="free some space")
        self.items += batch
        self.busy = False

    def publish(self, ticket: int) -> None:
        self.durable = ticket


def writer(disk: Disk) -> Writer[int]:
    return Writer(disk.write, disk.publish, lambda: None)


def test_who_leads_writes_by_itself_and_the_thread_does_not_stir() -> None:
    # On a busy machine a look of the thread may fall between the puts and the writing; it would not five times.
    assert any(_who_led() == {"MainThread"} for _ in range(5))


def _who_led() -> set[str]:
    disk = Disk()
    made = writer(disk)
    made.lead(True)
    time.sleep(0.01)  # the thread has noticed
    for n in range(2 * GATHER):
        made.put(n)
    time.sleep(0.005)  # a thread that was woken would write now
    made.write_now()
    made.close()
    assert (disk.items, disk.durable) == (list(range(2 * GATHER)), 2 * GATHER)
    return disk.threads


def test_what_who_leads_leaves_lying_is_written_all_the_same() -> None:
    disk = Disk()
    made = writer(disk)
    made.lead(True)
    made.put(1)
    give_up = time.monotonic() + 60
    while not disk.durable and time.monotonic() < give_up:
        time.sleep(GLANCE)
    assert (disk.items, disk.threads) == ([1], {"mdap-journal"})
    made.close()


def test_the_thread_takes_no_turn_from_a_caller_that_has_just_written() -> None:
    chance, wrote = Random(7), [time.monotonic()]
    too_soon: list[float] = []

    class Watched(Disk):
        def write(self, batch: list[int]) -> None:
            if threading.current_thread() is not threading.main_thread():
                since = time.monotonic() - wrote[-1]
                # A look lasts as long as it was asked to, or a little less: clocks are read at its ends.
                too_soon.extend([since] if since < 0.9 * GLANCE else [])
            super().write(batch)

    disk = Watched()
    made = writer(disk)
    made.lead(True)
    for n in range(100):
        made.put(n)
        # Always something there when the thread looks, at times with a writing since its last look and at times not.
        time.sleep(chance.choice([0.0, 0.002, 0.01, 1.5 * GLANCE]))
        made.put(n)
        made.write_now()
        wrote.append(time.monotonic())
        if n == 0:
            too_soon.clear()  # when the lead was taken, nobody had written yet
        made.put(n)
    made.write_now()
    made.close()
    assert too_soon == []
    assert disk.items == [n for n in range(100) for _ in range(3)]


async def test_others_may_wait_while_somebody_leads() -> None:
    disk = Disk()
    made = writer(disk)
    made.lead(True)
    ticket = made.put(1)
    await asyncio.wait_for(made.wait(ticket), 60)
    assert disk.items == [1]
    made.close()


def test_nothing_is_left_behind_when_the_lead_is_given_up() -> None:
    disk = Disk()
    made = writer(disk)
    made.lead(True)
    for n in range(5):
        made.put(n)
    made.lead(False)
    made.flush()
    made.put(5)
    made.close()
    assert disk.items == list(range(6))


def test_a_loss_on_the_callers_thread_is_the_last_word_for_everybody() -> None:
    disk = Disk(breaks_at=2)
    made = writer(disk)
    made.lead(True)
    for n in range(4):
        made.put(n)
    with pytest.raises(JournalError, match="disk is full"):
        made.write_now()
    with pytest.raises(JournalError, match="disk is full"):
        made.put(9)
    with pytest.raises(JournalError, match="disk is full"):
        made.write_now()
    made.close()
    assert disk.items == []


def test_whoever_writes_nothing_is_lost_doubled_or_out_of_order() -> None:
    for seed in range(20):
        disk, chance = Disk(), Random(seed)
        made = writer(disk)
        for n in range(300):
            made.put(n)
            match chance.randrange(40):
                case 0:
                    made.lead(chance.random() < 0.5)
                case 1 | 2:
                    made.write_now()
                case 3:
                    made.flush()
        made.close()
        assert disk.items == list(range(300)), seed


def test_behind_a_loss_nothing_is_written_whoever_had_the_turn() -> None:
    for seed in range(20):
        disk, chance = Disk(breaks_at=100), Random(seed)
        made = writer(disk)
        made.lead(chance.random() < 0.5)
        with pytest.raises(JournalError):
            _hand_over(made, 5_000, chance)
        made.close()
        assert disk.items == list(range(len(disk.items))), seed
        assert len(disk.items) <= 100


def _hand_over(made: Writer[int], count: int, chance: Random) -> None:
    for n in range(count):
        made.put(n)
        if chance.random() < 0.1:
            made.write_now()


def test_a_signal_that_the_thread_takes_first_is_no_fault_of_a_caller_that_writes() -> None:
    disk, usual, chance = Disk(), sys.getswitchinterval(), Random(3)
    made = writer(disk)
    # Threads change places after nearly every step, so that each gets between any two of the other's.
    sys.setswitchinterval(1e-6)
    try:
        for n in range(30_000):
            made.lead(n % 2 == 0)
            for _ in range(chance.randrange(1_500)):
                pass  # the thread wakes up meanwhile, here or a little later
            made.write_now()
    finally:
        sys.setswitchinterval(usual)
    made.put(1)
    made.close()
    assert disk.items == [1]
