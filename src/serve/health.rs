//! Whether the store answers, asked at most once a second.

use std::time::Duration;

use larder::format::Layout;
use larder::store::Store as _;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Backend;

/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(1);

/// How long the store may take: whoever asks for the page is less patient than a save.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found out: nothing to say, or what is wrong.
type Verdict = Result<(), String>;

#[derive(Debug)]
pub(super) struct Health {
    store: Backend,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    verdict: Option<(Instant, Verdict)>,
    /// A question that the store has not answered yet: no other is asked meanwhile.
    asked: Option<JoinHandle<Verdict>>,
}

impl Health {
    pub(super) fn new(store: Backend) -> Self {
        Self { store, last: Mutex::default() }
    }

    /// Whether the store answers, and if not, why.
    pub(super) async fn check(&self) -> Verdict {
        let mut last = self.last.lock().await;
        if let Some((at, verdict)) = &last.verdict
            && at.elapsed() < FRESH
        {
            return verdict.clone();
        }
        let verdict = self.ask(&mut last).await;
        last.verdict = Some((Instant::now(), verdict.clone()));
        verdict
    }

    async fn ask(&self, last: &mut Last) -> Verdict {
        let asked = last.asked.get_or_insert_with(|| {
            let store = Backend::clone(&self.store);
            tokio::task::spawn_blocking(move || match store.head(&Layout::marker()) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            })
        });
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        let Ok(answer) = answered else {
            return Err(format!("the store has not answered for {} s", PATIENCE.as_secs()));
        };
        last.asked = None;
        answer.unwrap_or_else(|error| Err(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use larder::store::{Metered, StoreLocation};

    use super::*;

    #[test]
    fn the_store_is_asked_and_not_too_often() {
        let directory = tempfile::tempdir().unwrap();
        let location = StoreLocation::directory(directory.path().to_owned());
        let store = location.open_for_writing(&larder::store::Patience::default()).unwrap();
        let store: Backend = Arc::new(Metered::new(store));
        let health = Health::new(Arc::clone(&store));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            // There is nothing, not even a marker.
            let verdict = health.check().await;
            assert!(
                verdict.as_ref().is_err_and(|why| why.contains("no such object")),
                "{verdict:?}"
            );
            // However slowly this runs: what is known for less than a second counts.
            let began = Instant::now();
            let again = health.check().await;
            assert!(store.requests().head == 1 || began.elapsed() >= FRESH / 2);
            assert_eq!(again, verdict);
        });
    }
}
