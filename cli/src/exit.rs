//! The exit codes of the program: one closed enum, so that a code can be neither invented nor changed by accident.

use std::process::ExitCode;

/// How the program ends. The numbers are a promise to scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// The tool ran and failed.
    ToolFailed,
    /// Wrong flag, argument or configuration.
    Usage,
    /// A manifest or package is not valid.
    Invalid,
    /// A key is missing: declared or granted.
    Denied,
    /// No such plugin, tool, token or value.
    NotFound,
    /// The sandbox level or engine is not available on this machine.
    Unavailable,
    /// The package is not signed.
    Unsigned,
    /// The package is signed by a key that is not trusted.
    UnknownKey,
    /// The package was changed after signing.
    Tampered,
    /// The signature or metadata is too old.
    Expired,
    /// Our own fault, or the machine's.
    Internal,
}

impl Exit {
    /// The number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::ToolFailed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Denied => 4,
            Self::NotFound => 5,
            Self::Unavailable => 6,
            Self::Unsigned => 7,
            Self::UnknownKey => 8,
            Self::Tampered => 9,
            Self::Expired => 10,
            Self::Internal => 11,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn numbers_are_the_published_table() {
        let table = [
            (Exit::Ok, 0),
            (Exit::ToolFailed, 1),
            (Exit::Usage, 2),
            (Exit::Invalid, 3),
            (Exit::Denied, 4),
            (Exit::NotFound, 5),
            (Exit::Unavailable, 6),
            (Exit::Unsigned, 7),
            (Exit::UnknownKey, 8),
            (Exit::Tampered, 9),
            (Exit::Expired, 10),
            (Exit::Internal, 11),
        ];
        for (exit, number) in table {
            assert_eq!(exit.number(), number, "{exit:?}");
        }
    }
}
