// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
/* The object of `accepttrace events`: that of core.bpf.c, which also writes each event down. */
#define EVENTS
#include "core.bpf.c"
