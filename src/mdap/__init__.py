"""Runs long chains of small LLM steps without errors."""
