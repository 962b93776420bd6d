//! Tests that run once per engine.

/// Makes two tests of an `async fn(Engine)` that stands beside it: `<name>::on_sled` and `<name>::on_redb`.
macro_rules! on_each_engine {
    ($name:ident) => {
        mod $name {
            use crate::storage::Engine;

            #[tokio::test(flavor = "multi_thread")]
            async fn on_sled() {
                super::$name(Engine::Sled).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_redb() {
                super::$name(Engine::Redb).await;
            }
        }
    };
}

pub(crate) use on_each_engine;
