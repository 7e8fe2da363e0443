//! Bytes on their way to the disk.
#![expect(unsafe_code, reason = "the call has no safe form")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Has the kernel begin to write a file's bytes to the disk. Waits for none of it, and makes nothing durable.
pub fn begin_writeback(file: BorrowedFd<'_>) -> io::Result<()> {
    // All of the file is the range from 0 of length 0.
    // SAFETY: the call takes numbers only, and the descriptor is open.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn only_files_have_bytes_to_write() {
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        begin_writeback(file.as_fd()).unwrap();
        let (pipe, _writer) = std::io::pipe().unwrap();
        assert_eq!(begin_writeback(pipe.as_fd()).unwrap_err().raw_os_error(), Some(libc::ESPIPE));
    }
}
