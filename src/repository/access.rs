//! What a command is given to work with: a store, and the keys for what is in it.

use std::sync::Arc;

use crate::secrets::Keys;
use crate::store::Store;

/// A store, and the keys for what is in it.
#[derive(Clone, Debug)]
pub struct Access {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Arc<Keys>,
}

impl Access {
    /// The store with these keys.
    pub fn new(store: Arc<dyn Store>, keys: Arc<Keys>) -> Self {
        Self { store, keys }
    }

    /// Where the store is, for people; never with secrets.
    pub fn location(&self) -> String {
        self.store.location()
    }
}

/// A store without keys: nothing is encrypted or signed, and no signature asked for.
impl<S: Store + 'static> From<Arc<S>> for Access {
    fn from(store: Arc<S>) -> Self {
        Self::new(store, Arc::default())
    }
}

impl From<Arc<dyn Store>> for Access {
    fn from(store: Arc<dyn Store>) -> Self {
        Self::new(store, Arc::default())
    }
}
