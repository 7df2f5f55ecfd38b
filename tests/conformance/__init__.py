"""Twelve things that first-to-ahead-by-k voting must get right, each with a twin that gets it wrong."""
