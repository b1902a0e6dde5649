//! How a command ends: exit statuses, and failures with their kind.

use std::fmt;
use std::io;
use std::process::ExitCode;

use nandimg::Error;
use nandimg::flash::FlashError;
use nandimg::flash::chip_file::ChipFileError;
use nandimg::flash::file_io::OpenError;
use nandimg::ftl::Mapping;

/// The exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Done; healthy.
    Done,
    /// Mended, or mounts only by falling back or read-only.
    Degraded,
    /// Damage remains.
    Damage,
    /// Could not be done.
    Failed,
    /// Wrong usage.
    Usage,
}

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Degraded => 1,
            Self::Damage => 4,
            Self::Failed => 8,
            Self::Usage => 16,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The kinds of failure that scripts can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Io,
    NotFound,
    Permission,
    Locked,
    Exists,
    NotAnImage,
    ForeignFormat,
    GeometryUnknown,
    GeometryMismatch,
    Unmountable,
    ReadOnly,
    OutOfRange,
    Full,
    Unreadable,
    Unsupported,
    /// Wrong usage; never seen in JSON.
    Usage,
    /// The reader of our standard output went away, which is its right.
    ReaderGone,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Io | Self::ReaderGone => "io",
            Self::NotFound => "not-found",
            Self::Permission => "permission",
            Self::Locked => "locked",
            Self::Exists => "exists",
            Self::NotAnImage => "not-an-image",
            Self::ForeignFormat => "foreign-format",
            Self::GeometryUnknown => "geometry-unknown",
            Self::GeometryMismatch => "geometry-mismatch",
            Self::Unmountable => "unmountable",
            Self::ReadOnly => "read-only",
            Self::OutOfRange => "out-of-range",
            Self::Full => "full",
            Self::Unreadable => "unreadable",
            Self::Unsupported => "unsupported",
            Self::Usage => "usage",
        }
    }

    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Unmountable | Self::Unreadable => Exit::Damage,
            Self::Usage => Exit::Usage,
            Self::ReaderGone => Exit::Done,
            _ => Exit::Failed,
        }
    }
}

/// Why a command could not do its work: the kind that scripts see, and a cause with its context.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) cause: anyhow::Error,
    /// The format of the volume that it is about, where one was recognised.
    pub(crate) mapping: Option<Mapping>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self::of(kind, anyhow::Error::msg(message))
    }

    fn of(kind: Kind, cause: impl Into<anyhow::Error>) -> Self {
        Self { kind, cause: cause.into(), mapping: None }
    }

    /// The same failure, about a volume of this format.
    pub(crate) fn about(self, mapping: Mapping) -> Self {
        Self { mapping: Some(mapping), ..self }
    }

    /// The same failure, in the context of `what`.
    pub(crate) fn context(self, what: impl fmt::Display + Send + Sync + 'static) -> Self {
        Self { cause: self.cause.context(what), ..self }
    }

    /// The same failure, with what follows from it.
    pub(crate) fn and(self, consequence: impl fmt::Display) -> Self {
        let message = self.message();
        let said = format!("{consequence}");
        let cause = if message.contains(&said) { self.cause } else { anyhow::anyhow!("{message}; {said}") };
        Self { cause, ..self }
    }

    /// The whole sentence.
    pub(crate) fn message(&self) -> String {
        format!("{:#}", self.cause)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::PermissionDenied => Kind::Permission,
            io::ErrorKind::AlreadyExists => Kind::Exists,
            _ => Kind::Io,
        };
        Self::of(kind, error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Locked => Self::of(Kind::Locked, error),
            OpenError::NotAFile => Self::of(Kind::NotAnImage, error),
            OpenError::Io(error) => error.into(),
            _ => Self::of(Kind::Io, error),
        }
    }
}

impl From<ChipFileError> for Failure {
    fn from(error: ChipFileError) -> Self {
        match error {
            ChipFileError::Io(error) => error.into(),
            _ => Self::of(Kind::Unsupported, error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Flash(FlashError::Unreadable { .. }) | Error::Unreadable { .. } => Kind::Unreadable,
            Error::Geometry(_) | Error::GeometryMismatch(_) | Error::Flash(FlashError::Unfit(_)) => {
                Kind::GeometryMismatch
            }
            Error::TooSmall(_)
            | Error::UnsuitableGeometry(_)
            | Error::BadSlotBlock { .. }
            | Error::Unsupported(_) => Kind::Unsupported,
            Error::NotFormatted(_) => Kind::NotAnImage,
            Error::Unmountable(_) => Kind::Unmountable,
            Error::ReadOnly(_) => Kind::ReadOnly,
            Error::OutOfRange { .. } => Kind::OutOfRange,
            Error::TooLarge { .. } | Error::NoFreeBlock { .. } => Kind::Full,
            _ => Kind::Io,
        };
        Self::of(kind, error)
    }
}

impl From<FlashError> for Failure {
    fn from(error: FlashError) -> Self {
        Error::from(error).into()
    }
}
