// SPDX-License-Identifier: GPL-2.0
/*
 * Paths relative to a directory, and descriptors of another thread: what the
 * exported functions take from the current task is put there for their time.
 */
#include <linux/fcntl.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs_struct.h>
#include <linux/namei.h>
#include <linux/stat.h>
#include <linux/user_namespace.h>
#include "helpers.h"

/* The current root and umask, and another working directory. */
struct elsewhere {
	struct fs_struct fs;
	struct fs_struct *old;
};

static int enter(struct elsewhere *e, struct file *dir)
{
	e->old = NULL;
	if (!dir)
		return 0;
	if (!d_can_lookup(dir->f_path.dentry))
		return -ENOTDIR;
	memset(&e->fs, 0, sizeof(e->fs));
	e->fs.users = 1;
	seqlock_init(&e->fs.seq);
	e->fs.umask = current->fs->umask;
	get_fs_root(current->fs, &e->fs.root);
	e->fs.pwd = dir->f_path;
	path_get(&e->fs.pwd);
	e->old = current->fs;
	/* Others look at it with the lock held, in /proc for one. */
	task_lock(current);
	current->fs = &e->fs;
	task_unlock(current);
	return 0;
}

static void leave(struct elsewhere *e)
{
	if (!e->old)
		return;
	task_lock(current);
	current->fs = e->old;
	task_unlock(current);
	path_put(&e->fs.pwd);
	path_put(&e->fs.root);
}

/* Can the path be opened without waiting: is all of it cached, and no device or socket? */
bool uring_path_cached(struct file *dir, const char *name)
{
	struct elsewhere e;
	struct path path;
	bool cached = false;

	if (enter(&e, dir))
		return true;
	if (!kern_path(name, LOOKUP_FOLLOW | LOOKUP_CACHED, &path)) {
		const umode_t mode = d_backing_inode(path.dentry)->i_mode;

		cached = S_ISREG(mode) || S_ISDIR(mode) || S_ISFIFO(mode);
		path_put(&path);
	}
	leave(&e);
	return cached;
}

struct file *uring_open_at(struct file *dir, const char *name, int flags, umode_t mode)
{
	struct elsewhere e;
	struct file *file;
	int ret;

	ret = enter(&e, dir);
	if (ret)
		return ERR_PTR(ret);
	if (!(flags & O_PATH) && force_o_largefile())
		flags |= O_LARGEFILE;
	file = filp_open(name, flags, mode);
	leave(&e);
	return file;
}

/*
 * The same without waiting for leases or for the other end of a pipe: -EAGAIN if
 * it would, and what else O_NONBLOCK brings about.
 */
struct file *uring_open_at_once(struct file *dir, const char *name, int flags, umode_t mode)
{
	struct file *file = uring_open_at(dir, name, flags | O_NONBLOCK, mode);

	if (!IS_ERR(file) && !(flags & O_NONBLOCK)) {
		spin_lock(&file->f_lock);
		file->f_flags &= ~O_NONBLOCK;
		spin_unlock(&file->f_lock);
	}
	return file;
}

/* statx(2), but for the number of the mount, which is private to the core. */
int uring_statx_at(struct file *dir, const char *name, unsigned int flags, u32 mask,
		   struct statx *out)
{
	const unsigned int sync = flags & AT_STATX_SYNC_TYPE;
	unsigned int lookup = LOOKUP_FOLLOW;
	struct elsewhere e;
	struct kstat stat;
	struct path path;
	int ret;

	if (mask & STATX__RESERVED || sync == AT_STATX_SYNC_TYPE)
		return -EINVAL;
	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE))
		return -EINVAL;
	if (!*name && (flags & AT_EMPTY_PATH) && dir) {
		path = dir->f_path;
		path_get(&path);
	} else {
		ret = enter(&e, dir);
		if (ret)
			return ret;
		if (flags & AT_SYMLINK_NOFOLLOW)
			lookup &= ~LOOKUP_FOLLOW;
		if (!(flags & AT_NO_AUTOMOUNT))
			lookup |= LOOKUP_AUTOMOUNT;
		if (flags & AT_EMPTY_PATH)
			lookup |= LOOKUP_EMPTY;
		ret = kern_path(name, lookup, &path);
		leave(&e);
		if (ret)
			return ret;
	}
	ret = vfs_getattr(&path, &stat, mask & ~STATX_CHANGE_COOKIE, sync);
	if (!ret) {
		stat.attributes_mask |= STATX_ATTR_MOUNT_ROOT;
		if (path.dentry == path.mnt->mnt_root)
			stat.attributes |= STATX_ATTR_MOUNT_ROOT;
	}
	path_put(&path);
	if (ret)
		return ret;

	memset(out, 0, sizeof(*out));
	out->stx_mask = stat.result_mask &
		~(STATX_CHANGE_COOKIE | STATX_MNT_ID | STATX_MNT_ID_UNIQUE);
	out->stx_blksize = stat.blksize;
	out->stx_attributes = stat.attributes & ~STATX_ATTR_CHANGE_MONOTONIC;
	out->stx_nlink = stat.nlink;
	out->stx_uid = from_kuid_munged(current_user_ns(), stat.uid);
	out->stx_gid = from_kgid_munged(current_user_ns(), stat.gid);
	out->stx_mode = stat.mode;
	out->stx_ino = stat.ino;
	out->stx_size = stat.size;
	out->stx_blocks = stat.blocks;
	out->stx_attributes_mask = stat.attributes_mask;
	out->stx_atime.tv_sec = stat.atime.tv_sec;
	out->stx_atime.tv_nsec = stat.atime.tv_nsec;
	out->stx_btime.tv_sec = stat.btime.tv_sec;
	out->stx_btime.tv_nsec = stat.btime.tv_nsec;
	out->stx_ctime.tv_sec = stat.ctime.tv_sec;
	out->stx_ctime.tv_nsec = stat.ctime.tv_nsec;
	out->stx_mtime.tv_sec = stat.mtime.tv_sec;
	out->stx_mtime.tv_nsec = stat.mtime.tv_nsec;
	out->stx_rdev_major = MAJOR(stat.rdev);
	out->stx_rdev_minor = MINOR(stat.rdev);
	out->stx_dev_major = MAJOR(stat.dev);
	out->stx_dev_minor = MINOR(stat.dev);
	out->stx_dio_mem_align = stat.dio_mem_align;
	out->stx_dio_offset_align = stat.dio_offset_align;
	out->stx_dio_read_offset_align = stat.dio_read_offset_align;
	out->stx_subvol = stat.subvol;
	out->stx_atomic_write_unit_min = stat.atomic_write_unit_min;
	out->stx_atomic_write_unit_max = stat.atomic_write_unit_max;
	out->stx_atomic_write_segments_max = stat.atomic_write_segments_max;
	out->stx_atomic_write_unit_max_opt = stat.atomic_write_unit_max_opt;
	return 0;
}

/* A descriptor that may have been opened with O_PATH. */
struct file *uring_fget_path(unsigned int fd)
{
	return fget_raw(fd);
}
