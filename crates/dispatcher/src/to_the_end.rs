//! Futures that are not given up when whoever waits for them goes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs in its caller's task, so that no other has to be woken for it; what is left of it when the caller
/// drops it goes on as a task of its own.
pub(crate) struct ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// `None` once it has ended.
    rest: Option<Pin<Box<F>>>,
}

impl<F> ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    pub(crate) fn new(future: F) -> Self {
        Self {
            rest: Some(Box::pin(future)),
        }
    }
}

impl<F> Future for ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(rest) = &mut self.rest else {
            panic!("polled after its end");
        };
        let polled = rest.as_mut().poll(context);
        if polled.is_ready() {
            self.rest = None;
        }
        polled
    }
}

impl<F> Drop for ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        // A future that has panicked must not be polled again; one without a runtime cannot be.
        if let Some(rest) = self.rest.take()
            && !std::thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_its_caller_drops_goes_on() {
        let (go, going) = oneshot::channel::<()>();
        let (done, over) = oneshot::channel();
        let caller = ToTheEnd::new(async move {
            going.await.unwrap();
            done.send(7).unwrap();
        });
        let waited = tokio::time::timeout(Duration::ZERO, caller).await;
        assert!(waited.is_err());
        go.send(()).unwrap();
        assert_eq!(over.await, Ok(7));
    }

    #[tokio::test]
    async fn its_caller_gets_what_it_comes_to() {
        assert_eq!(ToTheEnd::new(async { 7 }).await, 7);
    }
}
