"""Click commands: options → Config → run."""
