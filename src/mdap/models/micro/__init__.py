"""The embedded language model: its public names, and nothing else."""

from mdap.models.micro.model import Micro, micro

__all__ = ["Micro", "micro"]
