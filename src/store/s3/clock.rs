//! What time it is for the service.
//!
//! The times of objects are told by the service's clock, so their ages must be
//! too. Every answer says what that clock showed, to the second; from then on
//! this machine only measures how long ago that was. Its own clock may be wrong.

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::S3Store;
use super::request::Asked;
use crate::object_key::ObjectKey;
use crate::store::error::{RemoteError, RemoteErrorKind, StoreErrorKind};
use crate::store::{Operation, Store as _, StoreError};
use crate::sync::lock;

/// Reads the service's time off all answers of one store, whatever they answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock(Arc<Mutex<Option<Told>>>);

/// What the newest answer said.
#[derive(Clone, Copy, Debug)]
struct Told {
    date: SystemTime,
    came: Instant,
}

impl Clock {
    /// The service's time, once it has told it. Never ahead of the service's
    /// own: behind it by the rest of a second and the answer's way here.
    fn now(&self) -> Option<SystemTime> {
        let told = *lock(&self.0);
        told.and_then(|told| told.date.checked_add(told.came.elapsed()))
    }

    /// Takes note of an answer's `Date`. What is no date tells nothing.
    fn hear(&self, date: &str) {
        let date = DateTime::from_str(date, Format::HttpDate).ok();
        if let Some(date) = date.and_then(|date| SystemTime::try_from(date).ok()) {
            *lock(&self.0) = Some(Told { date, came: Instant::now() });
        }
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "larder's clock"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.hear(date);
        }
        Ok(())
    }
}

impl S3Store {
    /// The service's time; a service that was asked nothing yet is asked for it.
    pub(super) fn time_there(&self) -> Result<SystemTime, StoreError> {
        if let Some(now) = self.clock.now() {
            return Ok(now);
        }
        // The cheapest request there is. No such object need be there: that it
        // is not, or may not be seen, is an answer with a date as well.
        let key = ObjectKey::new("clock").expect("a plain name");
        let asked = self.run(Operation::Now, self.location(), Asked::Head, async |_| {
            self.send_head(&key).await
        });
        match (self.clock.now(), asked) {
            (Some(now), _) => Ok(now),
            (None, Err(error)) if !error.is_not_found() => Err(error),
            (None, _) => {
                let why = "its answers have no header Date, by which ages are told";
                let kind = StoreErrorKind::Remote(RemoteError::new(RemoteErrorKind::NotS3, why));
                Err(StoreError::new(Operation::Now, self.location(), kind))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_last_date_goes_on_from_when_it_came() {
        let clock = Clock::default();
        assert_eq!(clock.now(), None);
        clock.hear("yesterday");
        assert_eq!(clock.now(), None);
        clock.hear("Sun, 06 Nov 1994 08:49:37 GMT");
        clock.hear("Sun, 06 Nov 1994 08:49:35 GMT");
        clock.hear("");
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_775);
        std::thread::sleep(Duration::from_millis(5));
        let since = clock.now().unwrap().duration_since(date).unwrap();
        assert!(since >= Duration::from_millis(5) && since < Duration::from_secs(60), "{since:?}");
    }
}
