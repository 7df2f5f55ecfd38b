"""From a prompt to a plan to a result, out of voted steps alone. Nothing here calls a model or knows a journal."""
