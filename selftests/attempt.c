// SPDX-License-Identifier: GPL-2.0
/*
 * Not a test but a part of params.sh: sets up one ring on the device and says how that went.
 *
 *   attempt		prints "ok" or the errno
 *   attempt ring	keeps the ring, prints "ready", and waits for the end of its input
 *   attempt mapping	keeps no descriptor, but the mapped ring
 *   attempt device	keeps the open device
 *   attempt unix		registers a UNIX socket, prints "ok" or the errno
 */
#include "uring.h"
#include <sys/socket.h>

int main(int argc, char **argv)
{
	const char *keep = argc > 1 ? argv[1] : "";
	struct ring r;
	char c;
	int ret;

	if (!strcmp(keep, "device")) {
		ret = open(RUST_URING_DEVICE, O_RDWR);
		if (ret < 0)
			ret = -errno;
	} else {
		ret = ring_init(&r, DEVICE, 8, 0);
		if (ret >= 0 && ring_nops(&r, 8, 0) != 8)
			ret = -EPROTO;
	}
	if (ret >= 0 && !strcmp(keep, "unix")) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		ret = fd < 0 ? -errno : ring_register(&r, IORING_REGISTER_FILES, &fd, 1);
		keep = "";
	}
	if (ret < 0)
		puts(strerrorname_np(-ret));
	else
		puts(*keep ? "ready" : "ok");
	if (ret < 0 || !*keep)
		return 0;
	if (!strcmp(keep, "mapping"))
		close(r.fd);
	fflush(stdout);
	return read(STDIN_FILENO, &c, 1) != 0;
}
