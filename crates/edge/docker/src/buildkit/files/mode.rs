//! Go's form of a file's mode.

use rustix::fs::FileType;

const DIRECTORY: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const FIFO: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const SETUID: u32 = 1 << 23;
const SETGID: u32 = 1 << 22;
const CHARACTER: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;
const IRREGULAR: u32 = 1 << 19;

/// Kind and permissions of an entry; `None` for a kind that nobody knows.
pub(crate) fn from_go(mode: u32) -> Option<(FileType, u32)> {
    let kind = match mode & (DIRECTORY | LINK | DEVICE | FIFO | SOCKET | CHARACTER | IRREGULAR) {
        0 => FileType::RegularFile,
        DIRECTORY => FileType::Directory,
        LINK => FileType::Symlink,
        DEVICE => FileType::BlockDevice,
        FIFO => FileType::Fifo,
        SOCKET => FileType::Socket,
        both if both == DEVICE | CHARACTER => FileType::CharacterDevice,
        _ => return None,
    };
    let special = [(SETUID, 0o4000), (SETGID, 0o2000), (STICKY, 0o1000)];
    let special = special.iter().filter(|(go, _)| mode & go != 0).fold(0, |bits, (_, unix)| bits | unix);
    Some((kind, (mode & 0o777) | special))
}

/// The same the other way round.
pub(crate) fn to_go(kind: FileType, permissions: u32) -> u32 {
    let kind = match kind {
        FileType::Directory => DIRECTORY,
        FileType::Symlink => LINK,
        FileType::BlockDevice => DEVICE,
        FileType::CharacterDevice => DEVICE | CHARACTER,
        FileType::Fifo => FIFO,
        // fsutil sends a socket as an empty file.
        _ => 0,
    };
    let special = [(SETUID, 0o4000), (SETGID, 0o2000), (STICKY, 0o1000)];
    let special =
        special.iter().filter(|(_, unix)| permissions & unix != 0).fold(0, |bits, (go, _)| bits | go);
    kind | (permissions & 0o777) | special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_go_there_and_back() {
        for kind in [FileType::RegularFile, FileType::Directory, FileType::Symlink, FileType::CharacterDevice]
        {
            for permissions in [0, 0o644, 0o4755, 0o1777, 0o2711] {
                assert_eq!(from_go(to_go(kind, permissions)), Some((kind, permissions)));
            }
        }
        assert_eq!(from_go(0x8000_01ed), Some((FileType::Directory, 0o755)));
        assert_eq!(from_go(IRREGULAR), None);
    }
}
