"""What can be shown of a row: table, JSON, CSV, `--sort` and docs/columns.md are made of it."""
