"""Every way that a run can end, as its user sees it: what is printed, the exit code, and a way on that works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Said, Terminal

HANOI = ("run", "hanoi:disks=4", "--model", "simulated:p=0.9,seed=1", "--k", "3")
# Votes that never disagree, so that a cap is reached exactly when it must be.
SURE = ("run", "hanoi:disks=3", "--model", "simulated:p=1", "--k", "3")

COUNTDOWN = '''
from mdap import Move

class Countdown:
    """Counts down to 0; the state is the number."""

    def __init__(self, start: int = 4, broken_at: int = -1):
        self.first, self.broken_at, self.steps = start, broken_at, start

    def start(self):
        return self.first

    def is_done(self, state):
        return state == 0

    def prompt(self, state):
        if state == self.broken_at:
            raise RuntimeError("no prompt for this state")
        return f"PROMPT {state}"

    def parse(self, text, state):
        return Move(int(text), int(text))


class Known(Countdown):
    """The same, for whom knows the answers."""

    def answer(self, state):
        return Move(state - 1, state - 1)


def asked(prompt: str) -> str:
    """A model: the next number of the one in the prompt."""
    return str(int(prompt.split()[-1]) - 1)
'''
KEYS = {
    "run", "task", "model", "rule", "k", "status", "steps", "samples", "votes", "votes_per_step", "flagged", "retries",
    "undecided", "wrong", "tokens", "seconds", "us_per_step", "predicted_success", "assumption", "result",
}  # fmt: skip


def countdown(mdap: Terminal, prompt: str = "count down from") -> None:
    mdap.write("my_tasks", COUNTDOWN.replace("PROMPT", prompt))


def follow(mdap: Terminal, said: Said) -> Said:
    """Type the first printed command that goes on, until the run is done."""
    for _ in range(20):
        if said.code == 0:
            return said
        (words,) = [words for words in said.next if words[0] == "resume"][:1]
        said = mdap(*words)
    pytest.fail(f"the printed commands do not lead to an end: {said}")


def test_a_run_prints_a_table_with_wrong_and_the_assumption_and_ends_with_0(mdap: Terminal) -> None:
    said = mdap(*HANOI)
    assert (said.code, said.err) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in said.out.splitlines() if len(line.split()) > 1)
    assert rows["steps"].startswith("15 of 15")
    assert rows["wrong"].strip() == "0"
    assert "votes are independent" in " ".join(said.out.split())
    assert said.out.startswith(f"{mdap.last()}  done")


def test_json_is_one_object_with_the_promised_keys_and_nothing_else_is_printed(mdap: Terminal) -> None:
    said = mdap(*HANOI, "--json")
    assert said.err == ""
    assert said.json.keys() >= KEYS
    assert said.json["status"] == "done"
    assert (said.json["steps"], said.json["wrong"], said.json["k"]) == (15, 0, 3)


def test_an_assumed_k_is_said_to_be_an_assumption(mdap: Terminal) -> None:
    said = mdap(*HANOI[:-2], "--json")
    assert "k=3 is assumed" in said.err
    assert said.json["k"] == 3
    assert mdap(*HANOI[:-2], "--json", "--quiet").err == ""


def test_a_rule_may_be_given_in_place_of_k(mdap: Terminal) -> None:
    made = mdap(*HANOI[:-2], "--rule", "first_to_k:2", "--json").json
    assert (made["rule"], made["k"]) == ("first_to_k:2", 2)


def test_a_run_without_known_answers_has_no_wrong(mdap: Terminal) -> None:
    countdown(mdap)
    made = mdap("run", "my_tasks:Countdown", "--model", "my_tasks:asked", "--k", "2", "--json").json
    assert (made["status"], made["result"]) == ("done", 0)
    assert "wrong" not in made
    assert "wrong" not in mdap("show", made["run"]).out
    assert mdap("run", "my_tasks:Known", "--model", "my_tasks:asked", "--k", "2", "--json").json["wrong"] == 0


def test_settings_reach_the_run_and_what_is_not_given_is_the_default(mdap: Terminal) -> None:
    mdap(*HANOI, "--max-tokens", "99", "--temperature", "none", "--first-temperature", "0.5", "--record", "samples")
    code = "import sys; from mdap.journal import open_journal; j = open_journal('.mdap/runs.db'); h = j.heads()[-1]; "
    code += "import json; print(json.dumps(h.settings)); j.close()"
    stored = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert (stored["max_tokens"], stored["temperature"], stored["first_temperature"]) == (99, None, 0.5)
    assert (stored["record"], stored["max_samples"], stored["in_flight"]) == ("samples", 200, 64)


def test_an_undecided_step_ends_with_3_and_the_printed_commands_show_it_and_go_on(mdap: Terminal) -> None:
    said = mdap(*SURE, "--max-samples", "2")
    assert said.code == 3
    run = mdap.last()
    assert "undecided: step 0: 2 samples, votes [2], lead 2, 1 more needed by ahead_by_k:3" in said.err
    assert said.next == [["show", run, "--step", "0"], ["resume", run, "--max-samples", "4"]]
    shown = mdap(*said.next[0])
    assert shown.code == 0
    assert f"step 0 of {run}: undecided by ahead_by_k:3, votes 2" in shown.out
    assert shown.out.count("vote for A") == 2
    assert follow(mdap, said).code == 0
    assert mdap("show", run, "--json").json["steps"] == 7


def test_a_cap_of_redraws_names_its_own_flag(mdap: Terminal) -> None:
    said = mdap("run", "hanoi:disks=3", "--model", "simulated:p=1,flags=1", "--k", "2", "--redraws", "1")
    assert said.code == 3
    assert "2 samples for one vote, all flagged" in said.err
    assert said.next[1] == ["resume", mdap.last(), "--redraws", "2"]
    shown = mdap(*said.next[0])
    assert shown.out.count("flagged ") >= 2
    assert "votes none" in shown.out


def test_a_budget_ends_with_4_says_what_was_taken_and_what_is_durable_and_the_printed_command_goes_on(
    mdap: Terminal,
) -> None:
    said = mdap(*SURE, "--budget-calls", "10")
    assert said.code == 4
    assert "stopped at the budget: 10 calls taken + 1 for the next call > 10" in said.err
    assert "3 of 7 steps are durable" in said.err
    assert said.next == [["resume", mdap.last(), "--budget-calls", "20"]]
    end = follow(mdap, said)
    assert end.code == 0
    made = mdap("show", mdap.last(), "--json").json
    assert (made["steps"], made["samples"]) == (7, 21)


def test_a_limit_of_steps_ends_with_4_and_can_be_raised(mdap: Terminal) -> None:
    said = mdap(*SURE, "--max-steps", "2")
    assert said.code == 4
    assert said.err.startswith("stopped: ")
    assert said.next == [["resume", mdap.last(), "--max-steps", "4"]]
    assert follow(mdap, said).code == 0


def test_a_chain_that_went_astray_is_told_to_hold_a_wrong_decision_and_what_makes_that_rarer(mdap: Terminal) -> None:
    words = ("run", "hanoi:disks=6", "--model", "simulated:p=0.8,seed=1")
    said = mdap(*words, "--k", "1")
    assert said.code == 4
    assert "63 steps that is not done after them has a wrong decision in it" in said.err
    assert f"`mdap {' '.join(words)} --rule ahead_by_k:2`" in said.err
    assert said.next == [["resume", mdap.last(), "--max-steps", "126"]]
    assert mdap("show", mdap.last(), "--json").json["wrong"] > 0


def test_an_error_of_the_users_own_task_ends_with_1_names_step_place_and_value_and_keeps_what_was_decided(
    mdap: Terminal,
) -> None:
    countdown(mdap)
    said = mdap("run", "my_tasks:Known,broken_at=2", "--model", "my_tasks:asked", "--k", "2", "--json")
    assert said.code == 1
    assert said.json["status"] == "error"
    assert said.json["steps"] == 2
    assert "Known.prompt raised RuntimeError: no prompt for this state" in said.err
    assert "my_tasks.py, line" in said.err
    assert "2 of 4 steps are durable" in said.err
    assert "Traceback" not in said.err
    mdap.write("my_tasks", COUNTDOWN.replace("PROMPT", "count down from").replace("raise RuntimeError", "str"))
    end = follow(mdap, said)
    assert end.code == 0
    assert mdap("show", mdap.last(), "--json").json["wrong"] == 0


def test_verbose_shows_the_traceback_and_logs_flags(mdap: Terminal) -> None:
    countdown(mdap)
    said = mdap("run", "my_tasks:Known,broken_at=2", "--model", "my_tasks:asked", "--k", "2", "-v")
    assert "Traceback" in said.err
    flagged = mdap(*HANOI[:3], "simulated:p=0.9,flags=0.3,seed=1", "--k", "2", "-v", "--json")
    assert "flag" in flagged.err
    assert "decided" not in flagged.err
    assert flagged.json["status"] == "done"
    assert "step 3 decided" in mdap(*HANOI, "-vv").err


def test_a_server_that_is_not_there_ends_undecided_with_the_address_and_no_key(
    mdap: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
    words = ("--model", "openai:any", "--base-url", "http://127.0.0.1:9/v1", "--k", "1", "--retries", "0", "-vv")
    said = mdap("run", "hanoi:disks=3", *words, "--json")
    assert said.code == 3
    assert "http://127.0.0.1:9/v1" in said.err
    assert said.json["model"] == "openai:any,base_url=http://127.0.0.1:9/v1"
    everything = said.out + said.err + mdap("runs", "--json").out + mdap("show", mdap.last(), "--step", "0").out
    assert "secret" not in everything
    assert b"sk-secret" not in b"".join(path.read_bytes() for path in Path(".mdap").iterdir())


def test_runs_are_one_array_and_a_table(mdap: Terminal) -> None:
    assert mdap("runs", "--json").json == []
    mdap(*HANOI)
    mdap(*SURE, "--max-samples", "2")
    listed = mdap("runs", "--json").json
    assert [(run["task"], run["status"], run["steps"], run["total"]) for run in listed] == [
        ("hanoi:disks=4", "done", 15, 15),
        ("hanoi:disks=3", "undecided", 0, 7),
    ]
    table = mdap("runs")
    assert table.err == ""
    assert [line.split()[:2] for line in table.out.splitlines()[1:]] == [[run["run"], run["status"]] for run in listed]


def test_the_table_of_runs_is_whole_where_it_is_piped(mdap: Terminal) -> None:
    model = "simulated:p=1,seed=12345678901234567890123456789012345678901234567890"
    mdap("run", "hanoi:disks=2,parser=strict,oracle=on,start=0", "--model", model, "--k", "1")
    run = mdap("runs", "--json").json[0]
    assert run["model"].endswith("234567890")
    line = mdap("runs").out.splitlines()[1]
    assert line.split() == [run["run"], "done", "3/3", *line.split()[3:5], run["task"], run["model"]]


def test_equal_runs_give_equal_exports_and_other_seeds_do_not(mdap: Terminal) -> None:
    exports = []
    for seed in ("1", "1", "2"):
        mdap("run", "hanoi:disks=5", "--model", f"simulated:p=0.7,seed={seed}", "--k", "3", "--in-flight", seed)
        exports.append(mdap("export", mdap.last()))
    assert exports[0] == exports[1]
    assert exports[0].out != exports[2].out
    lines = [json.loads(line) for line in exports[0].out.splitlines()]
    assert [line["step"] for line in lines] == list(range(31))
    assert lines[0].keys() == {"step", "kind", "action", "next_state", "votes"}
    mdap("export", mdap.last(), "--output", "two.jsonl")
    assert Path("two.jsonl").read_text(encoding="utf-8") == exports[2].out


def test_a_stopped_and_resumed_run_exports_what_an_uninterrupted_one_does(mdap: Terminal) -> None:
    words = ("run", "hanoi:disks=5", "--model", "simulated:p=0.9,flags=0.1,seed=3", "--k", "3")
    mdap(*words)
    whole = mdap("export", mdap.last()).out
    said = mdap(*words, "--budget-calls", "20")
    assert said.code == 4
    follow(mdap, said)
    assert mdap("export", mdap.last()).out == whole


@pytest.mark.slow
def test_export_into_a_pipe_that_closes_ends_quietly(mdap: Terminal) -> None:
    mdap("run", "hanoi:disks=12", "--model", "simulated:p=1", "--k", "1")
    command = f"{sys.executable} -m mdap export {mdap.last()} | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1] == "0"
    assert json.loads(done.stdout.splitlines()[0])["step"] == 0


def test_a_contested_step_shows_its_candidates_every_sample_and_why_one_was_flagged(mdap: Terminal) -> None:
    words = ("run", "hanoi:disks=5", "--model", "simulated:p=0.6,flags=0.2,seed=5", "--k", "2", "--record", "samples")
    mdap(*words, "--json")
    run = mdap.last()
    lines = [json.loads(line) for line in mdap("export", run).out.splitlines()]
    contested = next(line["step"] for line in lines if len(line["votes"]) > 1)
    step = mdap("show", run, "--step", str(contested), "--json").json
    assert step["votes"] == lines[contested]["votes"]
    votes = [sample["candidate"] for sample in step["samples"] if "candidate" in sample]
    assert [votes.count(n) for n in range(max(votes) + 1)] == step["votes"]
    assert step["messages"][-1]["content"]
    shown = mdap("show", run, "--step", str(contested)).out
    assert f"step {contested} of {run}: decided by ahead_by_k:2, votes" in shown
    assert shown.count("vote for A") == step["votes"][0]
    assert "vote for B" in shown
    steps = [mdap("show", run, "--step", str(n), "--json").json for n in range(31)]
    flagged = next(step for step in steps if any("flag" in sample for sample in step["samples"]))
    sample = next(sample for sample in flagged["samples"] if "flag" in sample)
    told = " ".join(mdap("show", run, "--step", str(flagged["step"])).out.split())
    assert f"flagged {sample['flag']}: {' '.join(sample['reason'].split())}" in told


def test_the_state_of_a_step_is_that_after_the_step_before(mdap: Terminal) -> None:
    mdap(*HANOI)
    lines = [json.loads(line) for line in mdap("export", mdap.last()).out.splitlines()]
    for step in (1, 7, 14):
        shown = mdap("show", mdap.last(), "--step", str(step), "--json").json
        assert shown["state"] == lines[step - 1]["next_state"]
        assert (shown["action"], shown["next_state"]) == (lines[step]["action"], lines[step]["next_state"])


def test_a_step_without_recorded_samples_says_how_to_record_them(mdap: Terminal) -> None:
    mdap(*SURE)
    said = mdap("show", mdap.last(), "--step", "2")
    assert said.code == 0
    assert "no sample is recorded" in said.out
    assert "--record samples" in said.out


def test_a_step_that_was_never_asked_is_refused_by_number(mdap: Terminal) -> None:
    mdap(*SURE)
    said = mdap("show", mdap.last(), "--step", "7")
    assert said.code == 2
    assert "step 7" in said.err
    assert "steps 0 to 6 are decided" in said.err


def test_a_run_is_named_by_the_beginning_of_its_id(mdap: Terminal) -> None:
    mdap(*SURE)
    assert mdap("show", mdap.last()[:8]).code == 0
    said = mdap("show", "nosuch")
    assert said.code == 1
    assert "nosuch" in said.err
    assert mdap.last() in said.err


def test_the_journal_is_where_the_flag_says_else_where_the_environment_says_else_here(
    mdap: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    mdap(*SURE)
    monkeypatch.setenv("MDAP_JOURNAL", "other/of env.db")
    mdap(*HANOI)
    said = mdap(*SURE, "--journal", "my own.db", "--max-samples", "2")
    assert said.next[-1][-2:] == ["--journal", "my own.db"]
    assert follow(mdap, said).code == 0
    assert len(mdap("runs", "--json", "--journal", "my own.db").json) == 1
    assert mdap("runs", "--json").json[0]["task"] == "hanoi:disks=4"
    monkeypatch.delenv("MDAP_JOURNAL")
    assert [run["task"] for run in mdap("runs", "--json").json] == ["hanoi:disks=3"]


def test_a_changed_prompt_is_refused_with_its_difference_until_it_is_accepted(mdap: Terminal) -> None:
    countdown(mdap, "count down from")
    said = mdap("run", "my_tasks:Known", "--model", "my_tasks:asked", "--k", "2", "--max-steps", "2")
    assert said.code == 4
    countdown(mdap, "please count down from")
    refused = mdap("resume", mdap.last(), "--max-steps", "9")
    assert refused.code == 1
    assert "prompt: user: count down from 4 -> user: please count down from 4" in refused.err
    assert "starts a new epoch at step 2" in refused.err
    assert refused.next == [["resume", mdap.last(), "--accept-changes"]]
    accepted = mdap(*refused.next[0], "--max-steps", "9", "--json")
    assert (accepted.code, accepted.json["status"], accepted.json["wrong"]) == (0, "done", 0)


def test_another_model_is_a_change_that_must_be_accepted_and_then_stays(mdap: Terminal) -> None:
    mdap(*SURE, "--max-steps", "2")
    run = mdap.last()
    refused = mdap("resume", run, "--model", "simulated:p=0.9", "--max-steps", "4")
    assert refused.code == 1
    assert "simulated:p=0.9" in refused.err
    assert mdap("resume", run, "--model", "simulated:p=0.9", "--max-steps", "4", "--accept-changes").code == 4
    assert mdap("resume", run, "--model", "simulated:p=0.9", "--max-steps", "9").code == 0


def test_a_done_run_stays_done_and_no_call_is_made(mdap: Terminal) -> None:
    made = mdap(*HANOI, "--json").json
    again = mdap("resume", made["run"], "--json")
    assert (again.code, again.json["samples"]) == (0, made["samples"])


def test_many_truncated_replies_are_named_as_a_limit_with_the_command_that_raises_it(mdap: Terminal) -> None:
    server = mdap.start("serve", "simulated:p=1", "--task", "hanoi:disks=3", "--chaos", "cut=0.4")
    try:
        assert server.stderr is not None
        url = next(word for word in server.stderr.readline().split() if word.startswith("http"))
        said = mdap("run", "hanoi:disks=3", "--model", "openai:any", "--base-url", url, "--k", "2")
    finally:
        server.terminate()
        server.communicate(timeout=10)
    assert said.code == 0
    assert "of the replies were truncated at --max-tokens 750: that is the limit, not a format error" in said.err
    assert f"mdap run hanoi:disks=3 --model openai:any,base_url={url} --max-tokens 1500" in said.err
