//! What clients are told of failures: the one place where errors of the core become
//! errors of S3.
//!
//! Clients go by the code: they try again what may pass (`SlowDown`,
//! `ServiceUnavailable`), and not what will not.

use std::sync::Arc;

use http::{Extensions, StatusCode};
use larder::code::Code;
use larder::error::Error;
use larder::ids::{InvalidName, MAX_NAME_LEN};
use larder::objects::ObjectError;
use s3s::{S3Error, S3ErrorCode, StdError, s3_error};

use super::super::exchange::{Exchange, Fault};
use super::Service;

impl Service {
    /// What a client is told of an error. What the store is at fault for is also told to
    /// whoever runs the server.
    pub(super) fn failed(&self, error: &ObjectError) -> S3Error {
        self.transfers.tell(error);
        of(error)
    }
}

/// What a client is told of an error.
pub(super) fn of(error: &ObjectError) -> S3Error {
    match error {
        ObjectError::NotFound => s3_error!(NoSuchKey, "The specified key does not exist."),
        ObjectError::Condition => {
            s3_error!(
                PreconditionFailed,
                "At least one of the preconditions you specified did not hold."
            )
        }
        ObjectError::NoSuchUpload => s3_error!(
            NoSuchUpload,
            "The specified multipart upload does not exist: it was completed or aborted, or its \
             id is wrong."
        ),
        ObjectError::NoSuchPart(_) => {
            S3Error::with_message(S3ErrorCode::InvalidPart, error.to_string())
        }
        ObjectError::DetailsTooLong => s3_error!(
            MetadataTooLarge,
            "Metadata, headers and part lengths are longer than larder keeps of an object."
        ),
        ObjectError::Failed(error) => of_store(error),
    }
}

fn of_store(error: &Error) -> S3Error {
    let code = match error.code() {
        Code::NameTooLong => S3ErrorCode::KeyTooLongError,
        Code::Throttled | Code::SaveOvertaken => S3ErrorCode::SlowDown,
        // Trying again does not mend what is there, but another object may be sound.
        _ if error.is_unusable() => S3ErrorCode::InternalError,
        Code::StoreFull | Code::StoreDenied | Code::FileSystemFull => S3ErrorCode::InternalError,
        _ if matches!(error, Error::Store(_) | Error::Interrupted | Error::NoThread(_)) => {
            S3ErrorCode::ServiceUnavailable
        }
        _ => S3ErrorCode::InternalError,
    };
    S3Error::with_message(code, error.to_string())
}

/// A key that S3 would take may be too long here.
pub(super) fn check_key(key: &str) -> Result<(), S3Error> {
    if key.len() > MAX_NAME_LEN {
        return Err(s3_error!(KeyTooLongError, "Keys may have {MAX_NAME_LEN} bytes at most."));
    }
    Ok(())
}

pub(super) fn invalid_key(error: &InvalidName) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, error.to_string())
}

/// An error that S3 has, and s3s has no name for.
pub(super) fn custom(code: &'static str, status: StatusCode, why: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), why);
    error.set_status_code(status);
    error
}

/// Why a body cannot be used that did not come to its end.
pub(super) fn of_body(error: &StdError, extensions: &Extensions) -> S3Error {
    let exchange = extensions.get::<Arc<Exchange>>();
    match exchange.and_then(|exchange| exchange.fault()) {
        Some(fault @ Fault::Idle(_)) => {
            let mut error = S3Error::with_message(S3ErrorCode::RequestTimeout, fault.to_string());
            error.set_status_code(StatusCode::REQUEST_TIMEOUT);
            error
        }
        Some(fault @ Fault::Broken(_)) => {
            S3Error::with_message(S3ErrorCode::IncompleteBody, fault.to_string())
        }
        Some(fault @ Fault::Malformed(_)) => {
            S3Error::with_message(S3ErrorCode::InvalidRequest, fault.to_string())
        }
        None => of_signed(&error.to_string()),
    }
}

/// What s3s found out about a signed body; its errors have no names that others can use.
fn of_signed(text: &str) -> S3Error {
    if text.contains("Sha256Mismatch") {
        let code = "XAmzContentSHA256Mismatch";
        let why = "The provided 'x-amz-content-sha256' header does not match what was computed.";
        return custom(code, StatusCode::BAD_REQUEST, why);
    }
    let code = if text.contains("SignatureMismatch") {
        S3ErrorCode::SignatureDoesNotMatch
    } else if text.contains("Incomplete") || text.contains("LengthMismatch") {
        S3ErrorCode::IncompleteBody
    } else {
        S3ErrorCode::InvalidRequest
    };
    S3Error::with_message(code, format!("the body cannot be used: {text}"))
}

#[cfg(test)]
mod tests {
    use larder::store::{Operation, StoreError, StoreErrorKind};

    use super::*;

    #[test]
    fn clients_try_again_what_may_pass() {
        let check = |error: ObjectError, code: S3ErrorCode| {
            assert_eq!(of(&error).code(), &code, "{error}");
        };
        check(ObjectError::NotFound, S3ErrorCode::NoSuchKey);
        check(ObjectError::Condition, S3ErrorCode::PreconditionFailed);
        check(ObjectError::NoSuchPart(2), S3ErrorCode::InvalidPart);
        let store = |kind| Error::Store(StoreError::new(Operation::Get, "packs/x", kind)).into();
        let io = std::io::Error::other;
        check(store(StoreErrorKind::Io(io("down"))), S3ErrorCode::ServiceUnavailable);
        check(store(StoreErrorKind::NoSpace(io("full"))), S3ErrorCode::InternalError);
        check(Error::SaveOvertaken(3).into(), S3ErrorCode::SlowDown);
        check(Error::Interrupted.into(), S3ErrorCode::ServiceUnavailable);
    }

    #[test]
    fn damage_names_the_object() {
        let object = larder::format::Layout::marker();
        let error = Error::Missing { object: object.clone(), needed_by: object };
        let told = of(&error.into());
        assert_eq!(told.code(), &S3ErrorCode::InternalError);
        assert!(told.message().is_some_and(|text| text.contains("is missing")), "{told}");
    }

    #[test]
    fn faults_of_signed_bodies_are_told_apart() {
        let check = |text: &str, code: S3ErrorCode| assert_eq!(of_signed(text).code(), &code);
        let mismatch = of_signed("UploadStreamError: Sha256Mismatch");
        assert_eq!(mismatch.code().as_str(), "XAmzContentSHA256Mismatch");
        assert_eq!(mismatch.status_code(), Some(StatusCode::BAD_REQUEST));
        check("AwsChunkedStreamError: SignatureMismatch", S3ErrorCode::SignatureDoesNotMatch);
        check("UploadStreamError: Incomplete", S3ErrorCode::IncompleteBody);
        check("AwsChunkedStreamError: FormatError", S3ErrorCode::InvalidRequest);
    }
}
