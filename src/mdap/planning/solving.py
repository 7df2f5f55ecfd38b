"""Algorithm 4: divide, judge, solve, judge, compose, judge, task by task (arXiv:2511.09030, Appendix F).

How a branch is asked is handed in; what was solved before a failure stays solved, and a failure names its subtask.
"""

from __future__ import annotations

from asyncio import Event
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import msgspec

from mdap.core.errors import MdapError, ModelError, RedFlag, TaskError, Undecided, UsageError
from mdap.core.foreign import Foreign
from mdap.core.formats import Format
from mdap.core.records import ABSENT, State
from mdap.groups import Group
from mdap.planning.candidates import Divisions, Minimality, Question, Solutions, shown_division
from mdap.planning.composition import Combine, Part, compose, is_known
from mdap.planning.decomposers import Decomposer
from mdap.planning.division import ATOMIC, Division, Leaf, Subtask, Tree, checked, leaves, read_division
from mdap.planning.minimality import IsMinimal
from mdap.planning.tool_solutions import Kit, ToolSolutions
from mdap.planning.verdicts import YES, distinct
from mdap.planning.wording import Wording, written
from mdap.protocols import Task

Branch: TypeAlias = Callable[[int, Task], Awaitable[State]]
How = Literal["solved", "composed", "computed"]
Standing = Literal["open", "solved", "undecided", "error", "skipped"]
Validate = Literal["none", "answer", "every"]

# The branches of one task: whether it is minimal, its division, its solution. One number is left for what may come.
_MINIMAL, _DIVISION, _SOLUTION, _BRANCHES = 0, 1, 2, 4
# Within the 64 bits of a journal's integers, with room to spare.
_ITEMS = 2**62


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """How tasks are divided and solved.

    At `max_depth`, and where fewer than two of the `max_subtasks` are left for it, a task is a leaf. `rounds` are how
    often candidates are drawn for one question. `minimal` None: judges say whether a task is divided at all. `own` are
    compositions of one's own; `context` is what all roles are told besides the task, `kit` the tools of the solver.
    Raises UsageError where branches could not all be numbered.
    """

    decomposer: Decomposer
    minimal: IsMinimal | None
    max_depth: int
    max_subtasks: int
    rounds: int
    form: Format
    key: Callable[[Any], Any] | None
    validate: Validate
    own: Mapping[str, Combine]
    wording: Wording
    context: tuple[str, ...] = ()
    kit: Kit = Kit()

    def __post_init__(self) -> None:
        if _BRANCHES * self.decomposer.parts ** (self.deepest + 1) >= _ITEMS:
            raise UsageError(
                f"a depth of {self.deepest} with {self.decomposer.parts} parts has more subtasks than can be numbered",
                remedy="lower max_depth, max_subtasks or the parts",
            )

    @property
    def deepest(self) -> int:
        """The depth that a task can have: at each, two parts at least share what is left of the subtasks."""
        depth, left = 0, self.max_subtasks
        # Halves are the fewest parts, and so leave most for each: the deepest tree is made of them.
        while depth < self.max_depth and left > 1:
            depth, left = depth + 1, (left - 2) // 2
        return depth


class Solved(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task as it stands: `number` (empty for the whole, 1.2 for the second part of the first), and what it came to.

    `answer` is absent unless `status` is solved; `how` says by whom: solved as a whole, composed by a model, or
    computed from its parts by a named composition. `reason` says why it is not solved. `needs` are the numbers of the
    parts beside it whose results it is given, `compose` how its own `parts` make its result; `complexity` is how hard
    whoever divided the task says that it is, from 0 to 1 (.5: nobody has).
    """

    number: str
    task: str
    status: Standing
    # UNSET and not None: null may be what it came to.
    answer: Any = msgspec.UNSET
    how: How | Literal[""] = ""
    reason: str = ""
    complexity: float = 0.5
    needs: tuple[str, ...] = ()
    compose: str = ""
    parts: tuple[Solved, ...] = ()

    @property
    def leaves(self) -> list[Leaf]:
        """The tasks that are not divided, in order; what needs a branch needs the leaves that it ends in."""
        return leaves(self._tree())

    def _tree(self) -> Tree:
        parts = tuple(part._tree() for part in self.parts)
        # Numbers of siblings end in their places, which is what a division counts by.
        needs = [tuple(int(needed.rpartition(".")[2]) for needed in part.needs) for part in self.parts]
        subtasks = tuple(Subtask(part.task, of, part.complexity) for part, of in zip(self.parts, needs, strict=True))
        return Tree(self.task, self.number, Division(subtasks, self.compose), parts, self.complexity)


class Divided(msgspec.Struct, frozen=True, tag="divided"):
    """A task was divided: its number, and its subtasks with how they are composed."""

    number: str
    task: str
    division: dict[str, Any]


class SubtaskSettled(msgspec.Struct, frozen=True, tag="subtask"):
    """A task, or subtask, has come to its end; `answer` is None and `reason` says why unless it is solved."""

    number: str
    task: str
    status: Standing
    answer: Any
    how: str
    reason: str


class _Node:
    """A task while it is solved."""

    def __init__(self, task: str, number: str, code: int, depth: int, left: int, told: tuple[str, ...]) -> None:
        self.task, self.number, self.code, self.depth, self.left, self.told = task, number, code, depth, left, told
        self.division: Division = ATOMIC
        self.parts: list[_Node] = []
        self.needs: tuple[str, ...] = ()
        self.complexity = 0.5
        self.status: Standing = "open"
        self.answer: Any = ABSENT
        self.how: How | Literal[""] = ""
        self.reason = ""

    @property
    def name(self) -> str:
        """How messages call it."""
        shown = self.task if len(self.task) <= 80 else self.task[:80] + "..."
        return f"subtask {self.number} {shown!r}" if self.number else f"the task {shown!r}"

    def seen(self) -> Solved:
        """Return it as it stands."""
        return Solved(
            self.number,
            self.task,
            self.status,
            msgspec.UNSET if self.answer is ABSENT else self.answer,
            self.how,
            self.reason,
            self.complexity,
            self.needs,
            self.division.compose,
            tuple(part.seen() for part in self.parts),
        )


class Solving:
    """One task while it is divided and solved."""

    def __init__(self, ways: Ways, branch: Branch, tell: Callable[[Divided | SubtaskSettled], None]) -> None:
        self._ways, self._branch, self._tell = ways, branch, tell
        self._root: _Node | None = None

    @property
    def tree(self) -> Solved | None:
        """The task with its subtasks as they stand; None before it begins."""
        return None if self._root is None else self._root.seen()

    async def run(self, task: str) -> Any:
        """Return the answer to a task.

        Raises Undecided where judges agreed on nothing, and what `branch` raises. Subtasks that do not need the one
        that failed are solved before it is raised, and kept.
        """
        # The root has code 1, so that no part of any task shares the code of another.
        self._root = _Node(task, "", 1, 0, self._ways.max_subtasks, self._ways.context)
        await self._solve(self._root)
        return self._root.answer

    async def _solve(self, node: _Node) -> None:
        try:
            node.division = await self._divided(node)
            if node.division.is_atomic:
                node.how, node.answer = "solved", await self._answer(node, Question(node.task, node.told))
            else:
                self._tell(Divided(node.number, node.task, shown_division(node.division)))
                await self._solve_parts(node)
                await self._compose(node)
        except MdapError as error:
            if _is_of_the_subtask(error) or isinstance(error, ModelError):
                node.status = "undecided" if isinstance(error, Undecided) else "error"
                node.reason = error.message
                self._tell(SubtaskSettled(node.number, node.task, node.status, None, "", node.reason))
            raise
        node.status = "solved"
        self._tell(SubtaskSettled(node.number, node.task, "solved", node.answer, node.how, ""))

    # ---- division ----

    async def _divided(self, node: _Node) -> Division:
        ways = self._ways
        # Its share, and not what the whole run has left: which subtasks there are must not depend on who was faster.
        most = min(ways.decomposer.parts, node.left)
        if node.depth >= ways.max_depth or most < 2:
            return ATOMIC
        if await self._is_minimal(node):
            return ATOMIC
        divide = ways.decomposer.divide
        if divide is not None:
            with _naming(node), Foreign(f"decomposer {ways.decomposer.spec}"):
                return _checked(divide(node.task), ways.decomposer.spec, most)
        question = Question(node.task, node.told)
        task = Divisions(question, ways.wording, ways.rounds, most, list(ways.own))
        state = await self._asked(node, _DIVISION, task)
        # Read again: at a resume it comes from a journal, and not from a parser.
        return read_division(self._result(node, state, "way to divide it"), most)

    async def _is_minimal(self, node: _Node) -> bool:
        if self._ways.minimal is not None:
            with _naming(node), Foreign("minimal"):
                return bool(self._ways.minimal(node.task))
        task = Minimality(Question(node.task, node.told), self._ways.wording)
        state = await self._asked(node, _MINIMAL, task)
        return bool(state["verdict"] == YES)

    # ---- parts ----

    async def _solve_parts(self, node: _Node) -> None:
        subtasks = node.division.subtasks
        # In equal shares, beforehand: none depends on what the others use of theirs.
        left = (node.left - len(subtasks)) // len(subtasks)
        # Told on the way down: what a part is a part of, and what that was told of its own needs.
        told = (*node.told, f"Part of this task: {written(node.task)}")
        node.parts = [self._part(node, place, subtask, left, told) for place, subtask in enumerate(subtasks)]
        # Set for those that failed, too: what waits for them is skipped, not left waiting.
        ends = [Event() for _ in subtasks]
        failures: dict[int, MdapError] = {}

        async def _part(place: int) -> None:
            for needed in subtasks[place].needs:
                await ends[needed - 1].wait()
            try:
                await self._solve_when_fed(node, place)
            except MdapError as error:
                if not _is_of_the_subtask(error):
                    raise
                failures[place] = error
            ends[place].set()

        async with Group() as group:
            for place in range(len(subtasks)):
                group.create_task(_part(place))
        if failures:
            # The first by place, not by time: equal runs end with equal errors.
            raise failures[min(failures)]

    def _part(self, node: _Node, place: int, subtask: Subtask, left: int, told: tuple[str, ...]) -> _Node:
        number = f"{node.number}.{place + 1}" if node.number else str(place + 1)
        part = _Node(subtask.task, number, node.code * self._ways.decomposer.parts + place, node.depth + 1, left, told)
        part.complexity = subtask.complexity
        part.needs = tuple(number[: -len(str(place + 1))] + str(needed) for needed in subtask.needs)
        return part

    async def _solve_when_fed(self, node: _Node, place: int) -> None:
        part = node.parts[place]
        needed = [node.parts[number - 1] for number in node.division.subtasks[place].needs]
        # Asked without it, a solver would make up what is missing.
        unfed = [one for one in needed if one.answer is ABSENT]
        if unfed:
            part.status, part.reason = "skipped", f"{unfed[0].name} has no result"
            self._tell(SubtaskSettled(part.number, part.task, "skipped", None, "", part.reason))
            return
        part.told += tuple(f"Result of {written(one.task)}: {written(one.answer)}" for one in needed)
        await self._solve(part)

    # ---- composition ----

    async def _compose(self, node: _Node) -> None:
        ways, how = self._ways, node.division.compose
        results = tuple({"subtask": part.task, "result": part.answer} for part in node.parts)
        question = Question(node.task, node.told, results, how)
        if not is_known(how, ways.own):
            node.how, node.answer = "composed", await self._answer(node, question)
            return
        with _naming(node):
            made = compose(how, [Part(part.number, part.answer) for part in node.parts], ways.own)
            made = self._of_the_form(made)
        node.how = "computed"
        node.answer = await self._answer(node, question, made) if self._is_validated(node) else made

    def _of_the_form(self, value: Any) -> Any:
        """Return a computed result as a reply with it would be read: code, too, has to keep to the format."""
        if self._ways.form.name == "text":
            return value
        text = value if isinstance(value, str) else written(value)
        try:
            return self._ways.form.read(text)
        except RedFlag as flag:
            raise TaskError(f"the composed result does not fit the format: {flag.message}") from None

    # ---- questions ----

    def _is_validated(self, node: _Node) -> bool:
        return self._ways.validate == "every" or (self._ways.validate == "answer" and not node.number)

    async def _answer(self, node: _Node, question: Question, given: Any = ABSENT) -> Any:
        ways, validated = self._ways, self._is_validated(node)
        asked = question, ways.wording, ways.rounds, ways.form, ways.key
        task: Solutions
        # Whoever composes has all that it needs in the results.
        if ways.kit.tools and not question.results:
            task = ToolSolutions(*asked, ways.kit, validated=validated)
        else:
            task = Solutions(*asked, validated=validated, given=given)
        return self._result(node, await self._asked(node, _SOLUTION, task), "answer to it")

    async def _asked(self, node: _Node, which: int, task: Task) -> State:
        with _naming(node):
            return await self._branch(_BRANCHES * node.code + which, task)

    def _result(self, node: _Node, state: State, what: str) -> Any:
        if state["result"]:
            return state["result"][0]
        reasons = distinct(reason for refused in state["refused"] for reason in refused)
        raise Undecided(
            f"{node.name}: {len(state['refused'])} rounds of candidates have brought no {what}: {'; '.join(reasons)}",
            remedy="go on with `mdap resume RUN --rounds N`, N above that",
        )


@contextmanager
def _naming(node: _Node) -> Iterator[None]:
    """Let errors say which subtask they met; a budget, a Stop and the journal concern them all."""
    try:
        yield
    except MdapError as error:
        if _is_of_the_subtask(error) or isinstance(error, ModelError):
            error.message = f"{node.name}: {error.message}"
        raise


def _checked(division: Division, spec: str, most: int) -> Division:
    if not isinstance(division, Division):
        raise TaskError(f"decomposer {spec} gave {division!r}, which is no Division", remedy="mend the function")
    try:
        # With fewer left than it has parts, a task is a leaf, as at the limit of depth.
        return ATOMIC if division.is_atomic or len(division.subtasks) > most else checked(division, most)
    except RedFlag as flag:
        raise TaskError(f"decomposer {spec}: {flag.message}", remedy="mend the function") from None


def _is_of_the_subtask(error: MdapError) -> bool:
    """Whether an error concerns one subtask alone, so that the others can go on."""
    return isinstance(error, Undecided | TaskError)


def counted(tree: Solved | None) -> tuple[int, int, int]:
    """Return how many tasks of a tree were solved as they stand, how many divided, and into how many subtasks."""
    if tree is None:
        return 0, 0, 0
    inner = [counted(part) for part in tree.parts]
    whole = int(not tree.parts and tree.status == "solved")
    return (
        whole + sum(each[0] for each in inner),
        int(bool(tree.parts)) + sum(each[1] for each in inner),
        len(tree.parts) + sum(each[2] for each in inner),
    )


__all__ = ["Branch", "Divided", "Solved", "Solving", "SubtaskSettled", "Ways", "counted"]
