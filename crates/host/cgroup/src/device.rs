//! Rules for device nodes.

/// Character or block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both kinds.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// A device node by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its kind.
    pub kind: DeviceKind,
    /// Its major number; `None` is all.
    pub major: Option<u32>,
    /// Its minor number; `None` is all.
    pub minor: Option<u32>,
}

/// One rule: later rules win over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether access is allowed.
    pub allow: bool,
    /// To which devices.
    pub device: Device,
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
    /// Creating the node.
    pub mknod: bool,
}

impl DeviceRule {
    /// The rule as `devices.allow` and `devices.deny` of version 1 take it, such as `c 1:3 rwm`.
    #[must_use]
    pub fn to_v1(&self) -> String {
        let kind = match self.device.kind {
            DeviceKind::All => 'a',
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let mut access = String::new();
        for (on, letter) in [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')] {
            if on {
                access.push(letter);
            }
        }
        format!("{kind} {}:{} {access}", number(self.device.major), number(self.device.minor))
    }
}

/// Attaches the rules to a group of version 2.
pub(crate) fn attach(path: &std::path::Path, _rules: &[DeviceRule]) -> Result<(), crate::CgroupError> {
    Err(crate::CgroupError::NoController { controller: "devices", path: path.display().to_string() })
}
