"""A run is stopped by its budget and taken up again: nothing that was decided is asked a second time."""

from __future__ import annotations

import mdap

JOURNAL = "runs.db"
MODEL = mdap.models.simulated(p=0.95, seed=4)

whole = mdap.run("hanoi:disks=6", MODEL, k=4)

first = mdap.run("hanoi:disks=6", MODEL, k=4, journal=JOURNAL, budget_calls=150)
print(first.status, "-", first.reason)

rest = mdap.resume(first.run, journal=JOURNAL, model=MODEL, budget_calls=1000)
print(rest.status, rest.steps, "steps,", rest.wrong, "wrong")
print("same export as without the stop:", list(rest.export()) == list(whole.export()))

# Prints:
# budget - stopped at the budget: 150 calls taken + 1 for the next call > 150. go on with a larger --budget-calls
# done 63 steps, 0 wrong
# same export as without the stop: True
