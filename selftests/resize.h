/* SPDX-License-Identifier: GPL-2.0 */
/* IORING_REGISTER_RESIZE_RINGS for the tests. Included after uring.h. */
#ifndef RUST_URING_SELFTEST_RESIZE_H
#define RUST_URING_SELFTEST_RESIZE_H

#define DEFER	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

/* Resizes; the old memory stays mapped where it is. */
static __maybe_unused int resize_raw(struct ring *r, struct io_uring_params *p)
{
	return ring_register(r, IORING_REGISTER_RESIZE_RINGS, p, 1);
}

/* Resizes and maps the new rings. 0 for @cq is the default. The ring is as before on failure. */
static __maybe_unused int resize(struct ring *r, unsigned int sq, unsigned int cq)
{
	struct io_uring_params p = {
		.sq_entries = sq,
		.cq_entries = cq,
		.flags = cq ? IORING_SETUP_CQSIZE : 0,
	};
	int ret = resize_raw(r, &p);

	if (ret)
		return ret;
	ring_unmap(r);
	r->p = p;
	return ring_map(r);
}

#endif
