//! Which system calls can fail, and how.

/// Errors of each system call that are tried. Not those by which a system says that it
/// cannot do something at all: what larder does then is no failure.
pub(crate) fn errors_of(call: &str) -> &'static [&'static str] {
    match call {
        "openat" | "open" => {
            &["EMFILE", "ENFILE", "EACCES", "EIO", "ENOSPC", "EROFS", "ENOMEM", "EDQUOT", "EINTR"]
        }
        "read" | "pread64" => &["EIO", "EINTR", "ENOMEM"],
        "write" | "pwrite64" => &["ENOSPC", "EIO", "EDQUOT", "EINTR"],
        "ftruncate" | "fallocate" | "copy_file_range" => &["ENOSPC", "EIO", "EINTR"],
        "fsync" | "fdatasync" => &["EIO", "ENOSPC", "EDQUOT", "EINTR"],
        "mkdir" | "mkdirat" | "symlink" | "symlinkat" => {
            &["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EIO", "ENOMEM"]
        }
        "rename" | "renameat" | "renameat2" | "link" | "linkat" => {
            &["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EIO", "EPERM"]
        }
        "unlink" | "unlinkat" | "rmdir" => &["EIO", "EROFS", "EACCES", "EPERM"],
        "fchmod" | "fchmodat" | "fchown" | "fchownat" | "utimensat" => &["EIO", "EROFS", "EPERM"],
        "getdents64" => &["EIO", "ENOMEM"],
        "statx" | "newfstatat" | "fstat" | "lstat" | "stat" | "readlinkat" | "readlink" => {
            &["EIO", "EACCES", "ENOMEM"]
        }
        "lseek" => &["EIO"],
        "flock" => &["ENOLCK", "EIO", "EINTR"],
        "lsetxattr" | "llistxattr" | "lgetxattr" => &["EIO", "ENOSPC"],
        "clone" | "clone3" => &["EAGAIN", "ENOMEM"],
        "mmap" => &["ENOMEM"],
        _ => &[],
    }
}
