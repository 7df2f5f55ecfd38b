"""A model whose profile narrows when a parameter is refused: once a parameter, remembered, and told to the user."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from mdap.core.errors import ModelError
from mdap.models.profiles import Profile

# It stands among the adaptations of a condition, so no parameter may ever have this name.
_REPEATS = "repeats"
_LOG = logging.getLogger("mdap")


class Adaptive:
    """A model that adapts. `profile` is what it takes, as far as is known now.

    `adaptations` are the names, of `mdap.models.profiles.PARAMETERS`, of what it has narrowed by, in order.
    """

    spec: str
    profile: Profile
    adaptations: tuple[str, ...] = ()
    repeats: bool = False
    """Whether a probe found that free replies of it are alike whatever their seeds: its votes are not independent."""

    @property
    def condition(self) -> tuple[str, ...]:
        """What a run keeps of the model, so that a resume goes on with it: `adaptations`, and whether it `repeats`."""
        return (*self.adaptations, *([_REPEATS] if self.repeats else []))

    def restore(self, condition: Iterable[str]) -> None:
        """Take over the condition that an earlier part of the run left."""
        words = tuple(condition)
        # A probe may have found it in this part of the run, too: neither part takes back what the other saw.
        self.repeats = self.repeats or _REPEATS in words
        self.adapt([word for word in words if word != _REPEATS])

    def adapt(self, names: Sequence[str]) -> None:
        """Take over adaptations that an earlier part of the run made, silently; raises UsageError for an unknown name.

        Those that are in force already are left alone.
        """
        for name in names:
            if name not in self.adaptations:
                self.profile = self.profile.without(name)
                self.adaptations = (*self.adaptations, name)

    def adapted(self, name: str, profile: Profile, words: str, status: int) -> ModelError | None:
        """Return the error that asks for one more attempt without a parameter; None where this call was that attempt.

        `profile` is what the refused call was written with, `words` what the provider said.
        """
        if name not in self.adaptations:
            self.narrow(name, f"refuses {name}")
        # It was written as the profile now says, and refused all the same: once more would be refused once more.
        elif profile.takes(name) == self.profile.takes(name):
            return None
        # A call that was on its way when another one found this out is simply asked again.
        return ModelError(
            f"{self.spec} refuses {name}, so {self._instead(name)} ({words})",
            kind="adapted",
            status=status,
            # The server is not busy: there is nothing to wait for.
            retry_after=0.0,
        )

    def narrow(self, name: str, what: str) -> None:
        """Adapt to `what` the model does, and tell the user; nothing happens where it has adapted already."""
        if name not in self.adaptations:
            self.adapt([name])
            _LOG.warning("%s %s: %s; votes differ by %s", self.spec, what, self._instead(name), self.profile.variety)

    def _instead(self, name: str) -> str:
        return f"it is sent as {self.profile.max_tokens}" if name == "max_tokens" else "it is not sent any more"
