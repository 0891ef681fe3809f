// SPDX-License-Identifier: GPL-2.0
/*
 * Wakeups against the removal and the change of what polls, and the end of the
 * ring. A few seconds, or STRESS.
 */
#include "storm.h"
#include "kselftest_harness.h"

#define KINDS	(1u << POLLS | 1u << POLLS_OFTEN | 1u << READS | \
		 1u << FOLLOWS)
#define ATTACKS	(1u << POLL_REMOVES | 1u << POLL_CHANGES | 1u << BY_FD)

STORM(pollstorm, KINDS, ATTACKS)
