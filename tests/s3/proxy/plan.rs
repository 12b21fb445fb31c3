//! What goes wrong between larder and the server, and when.

use std::time::Duration;

use crate::http::{Answer, Head};
use crate::sandbox::Noise;

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is answered as it would be, this much later.
    Delay(Duration),
    /// It is read, and answered so in the server's place.
    Answer(Answer),
    /// The connection is reset when the head has come.
    ResetBeforeRequest,
    /// The connection is reset when half of the body has been passed on.
    ResetInRequest,
    /// The server does what it is asked to; its answer is lost.
    LoseAnswer,
    /// The connection is reset in the middle of the answer's body.
    ResetInAnswer,
    /// The connection ends, in order, in the middle of the answer's body.
    TruncateAnswer,
    /// One bit in the middle of the answer's body is flipped.
    CorruptAnswer,
    /// The answer's body comes byte by byte, with such pauses.
    DripAnswer(Duration),
    /// There is no answer, and no end of the connection.
    Hang,
}

impl Fault {
    /// What S3 says when it has too much to do.
    pub(crate) fn slow_down() -> Self {
        Self::refusal(503, "SlowDown", "Please reduce your request rate.")
    }

    /// An error in S3's form.
    pub(crate) fn refusal(status: u16, code: &str, message: &str) -> Self {
        let body = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"#
        );
        Self::Answer(Answer::new(status, "application/xml", body))
    }

    /// Another conditional put of the same key is under way.
    pub(crate) fn conflict() -> Self {
        let message = "The conditional request cannot succeed due to a conflicting operation.";
        Self::refusal(409, "ConditionalRequestConflict", message)
    }

    /// What a login page or a proxy's error page looks like.
    pub(crate) fn html(status: u16) -> Self {
        let page = "<!DOCTYPE html><html><title>Sign in</title><body>Welcome</body></html>";
        Self::Answer(Answer::new(status, "text/html; charset=utf-8", page))
    }
}

/// Which requests a rule is about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Which {
    /// Of this method; empty for any.
    pub(crate) method: &'static str,
    /// With this in the path or query; empty for any.
    pub(crate) target: &'static str,
}

/// How many of them it strikes.
#[derive(Clone, Debug)]
pub(crate) enum When {
    Always,
    /// The first so many.
    First(usize),
    /// Only this one, counted from 0.
    Nth(usize),
    /// So many in a hundred, drawn from these numbers.
    Percent(u64, Noise),
}

/// One thing that goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    which: Which,
    when: When,
    fault: Fault,
    /// Requests that it leaves alone, whatever else it says.
    unless: Option<fn(&Head) -> bool>,
    /// Requests that it was about so far.
    seen: usize,
}

impl Rule {
    pub(crate) fn new(which: Which, when: When, fault: Fault) -> Self {
        Self { which, when, fault, unless: None, seen: 0 }
    }

    /// Strikes all requests.
    pub(crate) fn always(fault: Fault) -> Self {
        Self::new(Which::default(), When::Always, fault)
    }

    /// Strikes all requests but these.
    pub(crate) fn unless(is_left: fn(&Head) -> bool, fault: Fault) -> Self {
        Self { unless: Some(is_left), ..Self::always(fault) }
    }

    /// The fault, if it strikes this request.
    pub(super) fn strike(&mut self, request: &Head) -> Option<Fault> {
        let Which { method, target } = self.which;
        if !(method.is_empty() || method == request.method())
            || !request.target().contains(target)
            || self.unless.is_some_and(|is_left| is_left(request))
        {
            return None;
        }
        let number = self.seen;
        self.seen += 1;
        let strikes = match &mut self.when {
            When::Always => true,
            When::First(count) => number < *count,
            When::Nth(wanted) => number == *wanted,
            When::Percent(percent, noise) => noise.below(100) < *percent,
        };
        strikes.then(|| self.fault.clone())
    }
}
