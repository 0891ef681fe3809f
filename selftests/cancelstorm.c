// SPDX-License-Identifier: GPL-2.0
/*
 * Cancellation of all kinds against the end of requests in all places, and of
 * the ring. A few seconds, or STRESS.
 */
#include "storm.h"
#include "kselftest_harness.h"

#define KINDS	(((1u << NR_KINDS) - 1) | 1u << LIMITS | 1u << FOLLOWS | \
		 1u << DRAINS)
#define ATTACKS	((1u << NR_ATTACKS) - 1)

STORM(cancelstorm, KINDS, ATTACKS)
