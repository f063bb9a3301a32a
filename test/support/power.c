/*
 * What a disk keeps of some files when the power goes: preloaded under every process that uses SQLite, it copies a
 * file into a shadow folder whenever it is synchronised, and leaves the shadow alone otherwise.
 *
 * The model, on the pessimistic side of what a journaling file system promises:
 *   - of a file's bytes and length exactly that survives which its last fsync or fdatasync found;
 *   - a new name survives from the file's first fsync on (journaling file systems log the name with the inode);
 *   - a removed name stays removed only once its folder was synchronised, or another file of that name was.
 * Other orders, torn pages and writes that reached the disk without being asked for are not modelled, and no file
 * here is renamed. The real synchronisation is left out: the copy stands for it, and tests need not wait for a disk.
 *
 * A file is read through the caller's own descriptor where it can be read: closing another one of the same file
 * would drop the process's locks on it, which SQLite relies on.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GONE ".gone."
#define CHUNK (256 * 1024)

static const char *folder(void) { return getenv("POWER_FOLDER"); }
static const char *shadow(void) { return getenv("POWER_SHADOW"); }

/* The name within the folder when it is one of those followed ("ENDING:ENDING…"), else NULL. */
static const char *followed(const char *path) {
  const char *home = folder(), *ends = getenv("POWER_ENDINGS");
  size_t length = home ? strlen(home) : 0;
  if (!home || !shadow() || !ends || strncmp(path, home, length) != 0 || path[length] != '/') return NULL;
  const char *name = path + length + 1;
  size_t size = strlen(name);
  if (strchr(name, '/')) return NULL;
  while (*ends) {
    size_t end = strcspn(ends, ":");
    if (end <= size && strncmp(name + size - end, ends, end) == 0) return name;
    ends += end + (ends[end] == ':');
  }
  return NULL;
}

static void in_shadow(char *to, const char *prefix, const char *name) {
  snprintf(to, PATH_MAX, "%s/%s%s", shadow(), prefix, name);
}

/* One change of the shadow at a time; a process that is killed meanwhile lets go. */
static int lock_shadow(void) {
  char path[PATH_MAX];
  in_shadow(path, "", ".lock");
  int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock >= 0 && flock(lock, LOCK_EX) == 0) return lock;
  if (lock >= 0) close(lock);
  return -1;
}

/* Called with the shadow locked. */
static int copy(int from, int to) {
  static char buffer[CHUNK];
  for (off_t at = 0;;) {
    ssize_t got = pread(from, buffer, CHUNK, at);
    if (got <= 0) return (int)got;
    for (ssize_t put = 0; put < got;) {
      ssize_t more = pwrite(to, buffer + put, got - put, at + put);
      if (more < 0) return -1;
      put += more;
    }
    at += got;
  }
}

/* A descriptor to read from; other than the one given only where that one cannot be read. */
static int readable(int fd) {
  char link[64];
  if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY) return fd;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  return open(link, O_RDONLY | O_CLOEXEC);
}

/* The new content takes the old one's place at once: a process may be killed at any instruction. */
static int keep(int fd, const char *name) {
  char next[PATH_MAX], kept[PATH_MAX], gone[PATH_MAX];
  in_shadow(next, "", ".next");
  in_shadow(kept, "", name);
  in_shadow(gone, GONE, name);
  int lock = lock_shadow();
  if (lock < 0) return -1;
  int to = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  int from = readable(fd);
  int failed = to < 0 || from < 0 || copy(from, to) < 0;
  if (to >= 0) close(to);
  if (from >= 0 && from != fd) close(from);
  failed = failed || rename(next, kept) != 0;
  if (!failed) unlink(gone);
  close(lock);
  return failed ? -1 : 0;
}

/* The folder's own synchronisation: removed names are removed for good. */
static int forget(void) {
  int lock = lock_shadow();
  DIR *names = lock < 0 ? NULL : opendir(shadow());
  if (!names) {
    if (lock >= 0) close(lock);
    return -1;
  }
  for (struct dirent *entry; (entry = readdir(names));) {
    if (strncmp(entry->d_name, GONE, strlen(GONE)) != 0) continue;
    char gone[PATH_MAX], kept[PATH_MAX];
    in_shadow(gone, "", entry->d_name);
    in_shadow(kept, "", entry->d_name + strlen(GONE));
    syscall(SYS_unlinkat, AT_FDCWD, kept, 0);
    syscall(SYS_unlinkat, AT_FDCWD, gone, 0);
  }
  closedir(names);
  close(lock);
  return 0;
}

static int synchronise(int fd, long real) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return (int)syscall(real, fd);
  path[length] = 0;
  const char *name = followed(path);
  int failed = 0;
  if (name) failed = keep(fd, name);
  else if (folder() && shadow() && strcmp(path, folder()) == 0) failed = forget();
  else return (int)syscall(real, fd);
  if (failed) errno = EIO;
  return failed;
}

int fsync(int fd) { return synchronise(fd, SYS_fsync); }

int fdatasync(int fd) { return synchronise(fd, SYS_fdatasync); }

int unlink(const char *path) {
  int result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  const char *name = result == 0 ? followed(path) : NULL;
  if (!name) return result;
  char gone[PATH_MAX];
  in_shadow(gone, GONE, name);
  int lock = lock_shadow();
  int mark = open(gone, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (mark >= 0) close(mark);
  if (lock >= 0) close(lock);
  return 0;
}
