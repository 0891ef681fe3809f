// SPDX-License-Identifier: GPL-2.0

//! Names of what `<linux/io_uring.h>` of Linux 7.3 numbers.
//!
//! Opcodes are indices in these tables, flags are bits.

/// `IORING_OP_*`
pub const OPS: &[&str] = &[
    "NOP",
    "READV",
    "WRITEV",
    "FSYNC",
    "READ_FIXED",
    "WRITE_FIXED",
    "POLL_ADD",
    "POLL_REMOVE",
    "SYNC_FILE_RANGE",
    "SENDMSG",
    "RECVMSG",
    "TIMEOUT",
    "TIMEOUT_REMOVE",
    "ACCEPT",
    "ASYNC_CANCEL",
    "LINK_TIMEOUT",
    "CONNECT",
    "FALLOCATE",
    "OPENAT",
    "CLOSE",
    "FILES_UPDATE",
    "STATX",
    "READ",
    "WRITE",
    "FADVISE",
    "MADVISE",
    "SEND",
    "RECV",
    "OPENAT2",
    "EPOLL_CTL",
    "SPLICE",
    "PROVIDE_BUFFERS",
    "REMOVE_BUFFERS",
    "TEE",
    "SHUTDOWN",
    "RENAMEAT",
    "UNLINKAT",
    "MKDIRAT",
    "SYMLINKAT",
    "LINKAT",
    "MSG_RING",
    "FSETXATTR",
    "SETXATTR",
    "FGETXATTR",
    "GETXATTR",
    "SOCKET",
    "URING_CMD",
    "SEND_ZC",
    "SENDMSG_ZC",
    "READ_MULTISHOT",
    "WAITID",
    "FUTEX_WAIT",
    "FUTEX_WAKE",
    "FUTEX_WAITV",
    "FIXED_FD_INSTALL",
    "FTRUNCATE",
    "BIND",
    "LISTEN",
    "RECV_ZC",
    "EPOLL_WAIT",
    "READV_FIXED",
    "WRITEV_FIXED",
    "PIPE",
    "NOP128",
    "URING_CMD128",
];

/// `IORING_REGISTER_*` and `IORING_UNREGISTER_*`, the latter with `UNREGISTER_`.
pub const REGISTER: &[&str] = &[
    "BUFFERS",
    "UNREGISTER_BUFFERS",
    "FILES",
    "UNREGISTER_FILES",
    "EVENTFD",
    "UNREGISTER_EVENTFD",
    "FILES_UPDATE",
    "EVENTFD_ASYNC",
    "PROBE",
    "PERSONALITY",
    "UNREGISTER_PERSONALITY",
    "RESTRICTIONS",
    "ENABLE_RINGS",
    "FILES2",
    "FILES_UPDATE2",
    "BUFFERS2",
    "BUFFERS_UPDATE",
    "IOWQ_AFF",
    "UNREGISTER_IOWQ_AFF",
    "IOWQ_MAX_WORKERS",
    "RING_FDS",
    "UNREGISTER_RING_FDS",
    "PBUF_RING",
    "UNREGISTER_PBUF_RING",
    "SYNC_CANCEL",
    "FILE_ALLOC_RANGE",
    "PBUF_STATUS",
    "NAPI",
    "UNREGISTER_NAPI",
    "CLOCK",
    "CLONE_BUFFERS",
    "SEND_MSG_RING",
    "ZCRX_IFQ",
    "RESIZE_RINGS",
    "MEM_REGION",
    "QUERY",
    "ZCRX_CTRL",
    "BPF_FILTER",
];

/// `IORING_SETUP_*`
pub const SETUP: &[&str] = &[
    "IOPOLL",
    "SQPOLL",
    "SQ_AFF",
    "CQSIZE",
    "CLAMP",
    "ATTACH_WQ",
    "R_DISABLED",
    "SUBMIT_ALL",
    "COOP_TASKRUN",
    "TASKRUN_FLAG",
    "SQE128",
    "CQE32",
    "SINGLE_ISSUER",
    "DEFER_TASKRUN",
    "NO_MMAP",
    "REGISTERED_FD_ONLY",
    "NO_SQARRAY",
    "HYBRID_IOPOLL",
    "CQE_MIXED",
    "SQE_MIXED",
    "SQ_REWIND",
];

/// `IORING_FEAT_*`
pub const FEATURES: &[&str] = &[
    "SINGLE_MMAP",
    "NODROP",
    "SUBMIT_STABLE",
    "RW_CUR_POS",
    "CUR_PERSONALITY",
    "FAST_POLL",
    "POLL_32BITS",
    "SQPOLL_NONFIXED",
    "EXT_ARG",
    "NATIVE_WORKERS",
    "RSRC_TAGS",
    "CQE_SKIP",
    "LINKED_FILE",
    "REG_REG_RING",
    "RECVSEND_BUNDLE",
    "MIN_TIMEOUT",
    "RW_ATTR",
    "NO_IOWAIT",
];

/// `IORING_ENTER_*`
pub const ENTER: &[&str] = &[
    "GETEVENTS",
    "SQ_WAKEUP",
    "SQ_WAIT",
    "EXT_ARG",
    "REGISTERED_RING",
    "ABS_TIMER",
    "EXT_ARG_REG",
    "NO_IOWAIT",
];

/// `IOSQE_*`
pub const SQE: &[&str] = &[
    "FIXED_FILE",
    "IO_DRAIN",
    "IO_LINK",
    "IO_HARDLINK",
    "ASYNC",
    "BUFFER_SELECT",
    "CQE_SKIP_SUCCESS",
];

/// The names of the bits that are set; those without a name as a number.
pub fn flags(table: &[&str], bits: u64) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut rest = bits;
    for (bit, name) in table.iter().enumerate() {
        if rest & 1 << bit != 0 {
            names.push((*name).into());
            rest &= !(1 << bit);
        }
    }
    if rest != 0 || names.is_empty() {
        names.push(if rest == 0 {
            "0".into()
        } else {
            format!("{rest:#x}")
        });
    }
    names.join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_header() {
        assert_eq!(OPS.iter().position(|n| *n == "READ"), Some(22));
        assert_eq!(OPS.last(), Some(&"URING_CMD128"));
        assert_eq!(REGISTER.iter().position(|n| *n == "PBUF_RING"), Some(22));
        assert_eq!(SETUP.iter().position(|n| *n == "DEFER_TASKRUN"), Some(13));
    }

    #[test]
    fn bits_without_a_name_are_shown() {
        assert_eq!(flags(SQE, 0), "0");
        assert_eq!(flags(SQE, 5), "FIXED_FILE|IO_LINK");
        assert_eq!(flags(SQE, 1 << 20 | 1), "FIXED_FILE|0x100000");
    }
}
