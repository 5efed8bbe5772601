"""The live screen as pure functions: a state, keys that change it, lines drawn of it."""
