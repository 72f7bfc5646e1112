//! Futures that are not given up when whoever waits for them goes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs in its caller's task, so that no other has to be woken for it; what is left of it when the caller
/// drops it, be it in a panic of the caller's, goes on as a task of its own.
pub(crate) struct ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// `None` once it has ended or panicked.
    rest: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<F> ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    /// # Panics
    /// Outside a runtime.
    pub(crate) fn new(future: F) -> Self {
        Self {
            rest: Some(Box::pin(future)),
            runtime: Handle::current(),
        }
    }
}

impl<F> Future for ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out meanwhile: what panics here is polled by nobody again.
        let mut rest = self.rest.take().expect("it is not polled after its end");
        let polled = rest.as_mut().poll(context);
        if polled.is_pending() {
            self.rest = Some(rest);
        }
        polled
    }
}

impl<F> Drop for ToTheEnd<F>
where
    F: Future<Output: Send> + Send + 'static,
{
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.runtime.spawn(rest);
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
    async fn what_is_dropped_in_its_callers_panic_goes_on() {
        let (go, going) = oneshot::channel::<()>();
        let (done, over) = oneshot::channel();
        let mut rest = ToTheEnd::new(async move {
            going.await.unwrap();
            done.send(7).unwrap();
        });
        let caller = tokio::spawn(async move {
            assert!(futures::poll!(&mut rest).is_pending());
            panic!("something else");
        });
        assert!(caller.await.unwrap_err().is_panic());
        go.send(()).unwrap();
        assert_eq!(over.await, Ok(7));
    }

    #[tokio::test]
    async fn its_caller_gets_what_it_comes_to() {
        assert_eq!(ToTheEnd::new(async { 7 }).await, 7);
    }
}
