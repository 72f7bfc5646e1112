//! Transactions that stay open for too long: what they hold back, they hold back from every reader.

use std::time::Duration;

use event_log::{Outcome, TransactionStage, TransactionStep};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::meter;

/// How long to leave a log alone that could not end a transaction.
const PAUSE: Duration = Duration::from_secs(1);

/// Aborts transactions as their time runs out, until `stop`.
pub(crate) async fn run_timeouts(broker: &Broker, stop: CancellationToken) {
    let mut deadline = broker.stored.transaction_deadline();
    loop {
        let due = *deadline.borrow_and_update();
        let over = async {
            match due {
                Some(due) => {
                    let left = due.since(broker.config.clock.now());
                    sleep_until(Instant::now() + left).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = deadline.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = over => {}
        }
        // The wall clock may have been set back: the time has been waited for all the same.
        let now = due.unwrap_or_default().max(broker.config.clock.now());
        if expire(broker, now).await.is_err() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(Instant::now() + PAUSE) => {}
            }
        }
    }
}

async fn expire(broker: &Broker, now: clock::Timestamp) -> Result<(), event_log::Error> {
    for transaction in broker.stored.transactions() {
        let TransactionStage::Open { since, .. } = transaction.stage else {
            continue;
        };
        if since.plus(transaction.timeout) > now {
            continue;
        }
        let step = TransactionStep::Expire { now };
        let expired = broker.stored.transact(&transaction.id, step).await;
        match expired {
            Ok(_) => {
                meter::transaction(Outcome::Abort);
                tracing::warn!(
                    transactional_id = %transaction.id,
                    timeout_ms = transaction.timeout.as_millis(),
                    "a transaction was aborted: its time had run out"
                );
            }
            Err(error) => {
                tracing::error!(
                    transactional_id = %transaction.id,
                    error = &error as &dyn std::error::Error,
                    "a transaction whose time has run out cannot be aborted"
                );
                return Err(error);
            }
        }
    }
    Ok(())
}
