"""A run of the tracer from attaching to the summary: session, pace and sinks tied together."""
