// SPDX-License-Identifier: GPL-2.0
/*
 * Timers that fire against their removal, their change, the end of the request
 * that they limit, and the end of the ring. A few seconds, or STRESS.
 */
#include "storm.h"
#include "kselftest_harness.h"

#define KINDS	(1u << TIMES | 1u << REPEATS | 1u << COUNTS | 1u << READS | \
		 1u << LIMITS | 1u << FOLLOWS)
#define ATTACKS	(1u << TIME_REMOVES | 1u << TIME_CHANGES | \
		 1u << LIMIT_CHANGES | 1u << BY_USER_DATA | 1u << ANYTHING)

STORM(timerstorm, KINDS, ATTACKS)
