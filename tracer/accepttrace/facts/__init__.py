"""What was read, without any meaning yet: records, and which of them a filter lets through."""
