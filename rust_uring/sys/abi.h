/* SPDX-License-Identifier: GPL-2.0 */
/* What abi.rs is generated from. */
#include <uapi/linux/io_uring.h>
#include <uapi/linux/io_uring/query.h>
#include <uapi/linux/fadvise.h>
#include <uapi/linux/openat2.h>
#include <uapi/linux/stat.h>
#include <linux/io_uring_types.h>
#include "../../include/uapi/linux/rust_uring.h"
