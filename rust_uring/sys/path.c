// SPDX-License-Identifier: GPL-2.0
/*
 * Paths relative to a directory, and descriptors of another thread: what the
 * exported functions take from the current task is put there for their time.
 */
#include <linux/fcntl.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/fs_struct.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/openat2.h>
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

/* RESOLVE_* of openat2(2), as lookups take them. */
static unsigned int lookup_flags(u64 resolve)
{
	return (resolve & RESOLVE_NO_XDEV ? LOOKUP_NO_XDEV : 0) |
	       (resolve & RESOLVE_NO_MAGICLINKS ? LOOKUP_NO_MAGICLINKS : 0) |
	       (resolve & RESOLVE_NO_SYMLINKS ? LOOKUP_NO_SYMLINKS : 0) |
	       (resolve & RESOLVE_BENEATH ? LOOKUP_BENEATH : 0) |
	       (resolve & RESOLVE_IN_ROOT ? LOOKUP_IN_ROOT : 0) |
	       (resolve & RESOLVE_CACHED ? LOOKUP_CACHED : 0);
}

/* Can the path be opened without waiting: is all of it cached, and no device or socket? */
bool uring_path_cached(struct file *dir, const char *name, u64 resolve)
{
	struct elsewhere e;
	struct path path;
	bool cached = false;

	if (enter(&e, dir))
		return true;
	if (!kern_path(name, LOOKUP_FOLLOW | LOOKUP_CACHED | lookup_flags(resolve), &path)) {
		const umode_t mode = d_backing_inode(path.dentry)->i_mode;

		cached = S_ISREG(mode) || S_ISDIR(mode) || S_ISFIFO(mode);
		path_put(&path);
	}
	leave(&e);
	return cached;
}

/* Opens what a lookup has found, with all that an open checks; as open_by_handle_at(2) does. */
static struct file *open_found(const struct path *path, int flags, umode_t mode)
{
	return file_open_root(path, "", flags, mode);
}

/* Takes back flags that were ours and not the caller's. */
static void clear_flags(struct file *file, unsigned int flags)
{
	spin_lock(&file->f_lock);
	file->f_flags &= ~flags;
	spin_unlock(&file->f_lock);
}

/*
 * What fs.protected_regular and fs.protected_fifos forbid to O_CREAT when they are 2. What they
 * are is not known here.
 */
static int may_create_in_sticky(const struct path *path)
{
	struct inode *inode = d_backing_inode(path->dentry), *in;
	struct mnt_idmap *idmap = mnt_idmap(path->mnt);
	vfsuid_t owner = i_uid_into_vfsuid(idmap, inode);
	struct path at = *path;
	struct dentry *dir;
	int ret = 0;

	path_get(&at);
	while (at.dentry == at.mnt->mnt_root && follow_up(&at))
		;
	dir = dget_parent(at.dentry);
	in = d_backing_inode(dir);
	if ((in->i_mode & S_ISVTX) && (in->i_mode & 0022) &&
	    !vfsuid_eq(owner, i_uid_into_vfsuid(mnt_idmap(at.mnt), in)) &&
	    !vfsuid_eq_kuid(owner, current_fsuid()))
		ret = -EACCES;
	dput(dir);
	path_put(&at);
	return ret;
}

/*
 * With O_CREAT the directory is looked up, and the last name is opened there without following
 * it. If that is a symbolic link it is looked up to its end, which has to be there.
 */
static struct file *create(const char *name, int flags, umode_t mode, unsigned int lookup)
{
	struct filename *filename = getname_kernel(name);
	struct path parent, found;
	struct file *file = NULL;
	struct qstr last;
	int ret;

	if (IS_ERR(filename))
		return ERR_CAST(filename);
	ret = vfs_path_parent_lookup(filename, lookup, &parent, &last, NULL);
	if (ret == -EINVAL) {
		/* It ends with a dot, or is the root: a directory. */
		ret = kern_path(name, lookup, &found);
		if (!ret) {
			path_put(&found);
			ret = flags & O_EXCL ? -EEXIST : -EISDIR;
		}
		goto out;
	}
	if (ret)
		goto out;
	if (lookup & LOOKUP_NO_XDEV) {
		/* Something may be mounted there. */
		ret = kern_path(name, lookup, &found);
		if (!ret)
			path_put(&found);
		if (ret == -EXDEV)
			goto out_parent;
		ret = 0;
	}
	file = file_open_root(&parent, last.name, flags | O_NOFOLLOW, mode);
	if (!IS_ERR(file) && (lookup & LOOKUP_NO_XDEV) && file->f_path.mnt != parent.mnt) {
		fput(file);
		file = ERR_PTR(-EXDEV);
	}
	if (!IS_ERR(file))
		clear_flags(file, O_NOFOLLOW & ~flags);
	if (file == ERR_PTR(-ELOOP) && !(flags & O_NOFOLLOW)) {
		ret = kern_path(name, lookup | LOOKUP_FOLLOW | LOOKUP_AUTOMOUNT, &found);
		if (!ret) {
			ret = may_create_in_sticky(&found);
			if (!ret)
				file = open_found(&found, flags, mode);
			path_put(&found);
		}
	}
out_parent:
	path_put(&parent);
out:
	putname(filename);
	return ret ? ERR_PTR(ret) : file;
}

/* The kernel's own lookup, with restrictions; then an open of what it found. */
static struct file *open_resolved(const char *name, u64 flags, umode_t mode, u64 resolve)
{
	unsigned int lookup = lookup_flags(resolve);
	struct path path;
	struct file *file;
	int ret;

	if (flags & O_CREAT)
		return create(name, flags, mode, lookup);
	if (!(flags & O_NOFOLLOW))
		lookup |= LOOKUP_FOLLOW;
	if (flags & O_DIRECTORY)
		lookup |= LOOKUP_DIRECTORY;
	if (!(flags & O_PATH))
		lookup |= LOOKUP_AUTOMOUNT;
	ret = kern_path(name, lookup, &path);
	if (ret)
		return ERR_PTR(ret);
	if ((flags & OPENAT2_REGULAR) && !d_is_reg(path.dentry))
		file = ERR_PTR(-EFTYPE);
	else
		file = open_found(&path, flags, mode);
	path_put(&path);
	return file;
}

/* openat2(2), without a descriptor; OPENAT2_REGULAR not together with O_CREAT. */
struct file *uring_open_at(struct file *dir, const char *name, u64 flags, umode_t mode,
			   u64 resolve)
{
	struct elsewhere e;
	struct file *file;
	int ret;

	ret = enter(&e, dir);
	if (ret)
		return ERR_PTR(ret);
	if (!(flags & O_PATH) && force_o_largefile())
		flags |= O_LARGEFILE;
	if (resolve || (flags & OPENAT2_REGULAR))
		file = open_resolved(name, flags, mode, resolve);
	else
		file = filp_open(name, flags, mode);
	leave(&e);
	return file;
}

/*
 * The same without waiting for leases or for the other end of a pipe: -EAGAIN if
 * it would, and what else O_NONBLOCK brings about.
 */
struct file *uring_open_at_once(struct file *dir, const char *name, u64 flags, umode_t mode,
				u64 resolve)
{
	struct file *file = uring_open_at(dir, name, flags | O_NONBLOCK, mode, resolve);

	if (!IS_ERR(file))
		clear_flags(file, O_NONBLOCK & ~flags);
	return file;
}

/*
 * statx(2), but for the number of the mount: that is in struct mount, which fs/mount.h keeps to
 * the core, and no exported function tells it.
 */
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
