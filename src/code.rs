//! The codes of errors: short names that stay the same while messages change,
//! to search for in logs and in docs/errors.md, which has a section for each.
//!
//! A code is `L` and four digits. The first two say where one stands:
//!
//! ```text
//! L01  the command line, its variables, where the store is
//! L02  settings of CI systems, and the asset manager's steps
//! L03  key templates and larder.toml
//! L04  files on this machine
//! L05  the store, and the network to it
//! L06  what the store holds
//! L07  garbage collection, and others at work
//! L08  being stopped
//! ```
//!
//! A new code takes the next free number of its block. A number is never given to
//! another error, not even when its own is gone, and an error keeps its code when
//! its wording changes. What people would do the same about has the same code.

use std::fmt;

macro_rules! codes {
    ($($number:literal $name:ident $title:literal)*) => {
        /// What went wrong, as a code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Code {
            $(#[doc = $title] $name = $number,)*
        }

        impl Code {
            /// All of them, by their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What went wrong, in one line.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }
        }
    };
}

codes! {
    101 CommandLine "The command line cannot be read"
    102 UnknownArgument "A command, flag or argument is not known"
    103 InvalidArgument "A flag or its variable has a value that means nothing"
    104 MissingArgument "The command needs an argument that is not there"
    105 ArgumentConflict "Two arguments do not go together"
    106 InvalidName "A key or scope cannot be used"
    107 NameTooLong "Scope and key are too long together"
    108 NoKey "No key is given"
    109 InvalidExclude "A pattern of --exclude means nothing"
    110 ShortGrace "--grace is shorter than --longest-save"
    111 LocationIncomplete "The store's location is empty, or lacks a part"
    112 LocationWord "The store's location has a word that larder does not know"
    113 LocationValue "The store's location has a value that means nothing"
    114 LocationTwice "The store's location says something twice"
    115 UnknownHome "It is not known which home directory ~ is"
    116 InvalidLocalCache "The local cache's directory or size means nothing"
    117 NoCacheDirectory "There is no home directory to keep a store in"
    118 InvalidSecret "A key that signs or encrypts cannot be used"
    119 ServeNeedsKeys "serve would be open to other machines"
    120 InvalidServeKeys "The keys of serve cannot be used"

    201 NoSystem "No settings of a CI system are in the environment"
    202 UnknownSystem "LARDER_PLUGIN names no system"
    203 SeveralSystems "The environment has settings of several CI systems"
    204 ForeignStep "A step of the asset manager, with another system's settings"
    205 NoStep "It is not said which step of the asset manager to do"
    206 MissingSetting "A setting is missing"
    207 UnknownSetting "A setting is not known"
    208 InvalidSetting "A setting has a value that means nothing"
    209 SettingConflict "Settings contradict each other"
    210 SettingsFile "A file of settings cannot be read"
    211 SameName "Two mounts would be recorded under one name"
    221 AssetsNoBucket "The asset manager is given no bucket"
    222 AssetsNoRepository "The asset manager's repository is not there"
    223 AssetsPackageDirectory "The asset manager's package directory cannot be used"
    224 AssetsRepository "The asset manager's repository cannot be used"
    225 AssetsNoPackages "There are no packages to upload"
    226 AssetsNoCommitHash "It is not known which commit the packages are of"
    227 AssetsGlob "A glob of the asset manager means nothing"
    228 AssetsNoPlain "Plain objects are asked for, but the store is not in S3"
    229 AssetsNoPrefix "Plain objects and the store would lie in the same place"
    230 AssetsPlainName "A file's name cannot be that of a plain object"

    301 KeyTemplate "A key template gives no key"
    311 ConfigUnreadable "The configuration file cannot be read"
    312 ConfigMistake "Something in larder.toml means nothing"
    313 NoSuchCache "larder.toml has no cache of that name"
    314 NoCaches "larder.toml has no caches"
    315 SamePlace "Two caches of larder.toml have the same place"
    316 ConfigExists "There is a larder.toml already"
    317 SameKey "Two caches of larder.toml have the same key"

    401 NothingThere "There is nothing to save"
    402 Unreadable "Files could not be read while they were saved"
    403 NotInCache "The cache does not hold the paths that are asked for"
    404 InTheWay "Something is in the way of what is restored"
    405 FileDenied "This machine denies access to a file"
    406 FileSystemFull "This machine's disk is full, or a quota is used up"
    407 FileFailed "A file or directory of this machine cannot be used"
    408 NoWorkingDirectory "The working directory cannot be told"
    409 NoThread "The system starts no more threads"
    410 CannotListen "serve cannot listen on an address"

    501 ObjectGone "An object of the store is gone"
    502 ObjectChanged "An object of the store was changed meanwhile"
    503 ObjectLength "An object of the store has a length that it cannot have"
    504 StoreDenied "This user may not use the store's directory"
    505 StoreFull "The store is full"
    506 StoreFailed "The store's file system failed"
    511 NoBucket "There is no such bucket"
    512 RemoteDenied "The credentials do not permit this request"
    513 NoCredentials "There are no credentials"
    514 RoleRefused "The role cannot be taken on"
    515 BadCredentials "The credentials are refused"
    516 ExpiredCredentials "The credentials have expired"
    517 ClockSkew "This machine's clock is wrong"
    518 WrongRegion "The bucket is in another region"
    519 Throttled "The service is overloaded"
    520 NoAnswer "No answer came in time"
    521 Network "The connection failed"
    522 Certificate "The service's certificate is not trusted"
    523 NotS3 "What answers is no S3 service"
    524 Unsupported "The service lacks an ability"
    525 RemoteRefused "The service refused the request"

    601 MarkerUnreadable "The store's format marker is not larder's"
    602 StoreVersion "The store has another format version"
    603 StoreChunking "The store is cut by other rules"
    604 NotAStore "The place holds other things, and no store"
    605 Damaged "An object of the store is damaged"
    606 Missing "An object that another one needs is missing"
    607 DamagedChunk "A chunk in a pack is damaged"
    608 NewerObject "An object of the store was written by a newer larder"
    609 Distrusted "A cache is not to be trusted, or its key is missing"

    701 FlushOvertaken "Another flush has taken over"
    702 NotFenced "The store cannot keep two flushes apart"
    703 SaveOvertaken "Garbage collection overtook a save"

    801 TimedOut "The time for the command is over"
    802 Interrupted "The command was interrupted"
}

impl fmt::Display for Code {
    /// `L` and four digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{:04}", *self as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_spelling_and_one_order() {
        assert_eq!(Code::UnknownArgument.to_string(), "L0102");
        assert!(Code::ALL.is_sorted_by(|a, b| a < b), "the numbers are out of order");
        for code in Code::ALL {
            assert!(matches!(*code as u16 / 100, 1..=8), "{code} is in no block");
            assert!(!code.title().ends_with('.'), "{code}'s title ends in a full stop");
        }
    }
}
