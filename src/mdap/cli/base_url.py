"""What `--base-url` does to the spec of a model."""

from __future__ import annotations


def with_base_url(model: str, base_url: str | None) -> str:
    """Return the model's spec with this base URL in place of the one that it may have."""
    if base_url is None:
        return model
    from mdap.core.errors import UsageError
    from mdap.core.spec import parse_spec, write_spec

    # One address cannot be that of all of them, and nobody has said whose it is.
    if " + " in model or " | " in model:
        raise UsageError(f"{model!r} is several models", remedy="write base_url=... in the spec of each")
    spec = parse_spec(model)
    return write_spec(spec.name, {**dict(spec.options), "base_url": base_url}, bare=spec.bare)
