"""Pure functions of a snapshot: table, live, jsonl, csv."""
