/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/* Where loop.c begins and ends what profile.c counts: no-operations with an address of their own.
 */
#ifndef MARK_H
#define MARK_H

#define MARK_BEGIN 0x0acceb00
#define MARK_END 0x0accee00

#ifdef __x86_64__
#define MARK(which) __asm__ volatile("nopl %c0(%%rax)" : : "i"(which))
#else
#define MARK(which)
#endif

#endif
