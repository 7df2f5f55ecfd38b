"""From a prompt to a plan, and from a plan to a result: the asynchronous `plan`, `execute` and `do`.

Here the roles get their models and rules, and outcomes their form; what is asked, and when, is `mdap.planning`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import msgspec
from msgspec import UNSET

from mdap.asked import AskOptions
from mdap.core.errors import BudgetReached, MdapError, Rejected, Stop, Undecided, UsageError
from mdap.core.events import StepDecided
from mdap.core.plain import plain
from mdap.core.records import Record, State, Status
from mdap.core.redflags import RedFlagCheck, RedFlags
from mdap.core.spec import unknown
from mdap.observers import Observer
from mdap.parts import Asked, Prices
from mdap.planned import Conduct, Role, RoleTotals, conducting
from mdap.planning.atomic import AtomicCheck
from mdap.planning.beginning import check_beginning
from mdap.planning.brief import CAPS, Brief
from mdap.planning.brief import FOREIGN as FOREIGN
from mdap.planning.carrying_out import Branch, CarryingOut, Tell, Work
from mdap.planning.events import PlanningEvent
from mdap.planning.execution_task import EXECUTION, EXECUTION_VOTING, Form, Way
from mdap.planning.plan_task import PLAN_VOTING, PLANNING, PlanTask, steps_of
from mdap.planning.steps import PlanStep, Steps, read_steps, write_steps
from mdap.planning.telling import told
from mdap.planning.templates import Templates
from mdap.planning.verdicts import distinct
from mdap.protocols import Clock, Journal, Task
from mdap.tools import GivenTools

# The documented default of IgniteUI MAKER: judges of one proposal are cheap, a wrong plan is not.
DEFAULT_K = 10
# Without judges, votes are on answers, as in the paper: ahead by as many as a run assumes.
DEFAULT_RACE_K = 3
# A proposal and a state are longer than a judgement.
LONG_REPLY = 4096


class PlannedOptions(AskOptions, total=False):
    """What all three functions take: see `plan`."""

    batch_size: int
    k: int | None
    format: str
    templates: Mapping[str, str | Path]
    journal: Journal | str | Path | None
    run: str | None
    prices: Prices | None
    free: bool
    red_flags: RedFlags | None
    extra_flags: Sequence[RedFlagCheck]
    tools: GivenTools
    on_event: Observer | Sequence[Observer]
    clock: Clock | None
    record: Record


class PlanOptions(PlannedOptions, total=False):
    """The options of `plan`."""

    planning_model: Asked | None
    plan_voting_model: Asked | None
    max_steps: int
    restarts: int
    prepend_steps: Steps
    check_step: AtomicCheck | None


class ExecuteOptions(PlannedOptions, total=False):
    """The options of `execute`."""

    execution_model: Asked | None
    execution_voting_model: Asked | None
    execution: Way
    form: Form
    start: Any
    attempts: int
    candidates: int


class DoOptions(PlanOptions, ExecuteOptions, total=False):
    """The options of `do`: those of both."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What planning came to. `complete`: judges agreed that nothing is left to be planned.

    `status` is done where it is; else `steps` are those agreed on so far, `reasons` what judges last said against a
    proposal, and `run` goes on by `mdap resume`. `totals` are calls, votes, flags, tokens and cost by role.
    """

    run: str
    status: Status
    reason: str
    prompt: str
    steps: tuple[PlanStep, ...]
    complete: bool
    restarts: int
    reasons: tuple[str, ...]
    totals: dict[str, RoleTotals]

    @property
    def json(self) -> str:
        """The steps as an indented JSON array, their keys in camelCase."""
        return write_steps(self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return _plain(self) | {"steps": [step.to_dict() for step in self.steps]}


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """What carrying out a plan came to. `completed` are the places of the steps that are in the state.

    `states` is one state where all is done, or where one batch followed the other; else the states of the branches that
    are not joined yet. `plan` is what was planned in the same run, None for a plan that was given.
    """

    run: str
    status: Status
    reason: str
    prompt: str
    steps: tuple[PlanStep, ...]
    states: tuple[Any, ...]
    completed: tuple[int, ...]
    reasons: tuple[str, ...]
    totals: dict[str, RoleTotals]
    plan: Plan | None = None

    @property
    def state(self) -> Any:
        """The state that was reached; a list of states where branches are not joined yet."""
        return self.states[0] if len(self.states) == 1 else list(self.states)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        steps = {"state": self.state, "steps": [step.to_dict() for step in self.steps]}
        return _plain(self) | steps | {"plan": None if self.plan is None else self.plan.to_dict()}


async def plan(prompt: str, model: Asked | None = None, **options: Unpack[PlanOptions]) -> Plan:
    """Return the plan that a planner proposes for `prompt`, batch by batch, and judges agree to.

    `model` plays both roles, `planning` and `plan_voting`, unless `planning_model` or `plan_voting_model` names
    another. A proposal has `batch_size` (2) steps at most, each has to pass `check_step`, and the plan `max_steps` (20)
    at most, after `prepend_steps`. Judges answer Yes, No with a reason, or End; the first to lead by `k` (10) wins, and
    at 4k votes the proposal is refused as contentious. Reasons go into the next proposal. After 5 refusals in a row the
    plan is begun anew, `restarts` (2) times at most. `format` is what the result has to look like, in words;
    `templates` are files in place of the prompts that ship, by name.

    `run` goes on with a run that the `journal` holds; the other options are those of `mdap.aio.run`. Observers see the
    events of `mdap.planning.events` besides those of a run, and may raise Stop.

    Raises Rejected, with the plan so far as `partial`, where judges refuse more often than that, or say that a plan of
    `max_steps` steps is not complete; UsageError for what cannot be planned, and what `mdap.aio.run` raises. Any other
    end is the plan's `status`.
    """
    return (await _Doing("plan", prompt, model, dict(options)).conduct()).plan()


async def execute(
    plan: Plan | Steps, prompt: str, model: Asked | None = None, **options: Unpack[ExecuteOptions]
) -> Execution:
    """Return the state that a plan leads to, carried out for `prompt` batch by batch.

    A batch has `batch_size` (2) steps at most and never a step beside one that it requires; what does not wait for one
    another runs at the same time, and joins. The state is text, or with `form="json"` JSON; it begins as `start`, empty
    by default. `model` plays both roles, `execution` and `execution_voting`, unless `execution_model` or
    `execution_voting_model` names another. By `execution="judge"` a new state is drawn, and judges vote on it with Yes,
    or No with a reason, as on a plan; by "race" JSON states are voted on themselves, `k` (3) ahead by their canonical
    form, and of `candidates` (3) free texts judges choose one by its number. Reasons go into the next attempt;
    `attempts` (5) are made. `format` goes to steps that require it.

    Raises Rejected, with the execution so far as `partial`, where all attempts at a batch were refused: the state
    before it is what a resume goes on from. UsageError says, by its `code`, what is wrong with a plan. All else is as
    in `plan`.
    """
    steps = plan.steps if isinstance(plan, Plan) else read_steps(plan)
    return (await _Doing("execute", prompt, model, dict(options), steps).conduct()).execution()


async def do(prompt: str, model: Asked | None = None, **options: Unpack[DoOptions]) -> Execution:
    """Return the state that a plan for `prompt` leads to, planned and carried out in one run: `plan`, then `execute`.

    Raises Rejected with the plan, or the execution, so far as `partial`; where planning did not come to its end,
    nothing is carried out, and the execution has its status.
    """
    return (await _Doing("do", prompt, model, dict(options)).conduct()).execution()


ROLE_MODELS = ("planning_model", "plan_voting_model", "execution_model", "execution_voting_model")


class _Doing:
    """One run of planning, of carrying out, or of both, with all that it came to."""

    def __init__(
        self, kind: str, prompt: str, model: Asked | None, options: dict[str, Any], steps: Sequence[PlanStep] = ()
    ) -> None:
        # What is left over are the options of the run, which are checked there.
        own = {name: options.pop(name) for name in Brief.__struct_fields__ if name in options}
        self._kind, self._prompt, self._model = kind, prompt, model
        # Refused and not passed over: an option that does nothing would look as if it did.
        for name in own.keys() & FOREIGN[kind]:
            raise unknown(f"option of {kind}", name, own.keys() - FOREIGN[kind])
        self._brief = Brief(**own)
        check_beginning(prompt, self._brief.format, steps, self._brief.form, self._brief.beginning)
        self._models: dict[str, Asked | None] = {name: options.pop(name, None) for name in ROLE_MODELS}
        self._observers: Observer | Sequence[Observer] = options.pop("on_event", ())
        self._wiring = options
        # Read once, and now: a file that changes under way must not change a run.
        self._templates = Templates(self._brief.templates)
        self._planning = None if kind == "execute" else self._plan_task()
        # Seen here to be sound, before anything is asked; a plan that this run makes is seen to step by step.
        self._work = self._carrying_out(tuple(steps), _nobody, _nothing)
        self._run, self._reason = "", ""
        self._status: Status = "done"
        self._totals: dict[str, RoleTotals] = {}

    async def conduct(self) -> _Doing:
        """Take it to its end, or to where a cap, a budget or a hook ended it; raises Rejected and what is no end."""
        teller = _Teller(self._k, self._planning)
        listening = [self._observers] if callable(self._observers) else list(self._observers)
        try:
            async with conducting(
                self._kind,
                self._model,
                roles=self._roles(),
                origin=self._origin(),
                identity=self._identity(),
                on_event=[*listening, teller.hear],
                **self._wiring,
            ) as conduct:
                self._run, teller.conduct = conduct.run, conduct
                try:
                    await self._take(conduct)
                finally:
                    self._totals = conduct.totals()
        # Raised, where other ends are statuses: nothing that is resumed unchanged would come to another end.
        except Rejected as error:
            self._ended("undecided", error)
            error.partial = self.plan() if self._planning is not None and not self._is_planned else self.execution()
            raise
        except Undecided as error:
            self._ended("undecided", error)
        except BudgetReached as error:
            self._ended("budget", error)
        except Stop as error:
            self._ended("stopped", error)
        return self

    def plan(self) -> Plan:
        """Return the plan as far as it was made."""
        assert self._planning is not None
        state = self._planning.reached
        return Plan(
            run=self._run,
            # Of a run that also carries out: its plan may be done where its execution is not.
            status="done" if self._is_planned else self._status,
            reason="" if self._is_planned else self._reason,
            prompt=self._prompt,
            steps=steps_of(state),
            complete=state["is_complete"],
            restarts=state["restarts"],
            reasons=_last(state["reasons"]),
            totals=self._totals,
        )

    def execution(self) -> Execution:
        """Return the execution as far as it came."""
        return Execution(
            run=self._run,
            status=self._status,
            reason=self._reason,
            prompt=self._prompt,
            steps=self._work.steps,
            states=self._work.states,
            completed=self._work.completed,
            reasons=self._work.reasons,
            totals=self._totals,
            plan=None if self._planning is None else self.plan(),
        )

    async def _take(self, conduct: Conduct) -> None:
        async def _branch(item: int, task: Task) -> State:
            state = await conduct.branch(item, task)
            # What observers are told of next is a checkpoint.
            await conduct.flush()
            return state

        # What was given, unless this run makes a plan of its own.
        steps = self._work.steps
        if self._planning is not None:
            _check_planned(self._planning, await _branch(0, self._planning))
            steps = steps_of(self._planning.reached)
        if self._kind != "plan":
            self._work = self._carrying_out(steps, _branch, conduct.emit)
            await self._work.run()

    def _ended(self, status: Status, error: MdapError) -> None:
        self._status, self._reason = status, str(error)

    @property
    def _is_planned(self) -> bool:
        return self._planning is not None and bool(self._planning.reached["is_complete"])

    @property
    def _k(self) -> int:
        return DEFAULT_K if self._brief.k is None else self._brief.k

    def _plan_task(self) -> _Planning:
        brief = self._brief
        return _Planning(
            self._prompt,
            batch_size=brief.batch_size,
            max_steps=brief.max_steps,
            restarts=brief.restarts,
            prepend=read_steps(brief.prepend_steps),
            format=brief.format,
            templates=self._templates,
            check_step=brief.check_step,
        )

    def _carrying_out(self, steps: tuple[PlanStep, ...], branch: Branch, tell: Tell) -> CarryingOut:
        brief = self._brief
        work = Work(
            prompt=self._prompt,
            steps=steps,
            start=brief.beginning,
            batch_size=brief.batch_size,
            form=brief.form,
            way=brief.execution,
            attempts=brief.attempts,
            format=brief.format,
            templates=self._templates,
        )
        return CarryingOut(work, branch, tell)

    def _roles(self) -> dict[str, Role]:
        # Four k at most, and then contentious: that is what `gate` is.
        brief, gate = self._brief, f"gate:{self._k}"
        # A cap that was asked for holds for all roles; the longer one is a default.
        long = UNSET if "max_tokens" in self._wiring else LONG_REPLY
        # Judged and not raced: one is drawn, and a refusal draws the next.
        drawn = "collect:1"
        # JSON has a canonical form to vote on; of free texts no two are equal, so that judges choose.
        if brief.execution == "race":
            race = f"ahead_by_k:{DEFAULT_RACE_K if brief.k is None else brief.k}"
            drawn = race if brief.form == "json" else f"collect:{brief.candidates}"
        found = {
            PLANNING: Role(self._models["planning_model"], "collect:1", max_tokens=long),
            PLAN_VOTING: Role(self._models["plan_voting_model"], gate),
            EXECUTION: Role(self._models["execution_model"], drawn, max_tokens=long),
            EXECUTION_VOTING: Role(self._models["execution_voting_model"], gate),
        }
        kinds = {"plan": (PLANNING, PLAN_VOTING), "execute": (EXECUTION, EXECUTION_VOTING)}.get(self._kind, found)
        return {kind: found[kind] for kind in kinds}

    def _origin(self) -> dict[str, Any]:
        models = {"model": self._model, **self._models}
        # An object cannot be written down: whoever resumes hands it in again.
        specs = {name: model if isinstance(model, str) else None for name, model in models.items()}
        steps = [step.to_dict() for step in self._work.steps]
        return {"prompt": self._prompt, "steps": steps, "brief": self._brief.stored(), "models": specs}

    def _identity(self) -> dict[str, Any]:
        origin = self._origin()
        # Not paths but what stands there, and not caps: a resume may move the one and raise the other.
        brief = {name: value for name, value in origin["brief"].items() if name not in (*CAPS, "templates")}
        return {"prompt": self._prompt, "steps": origin["steps"], "prompts": self._templates.digest, **brief}


class _Planning(PlanTask):
    """A plan in the making that knows how far it has come, from where a resume begins again, too."""

    def __init__(self, prompt: str, **options: Any) -> None:
        super().__init__(prompt, **options)
        self.reached: State = self.start()

    def is_done(self, state: State) -> bool:
        """Say whether the plan is complete, or a cap has run out; every state that is reached is seen here."""
        self.reached = state
        return super().is_done(state)


class _Teller:
    """Tells observers what the decided steps mean, and `planning` how far it has come."""

    def __init__(self, k: int, planning: _Planning | None) -> None:
        self.conduct: Conduct | None = None
        self._k, self._planning = k, planning

    def hear(self, event: Any) -> None:
        """Tell what follows from an event of the engine."""
        if type(event) is StepDecided and self.conduct is not None:
            # Branch 0 is the plan; where it stands is wanted even if its next step is never asked.
            if event.item == 0 and self._planning is not None:
                self._planning.reached = event.decision.move.next_state
            for meant in told(event.decision, self._k):
                self.conduct.emit(meant)


def _check_planned(task: PlanTask, state: State) -> None:
    """Raise Rejected for a plan that a cap has ended."""
    reasons = _last(state["reasons"])
    because = f"the last one because: {'; '.join(reasons)}"
    if task.is_refused(state):
        raise Rejected(
            f"{state['rejections']} proposals in a row were refused after {state['restarts']} restarts, {because}",
            reasons=reasons,
            remedy=f"go on with `mdap resume RUN --restarts {state['restarts'] + 2}`, or say more in the prompt",
        )
    if task.is_full(state):
        raise Rejected(
            f"the plan has {len(state['steps'])} steps, as many as it may, and judges say that it is not complete: "
            f"{'; '.join(reasons)}",
            reasons=reasons,
            remedy=f"go on with `mdap resume RUN --max-steps {2 * len(state['steps'])}`",
        )


def _last(reasons: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(distinct(reasons[-1])) if reasons else ()


def _plain(record: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = plain(msgspec.to_builtins(record, str_keys=True, order="deterministic"))
    return found


async def _nobody(item: int, task: Task) -> State:
    """Carry nothing out: the plan is only looked at."""
    raise UsageError(f"branch {item} of {task!r} has not begun", remedy="conduct it")


def _nothing(event: PlanningEvent) -> None:
    """Tell nobody."""
