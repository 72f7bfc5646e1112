//! Waiting: for a time, or for a descriptor, which never takes any.

use std::time::Duration;

use tokio::time::Instant;
use wasmtime::{Caller, Linker};

use super::memory::Guest;
use super::time::Clock;
use super::{Answer, Errno, Host, MODULE, MOST_PARTS, STDIN, number};

/// How a subscription and an event lie in memory, in bytes.
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

/// The flag by which a time is one of the clock's and not one from now on.
const ABSOLUTE: u16 = 1;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The clock to show this.
    Time(Clock, u64),
    /// The descriptor, which can be read or written.
    Descriptor(u32, Kind),
    /// Nothing that could come.
    Never(Errno, Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Clock = 0,
    Read = 1,
    Write = 2,
}

struct Subscription {
    user_data: [u8; 8],
    wanted: Wanted,
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        MODULE,
        "poll_oneoff",
        |mut caller: Caller<'_, Host>, (from, to, count, told): (u32, u32, u32, u32)| {
            Box::new(async move { number(poll(&mut caller, from, to, count, told).await) })
        },
    )?;
    Ok(())
}

async fn poll(caller: &mut Caller<'_, Host>, from: u32, to: u32, count: u32, told: u32) -> Answer {
    if count == 0 || count > MOST_PARTS {
        return Err(Errno::Invalid);
    }
    let subscriptions = {
        let mut guest = Guest::of(caller)?;
        (0..count)
            .map(|number| {
                let at = from.checked_add(number * SUBSCRIPTION);
                Subscription::read(guest.read(at.ok_or(Errno::Fault)?)?)
            })
            .collect::<Result<Vec<_>, _>>()?
    };
    // A clock that is set back while somebody waits for it makes them wait anew.
    while let Some(wait) = subscriptions.iter().map(Subscription::wait).min()
        && !wait.is_zero()
    {
        // A time that cannot be is as far as one that nobody sees.
        let wait = wait.min(Duration::from_secs(1 << 30));
        tokio::time::sleep_until(Instant::now() + wait).await;
    }
    let mut guest = Guest::of(caller)?;
    let mut events = 0;
    for subscription in subscriptions.iter().filter(|it| it.wait().is_zero()) {
        let at = to.checked_add(events * EVENT).ok_or(Errno::Fault)?;
        let event = subscription.event(guest.host);
        guest.write(at, &event)?;
        events += 1;
    }
    guest.write(told, &events.to_le_bytes())
}

impl Subscription {
    fn read(bytes: [u8; SUBSCRIPTION as usize]) -> Result<Self, Errno> {
        let [user_data, kind, first, time, _precision, flags] = bytes.as_chunks::<8>().0 else {
            return Err(Errno::Fault);
        };
        let small = u32::from_le_bytes([first[0], first[1], first[2], first[3]]);
        let time = u64::from_le_bytes(*time);
        let absolute = u16::from_le_bytes([flags[0], flags[1]]) & ABSOLUTE != 0;
        let wanted = match kind[0] {
            0 => match Clock::of(small) {
                Ok(clock) if absolute => Wanted::Time(clock, time),
                Ok(clock) => Wanted::Time(clock, clock.now().saturating_add(time)),
                Err(errno) => Wanted::Never(errno, Kind::Clock),
            },
            1 => Wanted::Descriptor(small, Kind::Read),
            2 => Wanted::Descriptor(small, Kind::Write),
            _ => return Err(Errno::Invalid),
        };
        Ok(Self {
            user_data: *user_data,
            wanted,
        })
    }

    /// How long it still takes. What cannot be waited for is told at once.
    fn wait(&self) -> Duration {
        match self.wanted {
            Wanted::Time(clock, at) => Duration::from_nanos(at.saturating_sub(clock.now())),
            Wanted::Descriptor(..) | Wanted::Never(..) => Duration::ZERO,
        }
    }

    fn event(&self, host: &Host) -> [u8; EVENT as usize] {
        let (answer, kind, bytes) = match self.wanted {
            Wanted::Time(..) => (Ok(()), Kind::Clock, 0),
            Wanted::Descriptor(fd, kind) => {
                let matches = (fd == STDIN) == (kind == Kind::Read);
                let answer = host.open(fd).and(match matches {
                    true => Ok(()),
                    false => Err(Errno::BadDescriptor),
                });
                let bytes = match kind {
                    Kind::Read => host.event.len() as u64,
                    Kind::Clock | Kind::Write => 1 << 16,
                };
                (answer, kind, bytes)
            }
            Wanted::Never(errno, kind) => (Err(errno), kind, 0),
        };
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&self.user_data);
        #[expect(clippy::cast_sign_loss, reason = "numbers of errors are positive")]
        #[expect(clippy::cast_possible_truncation, reason = "and below a hundred")]
        let error = number(answer) as u16;
        event[8..10].copy_from_slice(&error.to_le_bytes());
        event[10] = kind as u8;
        if answer.is_ok() {
            event[16..24].copy_from_slice(&bytes.to_le_bytes());
        }
        event
    }
}
